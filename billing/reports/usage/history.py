"""What part of the past a plan shows: a rule for what people look at under `/usage`; the ledger keeps everything."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from costtrack.calendar import Span
from costtrack.clock import iso
from costtrack.errors import ForbiddenError
from organizations.models import Organization
from organizations.selectors import cheapest_plan_with_history

_MAX_DAYS = 36_525  # longer ago there is nothing


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a window, and since when anything is (None: everything)."""

    window: Span
    history_start: datetime | None
    is_clipped: bool


def history_start(*, organization: Organization, now: datetime) -> datetime | None:
    """The beginning of the first day that the organization's plan shows: today and as many days before it. None: it
    shows everything."""
    days = organization.plan.history_days
    if days is None or days > _MAX_DAYS:
        return None
    calendar = organization.calendar
    return calendar.start_of(calendar.date_of(now) - timedelta(days=days))


def shown(*, organization: Organization, window: Span, since: datetime | None) -> Shown:
    """The part of a window that begins at `since` or later. Raises ForbiddenError when that is nothing."""
    if since is None or window.start >= since:
        return Shown(window, since, is_clipped=False)
    if window.end <= since:
        raise _not_shown(organization, window.start, since)
    return Shown(Span(since, window.end), since, is_clipped=True)


def _not_shown(organization: Organization, start: datetime, since: datetime) -> ForbiddenError:
    plan = organization.plan
    days = (since - start).days + (plan.history_days or 0) + 1
    upgrade = cheapest_plan_with_history(days)
    message = f"The {plan.name} plan shows the last {plan.history_days} days of usage."
    if upgrade is not None:
        message += f" Upgrade to {upgrade.name} to see what is older."
    extra = {
        "plan": plan.code,
        "upgrade_to": upgrade.code if upgrade is not None else None,
        "history_start": iso(since),
    }
    return ForbiddenError(message, code="plan_history", extra=extra)
