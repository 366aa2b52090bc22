"""The fields of a limit and their validation. Pure. Every error names the invalid field as the API spells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.models import PAUSING, SpendLimit
from billing.models.limits import default_thresholds
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.errors import field_error
from costtrack.money import DECIMALS, MAX_AMOUNT_USD, ZERO, is_storable, plain
from organizations.models import Plan

MAX_VALUE_LENGTH = 255
AMOUNT_DECIMALS = DECIMALS
MAX_THRESHOLDS = 10
MAX_CHEAPER_MODELS = 10

WEEKLY = frozenset({LimitWindow.ROLLING_7D, LimitWindow.CALENDAR_WEEK})


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitInput:
    """The columns of `SpendLimit` that users set, under the same names."""

    scope: LimitScope
    scope_value: str = ""
    window: LimitWindow
    amount_usd: Decimal
    action: LimitAction = LimitAction.PAUSE
    thresholds: Sequence[int] = tuple(default_thresholds())
    soft_amount_usd: Decimal | None = None
    fallback_price: Decimal | None = None
    cheaper_models: Sequence[str] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def columns(self) -> dict[str, Any]:
        """Return the values of the model's fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        thresholds = with_pausing_threshold(self.thresholds)
        return {**values, "thresholds": thresholds, "cheaper_models": list(self.cheaper_models)}


def to_limit_input(limit: SpendLimit) -> LimitInput:
    values = {field.name: getattr(limit, field.name) for field in fields(LimitInput)}
    return LimitInput(
        **{
            **values,
            "scope": LimitScope(limit.scope),
            "window": LimitWindow(limit.window),
            "action": LimitAction(limit.action),
            "thresholds": tuple(limit.thresholds),
            "cheaper_models": tuple(limit.cheaper_models),
        }
    )


def with_pausing_threshold(thresholds: Sequence[int]) -> list[int]:
    """Add 100 percent, at which a limit is always reached, if it is missing."""
    return [*thresholds] if PAUSING in thresholds else [*thresholds, PAUSING]


# --- Checks, each raises InvalidError -----------------------------------------------------------------------------


def validate_limit_input(limit_input: LimitInput) -> None:
    """Check everything that does not depend on the plan, the time or the database."""
    check_value(limit_input.scope_value, param="scope_value")
    if limit_input.scope is LimitScope.ORGANIZATION and limit_input.scope_value:
        raise field_error("scope_value", "Must be empty for the scope organization.")
    check_amount(limit_input.amount_usd, param="amount_usd")
    _check_thresholds(limit_input.thresholds)
    _check_soft_amount(limit_input)
    if limit_input.fallback_price is not None:
        _check_number(limit_input.fallback_price, param="fallback_price")
    _check_cheaper_models(limit_input.cheaper_models)
    _check_period(limit_input)


def check_value(value: str, *, param: str) -> None:
    if len(value) > MAX_VALUE_LENGTH:
        raise field_error(param, f"Must be at most {MAX_VALUE_LENGTH} characters.")
    if value and not value.isprintable():
        raise field_error(param, "Must not contain control characters.")


def check_amount(amount: Decimal, *, param: str) -> None:
    """Check that the amount is more than 0. To refuse everything, a limit is paused manually."""
    _check_number(amount, param=param)
    if amount == 0:
        raise field_error(param, "Must be more than 0.")


def check_end(ends_at: datetime, *, now: datetime, param: str = "ends_at") -> None:
    if ends_at <= now:
        raise field_error(param, "Must be in the future.")


def check_unchangeable(limit: SpendLimit, changes: Mapping[str, Any]) -> None:
    """Refuse to change scope and window, which threshold events refer to, and what a plan's own limit is bound to."""
    for name in ("scope", "scope_value", "window"):
        if name in changes and changes[name] != getattr(limit, name):
            raise field_error(name, "Cannot be changed. Create a new limit instead.")
    if not limit.is_plan:
        return
    if changes.get("action", limit.action) != limit.action:
        raise field_error("action", "The plan's own limit always pauses access.")
    for name in ("starts_at", "ends_at"):
        if changes.get(name) is not None:
            raise field_error(name, "The plan's own limit is always in force.")


def plan_maximum(plan: Plan, window: str) -> Decimal | None:
    """Return the maximum amount that a plan allows within a window (docs/limits.md); None: any amount."""
    if window in WEEKLY:
        return plan.max_weekly_limit_usd
    return plan.max_monthly_limit_usd if window == LimitWindow.CALENDAR_MONTH else None


def check_plan_allows(plan: Plan, window: str, amount: Decimal, *, param: str = "amount_usd") -> None:
    maximum = plan_maximum(plan, window)
    if maximum is None or amount <= maximum:
        return
    period = "week" if window in WEEKLY else "month"
    raise field_error(
        param,
        f"The {plan.name} plan allows at most {plain(maximum)} USD a {period}.",
        code="plan_maximum",
        extra={"plan": plan.code, "maximum_usd": plain(maximum)},
    )


def _check_number(amount: Decimal, *, param: str) -> None:
    if not amount.is_finite() or not ZERO <= amount <= MAX_AMOUNT_USD:
        raise field_error(param, f"Must be an amount from 0 to {plain(MAX_AMOUNT_USD)}.")
    if not is_storable(amount):
        raise field_error(param, f"Must have at most {AMOUNT_DECIMALS} decimals.")


def _check_thresholds(thresholds: Sequence[int]) -> None:
    if not all(1 <= threshold <= PAUSING for threshold in thresholds):
        raise field_error("thresholds", f"Must be whole percents from 1 to {PAUSING}.")
    if list(thresholds) != sorted(set(thresholds)):
        raise field_error("thresholds", "Must be ascending, without duplicates.")
    if len(with_pausing_threshold(thresholds)) > MAX_THRESHOLDS:
        raise field_error("thresholds", f"Must be at most {MAX_THRESHOLDS}, including {PAUSING}.")


def _check_cheaper_models(models: Sequence[str]) -> None:
    if len(models) > MAX_CHEAPER_MODELS:
        raise field_error("cheaper_models", f"Must be at most {MAX_CHEAPER_MODELS}.")
    for model in models:
        if not model.strip():
            raise field_error("cheaper_models", "Must not be empty.")
        check_value(model, param="cheaper_models")


def _check_soft_amount(limit_input: LimitInput) -> None:
    if limit_input.soft_amount_usd is None:
        return
    check_amount(limit_input.soft_amount_usd, param="soft_amount_usd")
    if limit_input.soft_amount_usd > limit_input.amount_usd:
        raise field_error(
            "soft_amount_usd", f"Must be at most the limit's amount, {plain(limit_input.amount_usd)} USD."
        )


def _check_period(limit_input: LimitInput) -> None:
    if (
        limit_input.starts_at is not None
        and limit_input.ends_at is not None
        and limit_input.ends_at <= limit_input.starts_at
    ):
        raise field_error("ends_at", "Must be later than starts_at.")
