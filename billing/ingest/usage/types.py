"""What a usage object says, once it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from msgspec import Struct

from billing.pricing.kinds import Quantity

# More than any call can have, and small enough that the cost at any unit price fits the column.
LARGEST_COUNT = 1_000_000_000_000


class FlagCode(StrEnum):
    """Why a reading needs a review. The amount of a flagged event may be wrong."""

    UNREAD_USAGE = "unread_usage"
    TOTAL_MISMATCH = "total_mismatch"
    TWO_READINGS = "two_readings"
    UNUSUAL_READING = "unusual_reading"
    DETAILS_MISMATCH = "details_mismatch"
    CONFLICTING_VALUES = "conflicting_values"
    UNKNOWN_MODALITY = "unknown_modality"
    UNKNOWN_CACHE_LIFETIME = "unknown_cache_lifetime"
    SEVERAL_MODELS = "several_models"
    COST_MISMATCH = "cost_mismatch"
    TOO_LARGE = "too_large"
    RAW_TRUNCATED = "raw_truncated"


class UnreadableReason(StrEnum):
    """Why a usage object has no counts."""

    NO_COUNTS = "no_counts"
    NOT_A_COUNT = "not_a_count"
    CONTRADICTION = "contradiction"
    SEVERAL_MODELS = "several_models"


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag, and what it is about: the key that was not read, or the numbers that disagree."""

    code: FlagCode
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StatedCosts:
    """Costs in USD that stand in the object: the provider's own bill, the sender's statement, a gateway's estimate."""

    provider_usd: Decimal | None = None
    sender_usd: Decimal | None = None
    gateway_usd: Decimal | None = None


NO_COSTS = StatedCosts()


class UsageReading(Struct, frozen=True, gc=False):
    """The result of reading a usage object.

    `quantities` are disjoint, by kind (`billing.pricing.kinds`), and empty with a `reason` if the object cannot be
    read. `calls` are the same quantities by request of the provider where the object lists several, because the size of
    each determines its price. `attributes` are processing conditions. `convention` names the rule that decided whether
    caches and reasoning are part of the totals. `raw` is what is stored of the object for a later reading.
    """

    quantities: Mapping[str, Quantity] = {}
    calls: tuple[Mapping[str, Quantity], ...] = ()
    attributes: Mapping[str, str] = {}
    costs: StatedCosts = NO_COSTS
    flags: tuple[Flag, ...] = ()
    reason: UnreadableReason | None = None
    detail: str = ""
    convention: str = ""
    raw: Mapping[str, Any] | None = None

    def has_flag(self, code: FlagCode) -> bool:
        return any(flag.code is code for flag in self.flags)


class UnreadableError(Exception):
    """The object has no counts; the reason and the keys concerned."""

    def __init__(self, reason: UnreadableReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
