"""How much history a plan shows under `/usage`. The ledger keeps everything."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from costtrack.calendar import Span
from costtrack.clock import iso
from costtrack.errors import ForbiddenError
from organizations.models import Organization
from organizations.selectors import cheapest_plan_with_history

_MAX_DAYS = 36_525  # longer ago there is nothing


@dataclass(frozen=True, slots=True)
class VisibleWindow:
    """The visible part of a window, and since when usage is visible (None means always)."""

    window: Span
    history_start: datetime | None
    is_clipped: bool


def history_start(*, organization: Organization, now: datetime) -> datetime | None:
    """Return the start of the first day that the plan shows, or None if it shows everything. The number of days is
    counted before today."""
    days = organization.plan.history_days
    if days is None or days > _MAX_DAYS:
        return None
    calendar = organization.calendar
    return calendar.start_of(calendar.date_of(now) - timedelta(days=days))


def clip_to_history(*, organization: Organization, window: Span, since: datetime | None) -> VisibleWindow:
    """Clip a window to `since`. Raises ForbiddenError if nothing of it is visible."""
    if since is None or window.start >= since:
        return VisibleWindow(window, since, is_clipped=False)
    if window.end <= since:
        raise _plan_history_error(organization, window.start, since)
    return VisibleWindow(Span(since, window.end), since, is_clipped=True)


def _plan_history_error(organization: Organization, start: datetime, since: datetime) -> ForbiddenError:
    plan = organization.plan
    days = (since - start).days + (plan.history_days or 0) + 1
    upgrade = cheapest_plan_with_history(days)
    message = f"The {plan.name} plan shows the last {plan.history_days} days of usage."
    if upgrade is not None:
        message += f" Upgrade to {upgrade.name} to see older usage."
    extra = {
        "plan": plan.code,
        "upgrade_to": upgrade.code if upgrade is not None else None,
        "history_start": iso(since),
    }
    return ForbiddenError(message, code="plan_history", extra=extra)
