"""What a limit says, and what it must be before it is written. Pure. Every error names the field at fault as the API
spells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.models import PAUSING, SpendLimit
from billing.models.limits import default_thresholds
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.errors import InvalidError
from costtrack.money import LARGEST, ZERO, plain, to_storable
from organizations.models import Plan

MAX_VALUE_LENGTH = 255
MAX_REASON_LENGTH = 255
AMOUNT_DECIMALS = 12
MAX_THRESHOLDS = 10

WEEKLY = frozenset({LimitWindow.ROLLING_7D, LimitWindow.CALENDAR_WEEK})


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitInput:
    """A limit as somebody wants it: the columns of `SpendLimit` that people set, under the same names."""

    scope: LimitScope
    scope_value: str = ""
    window: LimitWindow
    amount_usd: Decimal
    action: LimitAction = LimitAction.PAUSE
    thresholds: Sequence[int] = tuple(default_thresholds())
    soft_amount_usd: Decimal | None = None
    fallback_price: Decimal | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def columns(self) -> dict[str, Any]:
        """As the model's fields hold them."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**values, "thresholds": complete(self.thresholds)}


def limit_input_of(limit: SpendLimit) -> LimitInput:
    values = {each.name: getattr(limit, each.name) for each in fields(LimitInput)}
    return LimitInput(
        **{
            **values,
            "scope": LimitScope(limit.scope),
            "window": LimitWindow(limit.window),
            "action": LimitAction(limit.action),
            "thresholds": tuple(limit.thresholds),
        }
    )


def complete(thresholds: Sequence[int]) -> list[int]:
    """At 100 percent a limit is reached, whether somebody has said so or not."""
    return [*thresholds] if PAUSING in thresholds else [*thresholds, PAUSING]


# --- Checks, each raises InvalidError -----------------------------------------------------------------------------


def validate_limit_input(limit_input: LimitInput) -> None:
    """Everything that neither the plan, the clock nor the database has a say in."""
    check_value(limit_input.scope_value, param="scope_value")
    if limit_input.scope is LimitScope.ORGANIZATION and limit_input.scope_value:
        raise InvalidError("scope_value: the organization's scope has no values; leave it empty.", param="scope_value")
    check_amount(limit_input.amount_usd, param="amount_usd")
    _check_thresholds(limit_input.thresholds)
    _check_soft_amount(limit_input)
    if limit_input.fallback_price is not None:
        _check_number(limit_input.fallback_price, param="fallback_price")
    _check_period(limit_input)


def check_value(value: str, *, param: str) -> None:
    if len(value) > MAX_VALUE_LENGTH:
        raise InvalidError(f"{param}: at most {MAX_VALUE_LENGTH} characters.", param=param)
    if value and not value.isprintable():
        raise InvalidError(f"{param}: no control characters.", param=param)


def check_amount(amount: Decimal, *, param: str) -> None:
    """More than nothing: a limit of 0 would never let anything through; pause it by hand instead."""
    _check_number(amount, param=param)
    if amount == 0:
        raise InvalidError(f"{param}: must be more than 0.", param=param)


def check_end(ends_at: datetime, *, now: datetime, param: str = "ends_at") -> None:
    if ends_at <= now:
        raise InvalidError(f"{param}: must lie in the future.", param=param)


def checked_text(text: str, *, param: str, longest: int = MAX_REASON_LENGTH) -> str:
    """What a person has to say, on one line."""
    text = " ".join(text.split())
    if not text:
        raise InvalidError(f"{param}: A reason is required.", param=param)
    if len(text) > longest:
        raise InvalidError(f"{param}: at most {longest} characters.", param=param)
    if "\0" in text:
        raise InvalidError(f"{param}: no NUL characters.", param=param)
    return text


def check_unchangeable(limit: SpendLimit, changes: Mapping[str, Any]) -> None:
    """What a limit is about stays: its crossings tell of it. The plan's own limit also stays what the plan says."""
    for name in ("scope", "scope_value", "window"):
        if name in changes and changes[name] != getattr(limit, name):
            raise InvalidError(f"{name}: cannot be changed; make a new limit.", param=name)
    if not limit.is_plan:
        return
    if changes.get("action", limit.action) != limit.action:
        raise InvalidError("action: the plan's own limit pauses access.", param="action")
    for name in ("starts_at", "ends_at"):
        if changes.get(name) is not None:
            raise InvalidError(f"{name}: the plan's own limit always holds.", param=name)


def plan_maximum(plan: Plan, window: str) -> Decimal | None:
    """The largest amount that a plan allows within a window (docs/limits.md); None: any."""
    if window in WEEKLY:
        return plan.max_weekly_limit_usd
    return plan.max_monthly_limit_usd if window == LimitWindow.CALENDAR_MONTH else None


def check_plan_allows(plan: Plan, window: str, amount: Decimal, *, param: str = "amount_usd") -> None:
    maximum = plan_maximum(plan, window)
    if maximum is None or amount <= maximum:
        return
    period = "week" if window in WEEKLY else "month"
    message = f"{param}: the {plan.name} plan allows at most {plain(maximum)} USD a {period}."
    raise InvalidError(
        message, code="plan_maximum", param=param, extra={"plan": plan.code, "maximum_usd": plain(maximum)}
    )


def _check_number(amount: Decimal, *, param: str) -> None:
    if not amount.is_finite() or not ZERO <= amount <= LARGEST:
        raise InvalidError(f"{param}: an amount from 0 to {plain(LARGEST)}.", param=param)
    exponent = to_storable(amount).as_tuple().exponent
    if isinstance(exponent, int) and exponent < -AMOUNT_DECIMALS:
        raise InvalidError(f"{param}: at most {AMOUNT_DECIMALS} decimals.", param=param)


def _check_thresholds(thresholds: Sequence[int]) -> None:
    if not all(1 <= threshold <= PAUSING for threshold in thresholds):
        raise InvalidError(f"thresholds: whole percents from 1 to {PAUSING}.", param="thresholds")
    if list(thresholds) != sorted(set(thresholds)):
        raise InvalidError("thresholds: each one once, the lowest first.", param="thresholds")
    if len(complete(thresholds)) > MAX_THRESHOLDS:
        raise InvalidError(f"thresholds: at most {MAX_THRESHOLDS}, with {PAUSING}.", param="thresholds")


def _check_soft_amount(limit_input: LimitInput) -> None:
    if limit_input.soft_amount_usd is None:
        return
    check_amount(limit_input.soft_amount_usd, param="soft_amount_usd")
    if limit_input.soft_amount_usd > limit_input.amount_usd:
        message = f"soft_amount_usd: at most the limit's amount, {plain(limit_input.amount_usd)} USD."
        raise InvalidError(message, param="soft_amount_usd")


def _check_period(limit_input: LimitInput) -> None:
    if (
        limit_input.starts_at is not None
        and limit_input.ends_at is not None
        and limit_input.ends_at <= limit_input.starts_at
    ):
        raise InvalidError("ends_at: must be later than starts_at.", param="ends_at")
