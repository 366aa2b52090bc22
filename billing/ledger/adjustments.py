"""Corrections are new rows: an adjustment has the dimensions of the event it corrects and carries the difference."""

from typing import Any

from billing.ledger.types import LedgerEntry
from billing.models import UsageEvent
from billing.types import CostSource, EventKind
from costtrack.money import ZERO

SOURCE = "costtrack"

# Why there is an adjustment, where costtrack itself made it.
PRICED = "priced"
IN_SUMMARY = "in the session's summary"

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
