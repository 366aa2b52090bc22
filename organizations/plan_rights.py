"""What the plan of an organization lets its members and credentials see: usage at all, exports, and days of history.

The rights belong to the organization, so endpoints and pages get the same answer from this module, whatever their URL.
Operators have all rights. The ledger always has everything; an upgrade shows it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from costtrack.calendar import Window
from costtrack.clock import iso
from costtrack.errors import ForbiddenError
from organizations.models import Organization, Plan
from organizations.principals import Access
from organizations.selectors import (
    cheapest_plan_with_api,
    cheapest_plan_with_exports,
    cheapest_plan_with_history,
)

_MAX_DAYS = 36_525  # longer ago there is nothing


@dataclass(frozen=True, slots=True)
class PlanRights:
    """The rights of a caller in an organization. Checks raise ForbiddenError, which names a plan with the right."""

    organization: Organization
    is_operator: bool = False

    @classmethod
    def of(cls, access: Access) -> Self:
        return cls(access.organization, access.principal.is_operator)

    def api_refusal(self) -> ForbiddenError | None:
        """Return the error if the plan shows no usage."""
        plan = self.organization.plan
        return None if plan.api_access or self.is_operator else refusal_without_api(plan)

    def check_api(self) -> None:
        if (refusal := self.api_refusal()) is not None:
            raise refusal

    def exports_refusal(self) -> ForbiddenError | None:
        """Return the error if the plan has no exports."""
        plan = self.organization.plan
        return self.api_refusal() or (None if plan.exports or self.is_operator else refusal_without_exports(plan))

    def check_exports(self) -> None:
        if (refusal := self.exports_refusal()) is not None:
            raise refusal

    def history_start(self, now: datetime) -> datetime | None:
        """Return the start of the first day that is visible, or None if everything is. Days are counted before today
        in the time zone of the organization."""
        days = self.organization.plan.history_days
        if self.is_operator or days is None or days > _MAX_DAYS:
            return None
        calendar = self.organization.calendar
        return calendar.start_of(calendar.date_of(now) - timedelta(days=days))

    def visible(self, window: Window, *, now: datetime) -> Window:
        """Clip a window to the history. Raises ForbiddenError if nothing of it is visible."""
        since = self.history_start(now)
        if since is None or (window.start is not None and window.start >= since):
            return window
        if window.end is not None and window.end <= since:
            raise plan_history_error(self.organization, window.start or window.end, since)
        return Window(since, window.end)

    def is_visible(self, instant: datetime | None, *, now: datetime) -> bool:
        """Whether a single event, or a session that started then, is in the history. None: the time is unknown."""
        since = self.history_start(now)
        return since is None or instant is None or instant >= since

    def check_visible(self, instant: datetime | None, *, now: datetime) -> None:
        """Raise ForbiddenError unless `is_visible`."""
        since = self.history_start(now)
        if since is not None and instant is not None and instant < since:
            raise plan_history_error(self.organization, instant, since)


def refusal_without_api(plan: Plan) -> ForbiddenError:
    """Return the error for a plan without API access, which names a plan that has it."""
    upgrade = cheapest_plan_with_api()
    message = f"The {plan.name} plan has no API access."
    if upgrade is not None:
        message += f" Upgrade to {upgrade.name} to use the API."
    return ForbiddenError(message, code="plan_without_api", extra=_plans(plan, upgrade))


def refusal_without_exports(plan: Plan) -> ForbiddenError:
    """Return the error for a plan without exports, which names a plan that has them."""
    upgrade = cheapest_plan_with_exports()
    message = f"The {plan.name} plan has no exports."
    if upgrade is not None:
        message += f" Upgrade to {upgrade.name} to export usage."
    return ForbiddenError(message, code="plan_without_exports", extra=_plans(plan, upgrade))


def plan_history_error(organization: Organization, start: datetime, since: datetime) -> ForbiddenError:
    """Return the error for usage before `since`, the start of the plan's history, which names a plan that shows
    `start`."""
    plan = organization.plan
    days = (since - start).days + (plan.history_days or 0) + 1
    upgrade = cheapest_plan_with_history(days)
    message = f"The {plan.name} plan shows the last {plan.history_days} days of usage."
    if upgrade is not None:
        message += f" Upgrade to {upgrade.name} to see older usage."
    extra = {**_plans(plan, upgrade), "history_start": iso(since)}
    return ForbiddenError(message, code="plan_history", extra=extra)


def _plans(plan: Plan, upgrade: Plan | None) -> dict[str, str | None]:
    return {"plan": plan.code, "upgrade_to": upgrade.code if upgrade is not None else None}
