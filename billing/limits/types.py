"""Values of spend limits. Pure."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing.types import SCOPE_COLUMNS, LimitAction, LimitScope, LimitState, LimitUnit, LimitWindow, OverrideKind
from costtrack.calendar import Window
from costtrack.money import ZERO


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The dimensions of a call, named as in the ledger. Empty: not given. `credential_id` is a primary key."""

    credential_id: int | None = None
    environment: str = ""
    service: str = ""
    provider: str = ""
    model: str = ""
    sent_model: str = ""
    capability: str = ""
    agent_id: str = ""
    user_ref: str = ""
    end_user: str = ""
    team: str = ""
    workflow_id: str = ""
    run_id: str = ""
    session_id: str = ""
    tags: tuple[str, ...] = ()

    @property
    def model_as_sent(self) -> str:
        """The model as the caller named it; prices are looked up by it."""
        return self.sent_model or self.model

    def values(self, scope: LimitScope) -> tuple[str, ...]:
        """Return the values of a scope that the call belongs to, as rollups store them."""
        match scope:
            case LimitScope.ORGANIZATION:
                return ("",)
            case LimitScope.TAG:
                return self.tags
            case LimitScope.SENT_MODEL:
                return (self.model_as_sent,) if self.model else ()
        value = getattr(self, SCOPE_COLUMNS[scope])
        return (str(value),) if value else ()


@dataclass(frozen=True, slots=True)
class ManualOverride:
    """A manual pause of a limit, or access regardless of spend. `until` is None if it has no end."""

    kind: OverrideKind
    until: datetime | None
    reason: str


class Period(NamedTuple):
    """What a window needs besides its name: the day on which months begin, and the ends of a fixed period."""

    month_day: int = 1
    start: datetime | None = None
    end: datetime | None = None


NO_PERIOD = Period()


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit at one time for one value, with overrides applied.

    `value` is as rollups store it (a credential by its primary key), `display_value` as the API shows it (its Client
    ID). `rows_scope` is the scope of its rollup rows; if they are its own, `conditions` says what they count, as a
    literal of a PostgreSQL array (`billing.limits.conditions`). `further` are the further conditions as shown. All
    amounts are in its `unit`. `amount_usd` is the current amount, `base_amount_usd` the amount without the raise that
    ends at `raised_until`.
    """

    limit_id: int
    scope: LimitScope
    value: str
    display_value: str
    is_per_value: bool
    window: LimitWindow
    amount_usd: Decimal
    base_amount_usd: Decimal
    action: LimitAction
    thresholds: tuple[int, ...]
    soft_amount_usd: Decimal | None = None
    fallback_price: Decimal | None = None
    cheaper_models: tuple[str, ...] = ()
    raised_until: datetime | None = None
    manual_override: ManualOverride | None = None
    unit: LimitUnit = LimitUnit.USD
    own_rows: str = ""
    conditions: str | None = None
    scope_value: str = ""
    """The value of the limit's own scope, if it has one."""
    own_value: str = ""
    """The same of this rule, as rollups store it, also if the rows are those of all conditions together."""
    further: tuple[tuple[LimitScope, str], ...] = ()
    period: Period = NO_PERIOD
    ignores_spend: bool = False
    """For a call that costs nothing: only a manual pause refuses it."""

    @property
    def rows_scope(self) -> str:
        return self.own_rows or self.scope.value

    @property
    def pauses(self) -> bool:
        """Whether the limit refuses calls because of spend: not if it only notifies, or was opened manually."""
        is_open = self.manual_override is not None and self.manual_override.kind is OverrideKind.OPEN
        return self.action is LimitAction.PAUSE and not is_open and not self.ignores_spend

    @property
    def is_paused_manually(self) -> bool:
        return self.manual_override is not None and self.manual_override.kind is OverrideKind.PAUSE


class Bucket(NamedTuple):
    """Spend between two times. Both are the same for a single event."""

    start: datetime
    end: datetime
    usd: Decimal


class Reservation(NamedTuple):
    """An open authorization."""

    usd: Decimal
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The state of a limit at `as_of`.

    `remaining_usd` is what can still be authorized: the amount minus spent and reserved amounts, at least 0.
    `resets_at` is when spend will be below the amount again; None if it already is, or if that is unknown (lifetime).
    """

    state: LimitState
    spent_usd: Decimal
    reserved_usd: Decimal
    remaining_usd: Decimal
    span: Window
    resets_at: datetime | None
    as_of: datetime

    @property
    def is_paused(self) -> bool:
        return self.state is LimitState.PAUSED


@dataclass(frozen=True, slots=True)
class Balance:
    """Spend of one rule by bucket (inside the window, the oldest first), and its open authorizations."""

    spend: tuple[Bucket, ...]
    reservations: tuple[Reservation, ...] = ()
    unpriced: int = 0
    unpriced_since: datetime | None = None

    @property
    def spent_usd(self) -> Decimal:
        return sum((bucket.usd for bucket in self.spend), ZERO)

    @property
    def reserved_usd(self) -> Decimal:
        return sum((reservation.usd for reservation in self.reservations), ZERO)

    @property
    def committed_usd(self) -> Decimal:
        """Spent and reserved."""
        return self.spent_usd + self.reserved_usd


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """A rule with its state. `hit_at` is when it will be reached at the present pace: that of the hours of the week or,
    if `has_history` is false because there is less than a week of spend, the rate of the last day.

    `unpriced` is the number of events without a known cost, and `unpriced_since` the hour of the first one (None also
    if only the sum of older hours is known).
    """

    rule: Rule
    evaluation: Evaluation
    unpriced: int = 0
    unpriced_since: datetime | None = None
    hit_at: datetime | None = None
    has_history: bool = False
