"""The demo's limits: single and per-value, reached and not reached."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from billing.limits.validation import LimitInput
from billing.types import LimitAction, LimitScope, LimitWindow

_PER_RUN = LimitInput(scope=LimitScope.RUN, window=LimitWindow.LIFETIME, amount_usd=Decimal(1))

# By the organization's slug. The plan of Meadow Labs adds a limit of 100 USD a week.
LIMITS: Mapping[str, Sequence[LimitInput]] = {
    "meadow-labs": (
        _PER_RUN,
        LimitInput(
            scope=LimitScope.ORGANIZATION,
            window=LimitWindow.CALENDAR_WEEK,
            amount_usd=Decimal(12),
            action=LimitAction.NOTIFY,
        ),
        LimitInput(
            scope=LimitScope.USER, window=LimitWindow.ROLLING_7D, amount_usd=Decimal(6), thresholds=(70, 90, 100)
        ),
        LimitInput(
            scope=LimitScope.TAG,
            scope_value="project:search",
            window=LimitWindow.CALENDAR_MONTH,
            amount_usd=Decimal(30),
            soft_amount_usd=Decimal(20),
        ),
        LimitInput(
            scope=LimitScope.MODEL,
            scope_value="gpt-4.1",
            window=LimitWindow.CALENDAR_DAY,
            amount_usd=Decimal(4),
            action=LimitAction.NOTIFY,
        ),
    ),
    "harbor-analytics": (
        _PER_RUN,
        LimitInput(
            scope=LimitScope.ORGANIZATION,
            window=LimitWindow.CALENDAR_MONTH,
            amount_usd=Decimal(65),
            soft_amount_usd=Decimal(45),
        ),
        LimitInput(scope=LimitScope.WORKFLOW, window=LimitWindow.CALENDAR_WEEK, amount_usd=Decimal(8)),
        LimitInput(
            scope=LimitScope.TAG,
            scope_value="project:risk",
            window=LimitWindow.ROLLING_7D,
            amount_usd=Decimal(4),
            action=LimitAction.NOTIFY,
        ),
    ),
}
