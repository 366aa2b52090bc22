"""One module per aggregate."""

from billing.models.allocation import AllocationRule
from billing.models.anomalies import Anomaly, AnomalyWindow
from billing.models.archives import EventArchive
from billing.models.authorizations import Authorization
from billing.models.commitments import Commitment
from billing.models.coverage import Coverage, MetricPoint, MetricSender
from billing.models.credits import Credit
from billing.models.erasures import Erasure
from billing.models.exports import Export, ExportPart
from billing.models.forecasts import ForecastCheck
from billing.models.ledger import CallKey, EventKey, IngestBatch, UnpricedEvent, UsageEvent
from billing.models.limits import (
    PAUSING,
    IncreaseRequest,
    LimitOverride,
    LimitSetRevision,
    SpendLimit,
    ThresholdEvent,
)
from billing.models.maintenance import DroppedMonth, LedgerState, RollupCheck
from billing.models.months import ClosedMonth, LateEvent
from billing.models.notifications import (
    Delivery,
    Notice,
    NoticeReading,
    NotificationAddress,
    NotificationPreference,
    ReportSubscription,
    WebhookEndpoint,
)
from billing.models.outcomes import Outcome
from billing.models.prices import Agreement, PriceBookRevision, PriceVersion
from billing.models.provider_bills import BillConnection, BillDay, BillImport, BillKey, BillRow
from billing.models.quarantine import QuarantinedRecord
from billing.models.repricing import Repricing
from billing.models.rollups import Execution, GenerationGroup, Session
from billing.models.runs import Run
from billing.models.saved_views import SavedView
from billing.models.uploads import Upload, UploadChunk, UploadError
from billing.models.usage_issues import UsageIssue

__all__ = [
    "PAUSING",
    "Agreement",
    "AllocationRule",
    "Anomaly",
    "AnomalyWindow",
    "Authorization",
    "BillConnection",
    "BillDay",
    "BillImport",
    "BillKey",
    "BillRow",
    "CallKey",
    "ClosedMonth",
    "Commitment",
    "Coverage",
    "Credit",
    "Delivery",
    "DroppedMonth",
    "Erasure",
    "EventArchive",
    "EventKey",
    "Execution",
    "Export",
    "ExportPart",
    "ForecastCheck",
    "GenerationGroup",
    "IncreaseRequest",
    "IngestBatch",
    "LateEvent",
    "LedgerState",
    "LimitOverride",
    "LimitSetRevision",
    "MetricPoint",
    "MetricSender",
    "Notice",
    "NoticeReading",
    "NotificationAddress",
    "NotificationPreference",
    "Outcome",
    "PriceBookRevision",
    "PriceVersion",
    "QuarantinedRecord",
    "ReportSubscription",
    "Repricing",
    "RollupCheck",
    "Run",
    "SavedView",
    "Session",
    "SpendLimit",
    "ThresholdEvent",
    "UnpricedEvent",
    "Upload",
    "UploadChunk",
    "UploadError",
    "UsageEvent",
    "UsageIssue",
    "WebhookEndpoint",
]
