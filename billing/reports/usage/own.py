"""A member's own usage: everything that carries one of the member's `user_id`s. Read-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.limits.selectors import own_rules
from billing.limits.status import statuses
from billing.limits.types import LimitStatus
from billing.reports.rollup_query import RollupQuery, read_sums
from billing.reports.spend.totals import NamedSpend, sort_by_spend
from billing.reports.usage.figures import Spend
from billing.reports.usage.totals import spend_windows
from billing.rollups.definitions import SPEND_DAYS, USER_DAYS
from costtrack.calendar import Span, Unit, Window
from costtrack.money import ZERO
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class OwnUsage:
    """Spend until now, and spend and calls in a window: in total and by model, the most expensive first. Amounts
    exclude `unpriced_events`."""

    spend: Spend
    cost_usd: Decimal
    requests: int
    unpriced_events: int
    models: Sequence[NamedSpend]


def own_usage(*, organization: Organization, user_ids: Sequence[str], window: Span, now: datetime) -> OwnUsage:
    """Return the usage of these users together, from one snapshot."""
    only = {"user_ref": tuple(user_ids)}
    current = [RollupQuery.of(USER_DAYS, (), Window(*span), only) for span in spend_windows(organization, now)]
    by_model = RollupQuery.of(SPEND_DAYS, ("model",), Window(*window), only)
    *current_rows, models = read_sums(organization, *current, by_model)
    today, week, month = (sum((sums.cost for sums in rows), ZERO) for rows in current_rows)
    return OwnUsage(
        spend=Spend(today, week, month, billing_period=organization.calendar.period(Unit.MONTH, now)),
        cost_usd=sum((sums.cost for sums in models), ZERO),
        requests=sum(sums.requests for sums in models),
        unpriced_events=sum(sums.unpriced for sums in models),
        models=sort_by_spend(models),
    )


def own_limits(*, organization: Organization, user_ids: Sequence[str], now: datetime) -> list[LimitStatus]:
    """Return the limits of these users. Limits of other scopes would show the spend of others."""
    rules = own_rules(organization=organization, user_ids=user_ids, now=now)
    return statuses(organization=organization, rules=rules, now=now)
