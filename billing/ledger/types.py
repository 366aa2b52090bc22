"""Value types of the ledger's input and output."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct

from billing.pricing.kinds import TOKEN_COUNTS
from billing.types import CostSource
from costtrack.money import ZERO


class LedgerEntry(Struct, gc=False, omit_defaults=True):
    """A row to insert. Fields are named like the columns of `billing.models.UsageEvent`; `key` and `payload_hash` are
    those of `billing.models.EventKey`, keys in hexadecimal digits. The batch sets `id` and `received_at`, and the
    database the organization.

    The fields before `credential_id` are those of an event, named as in the API; None means that the column keeps its
    default. Choices are plain strings, the values of the enumerations in `billing.types`.
    """

    source: str
    kind: str
    occurred_at: datetime
    duration_ms: Decimal | None = None
    request_id: str | None = None
    status: str | None = None
    status_code: int | None = None
    endpoint: str | None = None
    capability: str | None = None
    service: str | None = None
    model: str | None = None
    cost_group: str | None = None
    tool: str | None = None
    run_id: str | None = None
    parent_run_id: str | None = None
    workflow_id: str | None = None
    execution_id: str | None = None
    phase_id: str | None = None
    workspace_id: str | None = None
    session_id: str | None = None
    group_id: str | None = None
    group_name: str | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    end_user: str | None = None
    team: str | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    authorization_id: UUID | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_creation_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    tool_use_tokens: int | None = None
    tool_result_tokens: int | None = None
    service_tier: str | None = None
    region: str | None = None
    compute_cost_usd: Decimal | None = None

    credential_id: int | None = None
    user_ref: str = ""
    sent_model: str = ""
    provider: str = ""
    environment: str = ""
    event_id: str = ""
    key: str | None = None
    payload_hash: int | None = None
    requests: int = 0
    tool_calls: int = 0
    turns: int = 0
    unpriced: int = 0
    token_cost_usd: Decimal | None = None
    computed_cost_usd: Decimal | None = None
    cost_source: str = CostSource.COMPUTED.value
    other_quantities: dict[str, Any] | None = None
    calls: list[dict[str, Any]] | None = None
    attributes: dict[str, str] | None = None
    flags: list[dict[str, str]] | None = None
    usage_raw: dict[str, Any] | None = None
    cost_basis: str = ""
    provider_cost_usd: Decimal | None = None
    stated_cost_usd: Decimal | None = None
    gateway_cost_usd: Decimal | None = None
    list_cost_usd: Decimal | None = None
    canonical_provider: str = ""
    canonical_model: str = ""
    unpriced_reason: str = ""
    price_version_id: int | None = None
    adjusts: UUID | None = None
    adjustment_reason: str = ""
    id: UUID | None = None
    received_at: datetime | None = None
    call_keys: list[str] | None = None
    """The keys of the call's response and request ids (`billing.models.CallKey`), with its provider and model as they
    are compared. Not columns."""
    call_provider: str = ""
    call_model: str = ""
    may_repeat_calls: bool = False
    """Whether the source may report a call under several event ids. Not a column."""
    named_counts: frozenset[str] = frozenset()
    """The `SUMMARY_TOTALS` that a summary named. Not a column."""

    @property
    def known_cost_usd(self) -> Decimal:
        """The known cost: only the compute cost for an unpriced entry."""
        return (self.token_cost_usd or ZERO) + (self.compute_cost_usd or ZERO)


EVENT_FIELDS = LedgerEntry.__struct_fields__[: LedgerEntry.__struct_fields__.index("credential_id")]
"""The fields of an event, in the order of the positional arguments."""

SUMMARY_COUNTS = (*TOKEN_COUNTS, "tool_use_tokens", "tool_result_tokens", "turns", "tool_calls")
SUMMARY_AMOUNTS = ("token_cost_usd", "compute_cost_usd", "duration_ms")
SUMMARY_TOTALS = (*SUMMARY_COUNTS, *SUMMARY_AMOUNTS)
"""The columns whose sum over a session a summary may name."""


class Outcome(Enum):
    """The outcome of an entry."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class Refusal(NamedTuple):
    """Why an event was not written: its key exists with the same or with other content, or the call of its ids is
    `same_call_id`. `is_same` is None for an event that was written although its ids belong to `same_call_id`, whose
    model or tokens differ."""

    is_same: bool | None
    same_call_id: UUID | None = None


class Appended(Struct, frozen=True):
    """A written batch, with the outcome of each entry in order.

    `same_calls` are the events that other sources reported before, and `possible_duplicates` those that may be the same
    calls as the written ones; both by the position of the entry.
    """

    batch_id: UUID
    outcomes: list[Outcome]
    same_calls: dict[int, UUID] = {}
    possible_duplicates: dict[int, UUID] = {}

    def count(self, outcome: Outcome) -> int:
        return self.outcomes.count(outcome)
