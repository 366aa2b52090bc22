"""Filters, rows and pages of the spend log (document 004). Pure values."""

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
    """The query would read more of the ledger than one request may."""


class Order(StrEnum):
    """Sort order of rows; ties are newest first."""

    STARTED = "started"
    ENDED = "ended"
    SPEND = "spend"
    TOKENS = "tokens"


class Exactness(StrEnum):
    """How exact the total of a page is."""

    EXACT = "exact"
    CALLS = "calls"
    """Too many rows to count, so the total is the rollups' count of model calls that were not voided."""
    AT_LEAST = "at_least"
    """More rows than can be paged through, and no rollup can count them."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Filters of events; None means any. `credentials` are ids. Cost filters apply to the net cost."""

    window: Window = field(default_factory=Window)
    credentials: tuple[int, ...] | None = None
    user: str | None = None
    end_user: str | None = None
    model: str | None = None
    status: str | None = None
    status_code: int | None = None
    team: str | None = None
    deployment: str | None = None
    min_cost: Decimal | None = None
    max_cost: Decimal | None = None
    request_id: str | None = None


class LogRow(NamedTuple):
    """An event that is not an adjustment. Token counts and cost include its adjustments; `is_priced` says whether
    `cost_usd` is the full cost."""

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
        """Text fields that LiteLLM reported about the call. Other values are ignored, because callers can write
        anything into metadata."""
        gateway_fields = (self.metadata or {}).get("litellm")
        return (
            {name: value for name, value in gateway_fields.items() if isinstance(value, str)}
            if isinstance(gateway_fields, dict)
            else {}
        )

    @property
    def was_cached(self) -> bool:
        """Whether LiteLLM served the call from its cache."""
        gateway_fields = (self.metadata or {}).get("litellm")
        return isinstance(gateway_fields, dict) and gateway_fields.get("cache_hit") is True


@dataclass(frozen=True, slots=True)
class LogRows:
    """Rows, newest first. `is_cut` is True if there are, or may be, more."""

    rows: Sequence[LogRow]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of rows and the total number."""

    rows: Sequence[LogRow]
    total: int
    exactness: Exactness
