"""One module per aggregate."""

from billing.models.ledger import EventKey, IngestBatch, UnpricedEvent, UsageEvent
from billing.models.prices import PriceBookRevision, PriceVersion
from billing.models.quarantine import QuarantinedRecord
from billing.models.rollups import (
    GroupDay,
    LiveGroupDay,
    LiveRunDay,
    LiveRunHour,
    LiveSessionCost,
    LiveSessionTotal,
    LiveSpendDay,
    LiveTagDay,
    LiveUsageHour,
    RollupRow,
    RunDay,
    RunHour,
    SessionCost,
    SessionTotal,
    SpendDay,
    TagDay,
    UsageHour,
)
from billing.models.runs import Run

__all__ = [
    "EventKey",
    "GroupDay",
    "IngestBatch",
    "LiveGroupDay",
    "LiveRunDay",
    "LiveRunHour",
    "LiveSessionCost",
    "LiveSessionTotal",
    "LiveSpendDay",
    "LiveTagDay",
    "LiveUsageHour",
    "PriceBookRevision",
    "PriceVersion",
    "QuarantinedRecord",
    "RollupRow",
    "Run",
    "RunDay",
    "RunHour",
    "SessionCost",
    "SessionTotal",
    "SpendDay",
    "TagDay",
    "UnpricedEvent",
    "UsageEvent",
    "UsageHour",
]
