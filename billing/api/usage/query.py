"""What every endpoint of document 001 takes: filters, and a span of time (`billing.reports.usage.query`)."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from billing.api.windows import DateOrDateTimeField
from billing.reports.usage.figures import NO_CREDENTIAL, UsageFilter
from billing.reports.usage.query import CUSTOM, RANGES, STATUSES, UsageQuery, build_query, window_of
from billing.types import Status
from costtrack.calendar import Preset
from costtrack.clock import utc_now
from costtrack.serializers import StrictSerializer
from organizations.types import Access

_EARLIEST, _LATEST = 2000, 2199  # years; the ledger has nothing before


class UsageQuerySerializer(StrictSerializer):
    """An empty parameter is none."""

    client_id = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text=f"Only this credential's usage; `{NO_CREDENTIAL}`: what was recorded without one.",
    )
    capability = serializers.CharField(required=False, allow_blank=True, max_length=255)
    model = serializers.CharField(required=False, allow_blank=True, max_length=255)
    status = serializers.ChoiceField(
        required=False, allow_blank=True, choices=[*Status.values, *STATUSES], help_text="`error` is `failure`."
    )
    range = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=[*[preset.value for preset in Preset], *RANGES, CUSTOM],
        help_text="Days of the organization's time zone until today; `week` and `month` are those that run now. "
        "`30d` if nothing is said; `custom` if there are dates.",
    )
    start_date = DateOrDateTimeField(required=False, help_text="From this day or time on.")
    end_date = DateOrDateTimeField(required=False, help_text="Until this day (included) or time; now if not given.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for name in ("start_date", "end_date"):
            if name in attrs and not _EARLIEST <= attrs[name].year <= _LATEST:
                raise serializers.ValidationError({name: f"A year from {_EARLIEST} to {_LATEST}."})
        has_dates = "start_date" in attrs or "end_date" in attrs
        query = attrs.get("range")
        if has_dates and query not in (None, "", CUSTOM):
            raise serializers.ValidationError({"range": f"Give dates or {query}, not both."})
        if "start_date" not in attrs and (has_dates or query == CUSTOM):
            raise serializers.ValidationError({"start_date": "Say where the range begins."})
        return attrs


def usage_query(request: Request, access: Access, serializer: type[UsageQuerySerializer]) -> UsageQuery:
    """Raises ValidationError and, for what the plan does not show at all, ForbiddenError. Operators are shown all."""
    given = {name: value for name, value in request.query_params.items() if name != "organization"}
    parameters = serializer(data=given)
    parameters.is_valid(raise_exception=True)
    others = dict(parameters.validated_data)
    organization, now = access.organization, utc_now()
    status = others.pop("status", "")
    filters = UsageFilter(
        client_id=others.pop("client_id", ""),
        capability=others.pop("capability", ""),
        model=others.pop("model", ""),
        status=str(STATUSES.get(status, status)),
    )
    window = window_of(
        organization.calendar,
        name=others.pop("range", ""),
        start=others.pop("start_date", None),
        end=others.pop("end_date", None),
        now=now,
    )
    return build_query(
        organization=organization,
        filters=filters,
        window=window,
        now=now,
        sees_everything=access.principal.is_operator,
        others=others,
    )
