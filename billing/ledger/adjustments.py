"""Adjustments: rows with the dimensions of the event that they correct and the difference of its amounts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from billing.ledger.types import LedgerEntry
from billing.models import UsageEvent
from billing.types import CorrectionKind, CostSource, EventKind
from costtrack.money import ZERO

SOURCE = "costtrack"

# Reasons of adjustments that costtrack creates automatically.
PRICED = "priced"
IN_SUMMARY = "in the session's summary"
REPRICED = "repriced"

# The key in an adjustment's metadata. (Adjustments never contain metadata of callers.)
_NOTE = "correction"
IS_VOID = "coalesce(metadata #>> '{correction,kind}' = 'void', false)"
"""SQL condition: whether an adjustment voids its event."""

# Columns that are copied from the event, so that reports count the adjustment with it.
_DIMENSIONS = (
    "credential_id",
    "occurred_at",
    "request_id",
    "status",
    "status_code",
    "endpoint",
    "capability",
    "service",
    "model",
    "sent_model",
    "cost_group",
    "tool",
    "run_id",
    "workflow_id",
    "execution_id",
    "phase_id",
    "workspace_id",
    "session_id",
    "group_id",
    "group_name",
    "agent_id",
    "agent_name",
    "user_ref",
    "end_user",
    "team",
    "provider",
    "environment",
    "tags",
)


def adjustment_of(
    event: UsageEvent, *, reason: str, attributed: UsageEvent | None = None, **changes: Any
) -> LedgerEntry:
    """Return the entry that changes the counts and costs of an event by `changes` (columns of the ledger; amounts and
    counts are differences). A cost that is not named does not change. The dimensions are those of `attributed`
    (`AdjustedEvent.attributed`), by default the event's own."""
    row = attributed or event
    changes = {"token_cost_usd": ZERO, **{name: getattr(row, name) for name in _DIMENSIONS}, **changes}
    return LedgerEntry(
        source=SOURCE,
        kind=EventKind.ADJUSTMENT.value,
        cost_source=CostSource.ADJUSTED.value,
        adjusts=event.pk,
        adjustment_reason=reason,
        **changes,
    )


def note(kind: CorrectionKind, *, actor: str, reason: str) -> dict[str, Any]:
    """Return the metadata of an adjustment that a user requested: who, and why."""
    return {_NOTE: {"kind": kind.value, "actor": actor, "reason": reason}}


@dataclass(frozen=True, slots=True)
class Correction:
    """A description of an adjustment: its kind, actor (empty: costtrack), reason and time."""

    kind: CorrectionKind
    actor: str
    reason: str
    at: datetime

    @classmethod
    def of(cls, adjustment: UsageEvent) -> Self:
        note_data = (adjustment.metadata or {}).get(_NOTE)
        if note_data is not None:
            return cls(
                CorrectionKind(note_data["kind"]), note_data["actor"], note_data["reason"], adjustment.received_at
            )
        kind = CorrectionKind.SUMMARY if adjustment.adjustment_reason == IN_SUMMARY else CorrectionKind.PRICE
        return cls(kind, "", adjustment.adjustment_reason, adjustment.received_at)
