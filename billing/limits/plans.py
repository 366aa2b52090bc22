"""The limits that come with a plan: ordinary rows marked `is_plan` that follow changes of the plan.

`apply_plan` is registered with `organizations.hooks` (`billing.apps`), so it runs in every transaction that gives
an organization another plan or changes the plan itself.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from billing.limits.changes import announce_limit_change, lock_limits
from billing.limits.validation import plan_maximum
from billing.models import SpendLimit
from billing.types import LimitScope, LimitWindow
from costtrack.money import plain
from organizations import audit
from organizations.models import Organization, Plan

_WINDOWS = (LimitWindow.ROLLING_7D, LimitWindow.CALENDAR_MONTH)


def apply_plan(*, organization: Organization, now: datetime, actor: str, before: Plan | None = None) -> None:
    """Create, change or remove the plan's limits, in the caller's transaction.

    An amount that equals that of the plan `before` is set to the new plan's. Any other was set by the organization and
    stays, capped at the new plan's maximum. Other limits and active raises are not changed.
    """
    plan = lock_limits(organization)
    rows = SpendLimit.objects.of(organization).not_removed().filter(is_plan=True)
    present = {LimitWindow(limit.window): limit for limit in rows}
    followed = [
        (limit, action)
        for window in _WINDOWS
        for limit, action in _follow(organization, window, present.get(window), plan, before, now)
    ]
    if before is not None:  # for a new organization, the audit log already has the plan
        for limit, action in followed:
            _audit(organization, limit, action, actor, plan)
    if followed:
        announce_limit_change(organization)


def plan_amount(plan: Plan, window: LimitWindow) -> Decimal | None:
    """Return the default amount of the plan's limit for the window; None if the plan has no such limit."""
    if window is LimitWindow.CALENDAR_MONTH:
        return plan.max_monthly_limit_usd
    amounts = (plan.default_weekly_limit_usd, plan.max_weekly_limit_usd)
    return min((amount for amount in amounts if amount is not None), default=None)


def _follow(
    organization: Organization,
    window: LimitWindow,
    limit: SpendLimit | None,
    plan: Plan,
    before: Plan | None,
    now: datetime,
) -> Iterator[tuple[SpendLimit, str]]:
    """Apply the plan to the limit of one window; yield the limit with the audit action if it was changed."""
    amount = plan_amount(plan, window)
    if limit is None and amount is not None:
        yield _create(organization, window, amount, now), "limit.created"
    elif limit is not None and amount is None:
        limit.removed_at = now
        limit.save(update_fields=["removed_at"])
        yield limit, "limit.removed"
    elif limit is not None and amount is not None and _adapt(limit, amount, plan, before):
        yield limit, "limit.changed"


def _create(organization: Organization, window: LimitWindow, amount: Decimal, now: datetime) -> SpendLimit:
    return SpendLimit.objects.create(
        organization=organization,
        scope=LimitScope.ORGANIZATION,
        window=window,
        amount_usd=amount,
        is_plan=True,
        created_at=now,
    )


def _adapt(limit: SpendLimit, amount: Decimal, plan: Plan, before: Plan | None) -> bool:
    """Adjust the limit to the plan, and return whether it was changed."""
    if before is None or limit.amount_usd != plan_amount(before, LimitWindow(limit.window)):
        maximum = plan_maximum(plan, limit.window)
        amount = limit.amount_usd if maximum is None else min(limit.amount_usd, maximum)
    if amount == limit.amount_usd:
        return False
    limit.amount_usd = amount
    if limit.soft_amount_usd is not None and limit.soft_amount_usd > amount:
        limit.soft_amount_usd = None
    limit.save(update_fields=["amount_usd", "soft_amount_usd"])
    return True


def _audit(organization: Organization, limit: SpendLimit, action: str, actor: str, plan: Plan) -> None:
    audit.record(
        organization=organization,
        actor=actor,
        action=action,
        subject=str(limit),
        limit=limit.pk,
        limit_amount_usd=plain(limit.amount_usd),
        plan=plan.code,
    )
