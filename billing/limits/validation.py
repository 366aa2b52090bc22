"""The fields of a limit and their validation. Pure. Every error names the invalid field as the API spells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.limits.conditions import MAX_CONDITIONS, Condition
from billing.models import PAUSING, SpendLimit
from billing.models.limits import default_thresholds
from billing.types import LimitAction, LimitScope, LimitUnit, LimitWindow, MissingValue
from costtrack.errors import field_error
from costtrack.money import DECIMALS, MAX_AMOUNT_USD, ZERO, is_storable, plain
from organizations.models import Plan

MAX_VALUE_LENGTH = 255
AMOUNT_DECIMALS = DECIMALS
MAX_THRESHOLDS = 10
MAX_CHEAPER_MODELS = 10

MAX_MEMBERS = 1_000
MAX_MONTH_DAY = 31
WEEKLY = frozenset({LimitWindow.ROLLING_7D, LimitWindow.CALENDAR_WEEK})
MONTHLY = frozenset({LimitWindow.ROLLING_30D, LimitWindow.CALENDAR_MONTH})


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitInput:
    """The columns of `SpendLimit` that users set, under the same names."""

    scope: LimitScope
    scope_value: str = ""
    further_scopes: Sequence[LimitScope] = ()
    further_values: Sequence[str] = ()
    members: Sequence[str] = ()
    member_amounts: Mapping[str, str] = field(default_factory=dict)
    missing: MissingValue = MissingValue.ALLOW
    default_value: str = ""
    window: LimitWindow
    month_day: int = 1
    unit: LimitUnit = LimitUnit.USD
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
        lists = {name: list(values[name]) for name in ("further_scopes", "further_values", "members", "cheaper_models")}
        return {
            **values,
            **lists,
            "further_scopes": [scope.value for scope in self.further_scopes],
            "member_amounts": dict(self.member_amounts),
            "thresholds": with_pausing_threshold(self.thresholds),
        }

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions of the limit: its scope first, then the further ones."""
        default = self.default_value if self.missing is MissingValue.DEFAULT else ""
        further = zip(self.further_scopes, self.further_values, strict=True)
        return (
            Condition(self.scope, self.scope_value, default),
            *(Condition(scope, value) for scope, value in further),
        )


def to_limit_input(limit: SpendLimit) -> LimitInput:
    values = {field.name: getattr(limit, field.name) for field in fields(LimitInput)}
    return LimitInput(
        **{
            **values,
            "scope": LimitScope(limit.scope),
            "further_scopes": tuple(map(LimitScope, limit.further_scopes)),
            "further_values": tuple(limit.further_values),
            "members": tuple(limit.members),
            "missing": MissingValue(limit.missing),
            "unit": LimitUnit(limit.unit),
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
    _check_conditions(limit_input)
    _check_members(limit_input)
    _check_missing(limit_input)
    _check_unit(limit_input)
    _check_number(limit_input.amount_usd, param="amount_usd")
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
    """Check that the amount is more than 0."""
    _check_number(amount, param=param)
    if amount == 0:
        raise field_error(param, "Must be more than 0.")


def check_end(ends_at: datetime, *, now: datetime, param: str = "ends_at") -> None:
    if ends_at <= now:
        raise field_error(param, "Must be in the future.")


UNCHANGEABLE = (
    *("scope", "scope_value", "further_scopes", "further_values", "missing", "default_value"),
    *("window", "month_day", "unit"),
)
"""What a limit counts, which threshold events and rollup rows refer to."""


def check_unchangeable(limit: SpendLimit, changes: Mapping[str, Any]) -> None:
    """Refuse to change scope and window, which threshold events refer to, and what a plan's own limit is bound to."""
    for name in UNCHANGEABLE:
        if name in changes and _comparable(changes[name]) != _comparable(getattr(limit, name)):
            raise field_error(
                "conditions" if name.startswith("further") else name, "Cannot be changed. Create a new limit instead."
            )
    if not limit.is_plan:
        return
    if changes.get("action", limit.action) != limit.action:
        raise field_error("action", "The plan's own limit always pauses access.")
    for name in ("starts_at", "ends_at"):
        if changes.get(name) is not None:
            raise field_error(name, "The plan's own limit is always in force.")


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def plan_maximum(plan: Plan, window: str) -> Decimal | None:
    """Return the maximum amount that a plan allows within a window (docs/limits.md); None: any amount."""
    if window in WEEKLY:
        return plan.max_weekly_limit_usd
    return plan.max_monthly_limit_usd if window in MONTHLY else None


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


def _check_conditions(limit_input: LimitInput) -> None:
    scopes = (limit_input.scope, *limit_input.further_scopes)
    if len(scopes) > MAX_CONDITIONS:
        raise field_error("conditions", f"Must be at most {MAX_CONDITIONS - 1}.")
    if LimitScope.ORGANIZATION in scopes[1:]:
        raise field_error("conditions", "Must not be for the scope organization.")
    if len(set(scopes)) < len(scopes):
        raise field_error("conditions", "Must be for different scopes.")
    for value in limit_input.further_values:
        check_value(value, param="conditions")
    for condition in limit_input.conditions:
        if "*" in condition.value and condition.scope not in (LimitScope.MODEL, *_WITH_STARS):
            raise field_error("scope_value", "Only models can be named by a pattern.")


_WITH_STARS = (
    LimitScope.USER,
    LimitScope.END_USER,
    LimitScope.TAG,
    LimitScope.RUN,
    LimitScope.SESSION,
    LimitScope.WORKFLOW,
)
"""Scopes whose values may contain a star, which then has no meaning."""


def _check_members(limit_input: LimitInput) -> None:
    is_per_value = limit_input.scope is not LimitScope.ORGANIZATION and not limit_input.scope_value
    if limit_input.members and limit_input.scope is LimitScope.CREDENTIAL:
        raise field_error("members", "Cannot be credentials.")
    if (limit_input.members or limit_input.member_amounts) and not is_per_value:
        raise field_error("members", "Only a limit for every value of its scope has members.")
    if len(limit_input.members) > MAX_MEMBERS or len(limit_input.member_amounts) > MAX_MEMBERS:
        raise field_error("members", f"Must be at most {MAX_MEMBERS}.")
    for value in (*limit_input.members, *limit_input.member_amounts):
        check_value(value, param="members")
    if not all(limit_input.members) or not all(limit_input.member_amounts):
        raise field_error("members", "Must not be empty.")
    for value, amount in limit_input.member_amounts.items():
        if limit_input.members and value not in limit_input.members:
            raise field_error("member_amounts", f"{value} is not a member.")
        _check_number(Decimal(amount), param="member_amounts")


def _check_missing(limit_input: LimitInput) -> None:
    is_per_value = limit_input.scope is not LimitScope.ORGANIZATION and not limit_input.scope_value
    check_value(limit_input.default_value, param="default_value")
    if limit_input.missing is not MissingValue.ALLOW and not is_per_value:
        raise field_error("missing", "Only a limit for every value of its scope can require a value.")
    if (limit_input.missing is MissingValue.DEFAULT) != bool(limit_input.default_value):
        raise field_error("default_value", "Required if missing is default, and only then.")


def _check_unit(limit_input: LimitInput) -> None:
    if limit_input.unit is LimitUnit.USD:
        return
    if limit_input.amount_usd != limit_input.amount_usd.to_integral_value():
        raise field_error("amount_usd", "Must be a whole number of tokens or requests.")
    if limit_input.fallback_price is not None:
        raise field_error("fallback_price", "Only a limit in US dollars has a fallback price.")


def _check_period(limit_input: LimitInput) -> None:
    if not 1 <= limit_input.month_day <= MAX_MONTH_DAY:
        raise field_error("month_day", f"Must be from 1 to {MAX_MONTH_DAY}.")
    is_monthly = limit_input.window in (LimitWindow.CALENDAR_MONTH, LimitWindow.CALENDAR_QUARTER)
    if limit_input.month_day != 1 and not is_monthly:
        raise field_error("month_day", "Only for months and quarters.")
    if limit_input.window is LimitWindow.FIXED_PERIOD and None in (limit_input.starts_at, limit_input.ends_at):
        name = "starts_at" if limit_input.starts_at is None else "ends_at"
        raise field_error(name, "Required for a fixed period.", code="required")
    if (
        limit_input.starts_at is not None
        and limit_input.ends_at is not None
        and limit_input.ends_at <= limit_input.starts_at
    ):
        raise field_error("ends_at", "Must be later than starts_at.")
