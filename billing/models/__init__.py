"""One module per aggregate."""

from billing.models.ledger import IngestBatch, UnpricedEvent, UsageEvent
from billing.models.prices import PriceBookRevision, PriceVersion
from billing.models.quarantine import QuarantinedRecord
from billing.models.runs import Run

__all__ = [
    "IngestBatch",
    "PriceBookRevision",
    "PriceVersion",
    "QuarantinedRecord",
    "Run",
    "UnpricedEvent",
    "UsageEvent",
]
