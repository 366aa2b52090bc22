"""One module per aggregate."""

from billing.models.ledger import EventKey, IngestBatch, UnpricedEvent, UsageEvent
from billing.models.maintenance import DroppedMonth, RollupCheck
from billing.models.prices import PriceBookRevision, PriceVersion
from billing.models.quarantine import QuarantinedRecord
from billing.models.repricing import Repricing
from billing.models.rollups import (
    GroupDay,
    LiveGroupDay,
    LiveRunDay,
    LiveRunServiceDay,
    LiveSessionCost,
    LiveSessionTotal,
    LiveSpendDay,
    LiveTagDay,
    LiveUsageHour,
    RollupRow,
    RunDay,
    RunServiceDay,
    SessionCost,
    SessionTotal,
    SpendDay,
    TagDay,
    UsageHour,
)
from billing.models.runs import Run

__all__ = [
    "DroppedMonth",
    "EventKey",
    "GroupDay",
    "IngestBatch",
    "LiveGroupDay",
    "LiveRunDay",
    "LiveRunServiceDay",
    "LiveSessionCost",
    "LiveSessionTotal",
    "LiveSpendDay",
    "LiveTagDay",
    "LiveUsageHour",
    "PriceBookRevision",
    "PriceVersion",
    "QuarantinedRecord",
    "Repricing",
    "RollupCheck",
    "RollupRow",
    "Run",
    "RunDay",
    "RunServiceDay",
    "SessionCost",
    "SessionTotal",
    "SpendDay",
    "TagDay",
    "UnpricedEvent",
    "UsageEvent",
    "UsageHour",
]
