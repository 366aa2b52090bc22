"""Values of spend limits. Pure."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing.types import ExceptionKind, LimitAction, LimitScope, LimitState, LimitWindow
from costtrack.money import ZERO


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What a call tells of itself, in the ledger's words. Empty: not told. A credential by its number."""

    credential_id: int | None = None
    service: str = ""
    model: str = ""
    user_ref: str = ""
    workflow_id: str = ""
    run_id: str = ""
    session_id: str = ""
    tags: tuple[str, ...] = ()

    def values(self, scope: LimitScope) -> tuple[str, ...]:
        """Which values of a scope the call belongs to, as rollups keep them."""
        match scope:
            case LimitScope.ORGANIZATION:
                return ("",)
            case LimitScope.TAG:
                return self.tags
            case LimitScope.CREDENTIAL:
                return () if self.credential_id is None else (str(self.credential_id),)
        told = {
            LimitScope.USER: self.user_ref,
            LimitScope.MODEL: self.model,
            LimitScope.WORKFLOW: self.workflow_id,
            LimitScope.RUN: self.run_id,
            LimitScope.SESSION: self.session_id,
        }[scope]
        return (told,) if told else ()


@dataclass(frozen=True, slots=True)
class ByHand:
    """That somebody has paused or opened a limit; `until` None: until somebody ends it."""

    kind: ExceptionKind
    until: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit as it holds at an instant for one value of its scope, exceptions applied.

    `value` is as rollups keep it (a credential by its number); `display_value` is for people and programs (its Client
    ID). `amount_usd` is what holds now, `base_amount_usd` what holds without a raise, which ends at `raised_until`.
    """

    limit_id: int
    scope: LimitScope
    value: str
    display_value: str
    is_of_each: bool
    window: LimitWindow
    amount_usd: Decimal
    base_amount_usd: Decimal
    action: LimitAction
    thresholds: tuple[int, ...]
    soft_amount_usd: Decimal | None = None
    fallback_price: Decimal | None = None
    raised_until: datetime | None = None
    by_hand: ByHand | None = None

    @property
    def pauses(self) -> bool:
        """Whether it refuses anything: not if it only notifies, or somebody has opened it."""
        is_open = self.by_hand is not None and self.by_hand.kind is ExceptionKind.OPEN
        return self.action is LimitAction.PAUSE and not is_open

    @property
    def is_paused_by_hand(self) -> bool:
        return self.by_hand is not None and self.by_hand.kind is ExceptionKind.PAUSE


class WindowSpan(NamedTuple):
    """`start <= t < end`. No start: ever. No end: it does not end (lifetime), or it moves along (rolling)."""

    start: datetime | None
    end: datetime | None


class Bucket(NamedTuple):
    """What was spent from one instant to another; both the same for a single event's instant."""

    start: datetime
    end: datetime
    usd: Decimal


class Reservation(NamedTuple):
    """An open authorization."""

    usd: Decimal
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a limit stands at `as_of`.

    `remaining_usd` is what an authorization may still take: the amount without what is spent and held, at least 0.
    `resets_at` is when spend is below the amount again; None if it is already, or if that is not in sight (lifetime).
    """

    state: LimitState
    spent_usd: Decimal
    reserved_usd: Decimal
    remaining_usd: Decimal
    span: WindowSpan
    resets_at: datetime | None
    as_of: datetime

    @property
    def is_paused(self) -> bool:
        return self.state is LimitState.PAUSED


@dataclass(frozen=True, slots=True)
class Balance:
    """What the database says of one rule: spend by bucket (all inside the window, oldest first), open holds."""

    spend: tuple[Bucket, ...]
    reservations: tuple[Reservation, ...] = ()
    unpriced: int = 0

    @property
    def spent_usd(self) -> Decimal:
        return sum((bucket.usd for bucket in self.spend), ZERO)

    @property
    def reserved_usd(self) -> Decimal:
        return sum((hold.usd for hold in self.reservations), ZERO)


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """A rule and how it stands. `hit_at` is when it will be reached if spend goes on as it did in the last day."""

    rule: Rule
    evaluation: Evaluation
    unpriced: int = 0
    hit_at: datetime | None = None
