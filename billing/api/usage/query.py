"""What every endpoint of document 001 takes: filters, and a span of time in the organization's time zone.

Dates are whole days there, the last one included; times are exact, the end included to the microsecond. What the plan
does not show is cut off (`billing.reports.usage.history`).
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from billing.api.windows import DateOrDateTimeField
from billing.reports.usage.figures import NO_CREDENTIAL, UsageFilter
from billing.reports.usage.history import Shown, history_start, shown
from billing.types import Status
from costtrack.calendar import Calendar, Preset, Span
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.serializers import StrictSerializer
from organizations.models import Organization
from organizations.types import Access

_EARLIEST, _LATEST = 2000, 2199  # years; the ledger has nothing before
_TICK = timedelta(microseconds=1)
_CUSTOM = "custom"
_DEFAULT = Preset.DAYS_30

# Other words for the same.
_RANGES = {"day": Preset.TODAY, "month_to_date": Preset.MONTH}
_STATUSES = {"error": Status.FAILURE.value}


class UsageQuery(StrictSerializer):
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
        required=False, allow_blank=True, choices=[*Status.values, *_STATUSES], help_text="`error` is `failure`."
    )
    range = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=[*[preset.value for preset in Preset], *_RANGES, _CUSTOM],
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
        asked = attrs.get("range")
        if has_dates and asked not in (None, "", _CUSTOM):
            raise serializers.ValidationError({"range": f"Give dates or {asked}, not both."})
        if "start_date" not in attrs and (has_dates or asked == _CUSTOM):
            raise serializers.ValidationError({"start_date": "Say where the range begins."})
        return attrs


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it was understood. `others` are the endpoint's own parameters."""

    organization: Organization
    wanted: UsageFilter
    shown: Shown
    others: dict[str, Any]
    now: datetime

    @property
    def window(self) -> Span:
        return self.shown.window

    @property
    def calendar(self) -> Calendar:
        return self.organization.calendar

    @property
    def before(self) -> Span | None:
        """As much time before the window; of a window that has not ended, as much as has gone by. None: the plan does
        not show all of it."""
        before, since = self.calendar.before(self.window), self.shown.history_start
        if self.shown.is_clipped or (since is not None and before.start < since):
            return None
        if self.now >= self.window.end:
            return before
        gone = max(self.now - self.window.start, timedelta())
        return Span(before.start, min(before.start + gone, before.end))


def asked_by(request: Request, access: Access, serializer: type[UsageQuery]) -> Asked:
    """Raises ValidationError and, for what the plan does not show at all, ForbiddenError. Operators are shown all."""
    given = {name: value for name, value in request.query_params.items() if name != "organization"}
    query = serializer(data=given)
    query.is_valid(raise_exception=True)
    others = dict(query.validated_data)
    organization, now = access.organization, utc_now()
    status = others.pop("status", "")
    wanted = UsageFilter(
        client_id=others.pop("client_id", ""),
        capability=others.pop("capability", ""),
        model=others.pop("model", ""),
        status=str(_STATUSES.get(status, status)),
    )
    window = _window(organization.calendar, others, now)
    since = None if access.principal.is_operator else history_start(organization=organization, now=now)
    return Asked(organization, wanted, shown(organization=organization, window=window, since=since), others, now)


def _window(calendar: Calendar, asked: dict[str, Any], now: datetime) -> Span:
    """Takes what it uses out of `asked`."""
    name = asked.pop("range", "") or _DEFAULT
    start, end = asked.pop("start_date", None), asked.pop("end_date", None)
    if start is None:
        return calendar.preset(Preset(_RANGES.get(name, name)), now)
    first = start if isinstance(start, datetime) else calendar.start_of(start)
    last = _end(calendar, end) if end is not None else max(calendar.preset(Preset.TODAY, now).end, first)
    if last <= first:
        param = "end_date" if end is not None else "start_date"
        raise InvalidError(f"{param}: the range ends before it begins.", param=param)
    return Span(first.astimezone(UTC), last)


def _end(calendar: Calendar, end: date | datetime) -> datetime:
    if isinstance(end, datetime):
        return end + _TICK
    return calendar.start_of(end + timedelta(days=1))
