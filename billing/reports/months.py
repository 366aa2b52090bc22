"""Months of an organization as reports show them: which are visible, and their spans. Read-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from costtrack.calendar import Span, Unit, Window
from costtrack.clock import DAY
from costtrack.errors import InvalidError
from organizations.models import Organization
from organizations.plan_rights import PlanRights

FIRST_YEAR, LAST_YEAR = 2000, 2199
MAX_MONTHS = 36


@dataclass(frozen=True, slots=True)
class ReportMonth:
    """A month, by its first day, and the part of it that the plan shows. `is_whole`: the plan shows all of it."""

    month: date
    span: Span
    is_whole: bool = True


def this_month(organization: Organization, now: datetime) -> date:
    return organization.calendar.date_of(now).replace(day=1)


def month_choices(months: Sequence[date]) -> list[tuple[str, str]]:
    """Return the choices of a form, the latest first: `2026-11` with its name."""
    return [(f"{month:%Y-%m}", f"{month:%B %Y}") for month in reversed(months)]


def last_months(month: date, count: int) -> list[date]:
    """Return so many months that end with this one, oldest first."""
    months = [month]
    while len(months) < count:
        months.insert(0, (months[0] - DAY).replace(day=1))
    return months


def month_of(organization: Organization, month: date, *, rights: PlanRights, now: datetime) -> ReportMonth:
    """Return a month with its visible part. Raises ForbiddenError if it shows nothing of it."""
    if not FIRST_YEAR <= month.year <= LAST_YEAR:
        raise InvalidError(f"month: the year must be from {FIRST_YEAR} to {LAST_YEAR}.", param="month")
    calendar = organization.calendar
    span = calendar.period(Unit.MONTH, calendar.start_of(month))
    visible = rights.visible(Window(*span), now=now)
    start = visible.start or span.start
    return ReportMonth(month, Span(start, span.end), is_whole=start == span.start)


def visible_months(
    organization: Organization, months: list[date], *, rights: PlanRights, now: datetime
) -> list[ReportMonth]:
    """Return those of the months of which the plan shows something."""
    since = rights.history_start(now)
    start_of = organization.calendar.start_of
    shown = [month for month in months if since is None or start_of((month + 31 * DAY).replace(day=1)) > since]
    return [month_of(organization, month, rights=rights, now=now) for month in shown]
