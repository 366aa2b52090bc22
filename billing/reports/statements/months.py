"""The months of statements: their spans, and whether they are closed. Read-only.

Closed months have the span of the day on which they were closed. The first open month begins where the last closed one
ends, even if the organization has another time zone since then, so months have no gap and no overlap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Min

from billing.models import ClosedMonth
from billing.models.rollups import OrganizationHour
from costtrack.calendar import Calendar, Span, Unit
from costtrack.clock import DAY
from costtrack.date_text import day_text
from costtrack.dates import parse_month
from costtrack.errors import NotFoundError
from organizations.models import APICredential, Organization

_YEARS = range(2000, 2200)
"""The years that dates of usage may have."""


@dataclass(frozen=True, slots=True)
class StatementMonth:
    """A month. `month` is its first day. `closed_at` is None while it is open. `takes_late_events`: it is the open
    month in which late events are booked. `limits_history` and `commitments` are only those of a closed month."""

    month: date
    span: Span
    zone: ZoneInfo
    organization_name: str
    closed_at: datetime | None = None
    closed_by: str = ""
    takes_late_events: bool = False
    credential_names: Mapping[str, str] | None = None
    limits_history: list[dict[str, Any]] = field(default_factory=list)
    commitments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None

    @property
    def name(self) -> str:
        """`2026-10`"""
        return f"{self.month:%Y-%m}"

    @property
    def calendar(self) -> Calendar:
        return Calendar(self.zone)

    @property
    def days(self) -> str:
        """`Oct 1, 2026 to Oct 31, 2026`"""
        first, end = map(self.calendar.date_of, self.span)
        return f"{day_text(first)} to {day_text(end - DAY)}"


def month_in_url(text: str) -> date:
    """Return the first day of the month that a URL names, like `2026-10`. Raises NotFoundError."""
    try:
        month = parse_month(text)
    except ValueError:
        month = None
    if month is None or month.year not in _YEARS:
        raise NotFoundError("No such month. Months are written like 2026-10.")
    return month


def next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def previous_month(month: date) -> date:
    return date(month.year - (month.month == 1), (month.month - 2) % 12 + 1, 1)


def month_of(organization: Organization, month: date) -> StatementMonth:
    return _month_among(list(ClosedMonth.objects.of(organization).order_by("month")), organization, month)


def list_months(organization: Organization, now: datetime) -> list[StatementMonth]:
    """Return the months from the current one back to the first with usage or a closing, newest first."""
    closed = list(ClosedMonth.objects.of(organization).order_by("month"))
    month = organization.calendar.date_of(now).replace(day=1)
    first = min(first_month(organization, closed), month)
    months = [month]
    while months[-1] > first:
        months.append(previous_month(months[-1]))
    return [_month_among(closed, organization, month) for month in months]


def first_month(organization: Organization, closed: list[ClosedMonth]) -> date:
    """Return the first month with usage or a closing; without either, the latest possible one."""
    hours = OrganizationHour.live().objects.of(organization).aggregate(first=Min("hour"))
    months = [row.month for row in closed[:1]]
    if hours["first"] is not None:
        months.append(organization.calendar.date_of(hours["first"]).replace(day=1))
    return min(months, default=date.max.replace(day=1))


def _month_among(closed: list[ClosedMonth], organization: Organization, month: date) -> StatementMonth:
    row = next((row for row in closed if row.month == month), None)
    if row is None and closed and month < closed[0].month:
        # The first closing closed all time before it.
        span = _calendar_month(Calendar(ZoneInfo(closed[0].time_zone)), month)
        return _closed(closed[0], month, span)
    if row is not None:
        of_month = _closed(row, month, Span(row.starts_at, row.ends_at))
        return replace(of_month, limits_history=row.limits_history, commitments=row.commitments)
    span = _calendar_month(organization.calendar, month)
    is_first_open = bool(closed) and month == next_month(closed[-1].month)
    if is_first_open:
        span = Span(closed[-1].ends_at, span.end)
    return StatementMonth(month, span, organization.calendar.zone, organization.name, takes_late_events=is_first_open)


def _closed(row: ClosedMonth, month: date, span: Span) -> StatementMonth:
    return StatementMonth(
        month,
        span,
        ZoneInfo(row.time_zone),
        row.organization_name,
        row.closed_at,
        row.closed_by,
        credential_names=row.credential_names,
    )


def _calendar_month(calendar: Calendar, month: date) -> Span:
    return calendar.period(Unit.MONTH, calendar.start_of(month))


def credential_names(organization: Organization) -> dict[str, str]:
    """Return the current names of the organization's credentials by Client ID."""
    return dict(APICredential.objects.of(organization).values_list("client_id", "name"))
