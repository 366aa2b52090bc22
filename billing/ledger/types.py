"""What the ledger is told, and what it answers. Pure values."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from billing.types import Status
from costtrack.money import ZERO


class LedgerEntry(Struct, kw_only=True):
    """A row to be, named like the columns of `billing.models.UsageEvent`; `key` and `payload_hash` are those of
    `billing.models.EventKey`. What all rows of a batch share (organization, received_at) and their ids are given by
    the batch.

    Choices are plain strings here, the values of the enumerations in `billing.types`.
    """

    credential_id: int | None = None
    source: str
    event_id: str = ""
    key: UUID | None = None
    payload_hash: int | None = None
    request_id: str = ""
    kind: str
    occurred_at: datetime
    duration_ms: Decimal | None = None
    status: str = Status.SUCCESS.value
    status_code: int | None = None
    endpoint: str = ""
    capability: str = ""
    service: str = ""
    model: str = ""
    cost_group: str = ""
    tool: str = ""
    run_id: str = ""
    workflow_id: str = ""
    execution_id: str = ""
    phase_id: str = ""
    workspace_id: str = ""
    session_id: str = ""
    group_id: str = ""
    group_name: str = ""
    agent_id: str = ""
    agent_name: str = ""
    user_ref: str = ""
    end_user: str = ""
    tags: list[str] = []
    metadata: dict[str, Any] | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    tool_use_tokens: int = 0
    tool_result_tokens: int = 0
    requests: int = 0
    tool_calls: int = 0
    turns: int = 0
    unpriced: int = 0
    token_cost_usd: Decimal | None = None
    compute_cost_usd: Decimal = ZERO
    computed_cost_usd: Decimal | None = None
    cost_source: str
    unpriced_reason: str = ""
    price_version_id: int | None = None
    adjusts: UUID | None = None
    adjustment_reason: str = ""

    # Not columns: the run's place in the tree, kept in the `Run` table, and which counts a summary really named.
    parent_run_id: str = ""
    named_counts: frozenset[str] = frozenset()

    @property
    def known_cost_usd(self) -> Decimal:
        """What is known of the cost: an entry without a price adds its compute cost only."""
        return (self.token_cost_usd or ZERO) + self.compute_cost_usd


_IN_OTHER_TABLES = ("parent_run_id", "named_counts", "key", "payload_hash")
ENTRY_COLUMNS = tuple(name for name in LedgerEntry.__struct_fields__ if name not in _IN_OTHER_TABLES)
"""The columns of the ledger that an entry fills."""

# What a column, or the key beside it, holds when an entry does not say. None of the columns that every entry fills
# (kind, occurred_at) is ever left out.
ENTRY_DEFAULTS: dict[str, Any] = {
    field.name: None if field.default is NODEFAULT else field.default
    for field in fields(LedgerEntry)
    if field.name in (*ENTRY_COLUMNS, "key", "payload_hash")
} | {"tags": []}


class Outcome(Enum):
    """What became of an entry."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class Appended(Struct, frozen=True):
    """A written batch, and what became of each entry, in the order they were given."""

    batch_id: UUID
    outcomes: list[Outcome]

    def count(self, outcome: Outcome) -> int:
        return self.outcomes.count(outcome)
