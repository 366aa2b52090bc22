"""What the log of calls (document 004) is asked, and what it answers. Pure values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from billing.reports.types import Window
from costtrack.errors import DomainError


class TooMuchToReadError(DomainError):
    """To answer, more of the ledger would have to be read than one request may."""


class Order(StrEnum):
    """What rows are ordered by; ties are newest first."""

    STARTED = "started"
    ENDED = "ended"
    SPEND = "spend"
    TOKENS = "tokens"


class Exactness(StrEnum):
    """What a page's total is."""

    EXACT = "exact"
    CALLS = "calls"
    """Too many to look at, so rollups have counted: model calls only, without those that were voided."""
    AT_LEAST = "at_least"
    """More than can be paged through, and no rollup can count them."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which events; None is any. `credentials` are ids, one of which it must be. Costs are those of now."""

    window: Window = field(default_factory=Window)
    credentials: tuple[int, ...] | None = None
    user: str | None = None
    end_user: str | None = None
    model: str | None = None
    status: str | None = None
    status_code: int | None = None
    team: str | None = None
    deployment: str | None = None
    least_cost: Decimal | None = None
    largest_cost: Decimal | None = None
    request_id: str | None = None


class LogRow(NamedTuple):
    """An event that is no adjustment. Counts of tokens and the cost are with its adjustments; `cost_usd` is what is
    known of the cost, and `is_priced` whether that is all of it."""

    id: UUID
    event_id: str
    request_id: str
    kind: str
    occurred_at: datetime
    received_at: datetime
    duration_ms: Decimal | None
    status: str
    status_code: int | None
    capability: str
    service: str
    model: str
    tool: str
    session_id: str
    agent_id: str
    user_ref: str
    end_user: str
    credential_id: int | None
    tags: list[str]
    metadata: dict[str, Any] | None
    unpriced_reason: str
    prompt_tokens: int
    completion_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    is_priced: bool
    cost_usd: Decimal

    @property
    def gateway(self) -> Mapping[str, str]:
        """What LiteLLM knew of the call, as far as it is text. (Callers may write into metadata what they like.)"""
        told = (self.metadata or {}).get("litellm")
        return {name: value for name, value in told.items() if isinstance(value, str)} if isinstance(told, dict) else {}

    @property
    def was_cached(self) -> bool:
        """LiteLLM answered from its cache."""
        told = (self.metadata or {}).get("litellm")
        return isinstance(told, dict) and told.get("cache_hit") is True


@dataclass(frozen=True, slots=True)
class LogRows:
    """Rows, newest first; `is_cut`: there are more, or there may be."""

    rows: Sequence[LogRow]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of rows, and how many there are in all."""

    rows: Sequence[LogRow]
    total: int
    exactness: Exactness
