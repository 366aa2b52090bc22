"""Query parameters of all endpoints of document 001: filters and a time span (`billing.reports.usage.query`)."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rest_framework import serializers

from billing.api.queries import without_unknown
from billing.api.windows import WindowEndField, WindowStartField
from billing.reports.usage.figures import DIMENSIONS, UsageFilter
from billing.reports.usage.query import CUSTOM, RANGES, STATUSES, UsageQuery, build_query, window_of
from billing.types import NO_CREDENTIAL, Status
from costtrack.calendar import Preset
from costtrack.clock import MICROSECOND, utc_now
from costtrack.serializers import StrictSerializer, optional_text
from organizations.api.base import OrganizationScopedAPIView
from organizations.plan_rights import PlanRights
from organizations.principals import Access

_FIRST_YEAR, _LAST_YEAR = 2000, 2199  # the ledger has nothing before


class RangeQuerySerializer(StrictSerializer):
    """The parameters of a time span; an empty value is ignored."""

    range = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=[*[preset.value for preset in Preset], *RANGES, CUSTOM],
        help_text="Days in the time zone of the organization, until today; `week` and `month` are the current ones. "
        "Default: `30d`, or `custom` with dates.",
    )
    start_date = WindowStartField(required=False, help_text="From this day or time on.")
    end_date = WindowEndField(
        required=False, help_text="Until this day (inclusive) or before this time. Default: the end of today."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        zone = self.context["calendar"].zone
        for name, excluded in (("start_date", timedelta()), ("end_date", MICROSECOND)):
            if name in attrs and not _FIRST_YEAR <= (attrs[name] - excluded).astimezone(zone).year <= _LAST_YEAR:
                raise serializers.ValidationError({name: f"The year must be from {_FIRST_YEAR} to {_LAST_YEAR}."})
        has_dates = "start_date" in attrs or "end_date" in attrs
        range_name = attrs.get("range")
        if has_dates and range_name not in (None, "", CUSTOM):
            raise serializers.ValidationError({"range": "Cannot be combined with dates."})
        if "start_date" not in attrs and (has_dates or range_name == CUSTOM):
            raise serializers.ValidationError({"start_date": "Required for a custom range."})
        return attrs


class UsageQuerySerializer(RangeQuerySerializer):
    """Parameters; an empty value is ignored."""

    client_id = optional_text(f"Only usage of this credential; `{NO_CREDENTIAL}`: usage without a credential.")
    capability = optional_text()
    model = optional_text("The model in any spelling.")
    status = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=[*Status.values, *STATUSES],
        help_text="`error` is an alias of `failure`.",
    )
    user_id = optional_text()
    team = optional_text()
    end_user = optional_text()
    provider = optional_text("Who bills the call.")
    service = optional_text("The service as sent.")
    agent_id = optional_text()
    environment = optional_text("That of the credential.")
    workflow_id = optional_text("The workflow of the run, or of an event without a run.")
    session_id = optional_text()
    run_id = optional_text()
    tool = optional_text()
    tag = optional_text("One of the tags of an event.")


def usage_query(view: OrganizationScopedAPIView, serializer: type[RangeQuerySerializer]) -> UsageQuery:
    """Validate the parameters and build the query. Raises ValidationError, and ForbiddenError if nothing of the
    range is visible in the plan."""
    params = view.request.query_params
    known = without_unknown(serializer, params) if view.ignores_unknown_parameters else params
    given = {name: value for name, value in known.items() if name != "organization"}
    return read_usage_query(view.access, given, serializer)


def read_usage_query(access: Access, given: Mapping[str, Any], serializer: type[RangeQuerySerializer]) -> UsageQuery:
    """Like `usage_query`, for parameters that are not in the URL."""
    parameters = serializer(data=given, context={"calendar": access.organization.calendar})
    parameters.is_valid(raise_exception=True)
    extra = dict(parameters.validated_data)
    organization, now = access.organization, utc_now()
    given_filters = {dimension.parameter: extra.pop(dimension.parameter, "") for dimension in DIMENSIONS}
    status = given_filters["status"]
    filters = UsageFilter(**{**given_filters, "status": str(STATUSES.get(status, status))})
    window = window_of(
        organization.calendar,
        name=extra.pop("range", ""),
        start=extra.pop("start_date", None),
        end=extra.pop("end_date", None),
        now=now,
    )
    return build_query(
        organization=organization,
        filters=filters,
        window=window,
        now=now,
        rights=PlanRights.of(access),
        extra=extra,
    )
