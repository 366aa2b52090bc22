"""Corrections are new rows: an adjustment has the dimensions of the event it corrects and carries the difference."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from billing.ledger.types import LedgerEntry
from billing.models import UsageEvent
from billing.types import CorrectionKind, CostSource, EventKind
from costtrack.money import ZERO

SOURCE = "costtrack"

# Why there is an adjustment, where costtrack itself made it.
PRICED = "priced"
IN_SUMMARY = "in the session's summary"
REPRICED = "repriced"

# Where an adjustment's metadata says who made it. (Metadata of callers' events never stands in an adjustment.)
_NOTE = "correction"
IS_VOID = "coalesce(metadata #>> '{correction,kind}' = 'void', false)"
"""The same in SQL: whether the row of an adjustment takes its event back."""

# An adjustment is found wherever its event is: these columns are copied from it.
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
    "tags",
)


def adjustment_of(event: UsageEvent, *, reason: str, **changes: Any) -> LedgerEntry:
    """The row that changes what an event counts and costs by `changes` (columns of the ledger; money and counts are
    differences). A cost that is not named does not change."""
    changes.setdefault("token_cost_usd", ZERO)
    return LedgerEntry(
        source=SOURCE,
        kind=EventKind.ADJUSTMENT.value,
        cost_source=CostSource.ADJUSTED.value,
        adjusts=event.pk,
        adjustment_reason=reason,
        **{name: getattr(event, name) for name in _DIMENSIONS},
        **changes,
    )


def note(kind: CorrectionKind, *, actor: str, reason: str) -> dict[str, Any]:
    """The metadata of an adjustment that a person has asked for: the ledger alone can say who, and why."""
    return {_NOTE: {"kind": kind.value, "actor": actor, "reason": reason}}


@dataclass(frozen=True, slots=True)
class Correction:
    """An adjustment in the words of people: what was done, by whom (empty: by costtrack itself), why and when."""

    kind: CorrectionKind
    actor: str
    reason: str
    at: datetime

    @classmethod
    def of(cls, adjustment: UsageEvent) -> Self:
        told = (adjustment.metadata or {}).get(_NOTE)
        if told is not None:
            return cls(CorrectionKind(told["kind"]), told["actor"], told["reason"], adjustment.received_at)
        by_itself = CorrectionKind.SUMMARY if adjustment.adjustment_reason == IN_SUMMARY else CorrectionKind.PRICE
        return cls(by_itself, "", adjustment.adjustment_reason, adjustment.received_at)
