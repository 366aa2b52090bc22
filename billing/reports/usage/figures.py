"""What of the usage is asked for, and what is answered (document 001). Values only."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from costtrack.calendar import Span
from costtrack.money import ZERO

NO_CREDENTIAL = "none"
"""Instead of a Client ID: what was recorded without a credential."""


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which usage. Empty: all."""

    client_id: str = ""
    capability: str = ""
    model: str = ""
    status: str = ""


class GroupBy(StrEnum):
    MODEL = "model"
    CAPABILITY = "capability"
    CREDENTIAL = "credential"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Figures:
    """What some usage adds up to. Failed requests are requests, too; prompt tokens have the cached ones in them. The
    cost lacks the `unpriced_events`, whose cost is not known."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: Decimal = ZERO
    unpriced_events: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def error_rate(self) -> float:
        """From 0 to 1."""
        return round(self.errors / self.requests, 6) if self.requests > 0 else 0.0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in _NAMES))


_NAMES = tuple(field.name for field in fields(Figures))
NOTHING = Figures()


@dataclass(frozen=True, slots=True)
class Spend:
    """What is spent at this moment, by the organization's calendar. Rolling: after the same time seven days ago."""

    today_usd: Decimal
    rolling_7d_usd: Decimal
    month_to_date_usd: Decimal
    billing_period: Span


@dataclass(frozen=True, slots=True)
class Summary:
    """A window, its days, and (if it is shown) what was before."""

    figures: Figures
    before: Figures | None
    days: tuple[Figures, ...]
    spend: Spend


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: the same periods for each. `key` None: all that have no line of their own."""

    key: str | None
    name: str
    total: Figures
    periods: tuple[Figures, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the usage, and which part of the cost that is (0 to 1)."""

    key: str
    figures: Figures
    share: float


@dataclass(frozen=True, slots=True)
class CredentialUsage:
    """What was recorded with a credential; without any, `client_id` is empty."""

    client_id: str
    name: str
    environment: str
    last_used_at: datetime | None
    figures: Figures
    share: float
