"""The demo's limits: of one value and of each, near and far, such that there is something to see of every kind."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from billing.limits.validation import LimitTerms
from billing.types import LimitAction, LimitScope, LimitWindow

_EACH_RUN = LimitTerms(scope=LimitScope.RUN, window=LimitWindow.LIFETIME, amount_usd=Decimal(1))

# By the organization's slug. Beside them stands what the plan brings along: 100 USD a week for Meadow Labs.
LIMITS: Mapping[str, Sequence[LimitTerms]] = {
    "meadow-labs": (
        _EACH_RUN,
        LimitTerms(
            scope=LimitScope.USER, window=LimitWindow.ROLLING_7D, amount_usd=Decimal(15), thresholds=(70, 90, 100)
        ),
        LimitTerms(
            scope=LimitScope.TAG,
            scope_value="project:search",
            window=LimitWindow.CALENDAR_MONTH,
            amount_usd=Decimal(75),
            soft_amount_usd=Decimal(50),
        ),
        LimitTerms(
            scope=LimitScope.MODEL,
            scope_value="gpt-4.1",
            window=LimitWindow.CALENDAR_DAY,
            amount_usd=Decimal(10),
            action=LimitAction.NOTIFY,
        ),
    ),
    "harbor-analytics": (
        _EACH_RUN,
        LimitTerms(
            scope=LimitScope.ORGANIZATION,
            window=LimitWindow.CALENDAR_MONTH,
            amount_usd=Decimal(400),
            soft_amount_usd=Decimal(250),
        ),
        LimitTerms(scope=LimitScope.WORKFLOW, window=LimitWindow.CALENDAR_WEEK, amount_usd=Decimal(30)),
        LimitTerms(
            scope=LimitScope.TAG,
            scope_value="project:risk",
            window=LimitWindow.ROLLING_7D,
            amount_usd=Decimal(15),
            action=LimitAction.NOTIFY,
        ),
    ),
}
