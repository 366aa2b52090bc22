"""Choices that several packages of the billing app use."""

from collections.abc import Mapping
from decimal import Decimal

from django.db import models

from costtrack.money import usd

NO_CREDENTIAL = "none"
"""In place of a Client ID as a filter: usage without a credential."""


class EventKind(models.TextChoices):
    """The kind of a ledger row. Callers send the first four; only costtrack creates adjustments and credits."""

    MODEL_CALL = "model_call", "Model call"
    TOOL_CALL = "tool_call", "Tool call"
    COMPUTE = "compute", "Compute"
    SESSION_SUMMARY = "session_summary", "Session summary"
    ADJUSTMENT = "adjustment", "Adjustment"
    CREDIT = "credit", "Credit"


class Status(models.TextChoices):
    """The status of a call."""

    SUCCESS = "success", "Success"
    FAILURE = "failure", "Failure"


class CostSource(models.TextChoices):
    """The origin of a row's cost (docs/decisions/005-reported-and-computed-cost.md)."""

    COMPUTED = "computed", "Computed from a price"
    REPORTED = "reported", "Reported by the caller"
    ADJUSTED = "adjusted", "Adjusted afterwards"


class UnpricedReason(models.TextChoices):
    """Why a row has no token cost. An unknown cost is not zero."""

    NO_MODEL = "no_model", "The event has no model"
    NO_PRICE = "no_price", "The model had no price at that time"
    NO_UNIT_PRICE = "no_unit_price", "The price has no unit price for some of the tokens"
    NO_CONDITION_PRICE = "no_condition_price", "There is no price for the call's service tier, speed or region"
    NO_USAGE = "no_usage", "The call succeeded without token counts"
    UNREADABLE_USAGE = "unreadable_usage", "The usage of the call could not be read"


class CostBasis(models.TextChoices):
    """Where the cost of a model call comes from, in order of precedence (`billing.pricing.cost_choice`)."""

    PROVIDER = "provider", "The provider's own bill"
    SENDER = "sender", "Stated by the sender"
    COMPUTED = "computed", "Computed from the price"
    GATEWAY = "gateway", "A gateway's estimate"
    UNKNOWN = "unknown", "Unknown"


ESTIMATED_FLAG = "estimated"
"""The flag of an event with a unit price that is estimated."""

AUTHORIZATION_MISMATCH_FLAG = "authorization_mismatch"
"""The flag of an event with other dimensions than its authorization. It is the last one."""

POSSIBLE_DUPLICATE_FLAG = "possible_duplicate"
"""The flag of an event that shares its response or request id with another one, but not its model or tokens."""

AGGREGATE_FLAG = "aggregate"
"""The flag of an event that is the sum of several requests. Its detail says how many."""
UNKNOWN_REQUESTS = "an unknown number of requests"

FLAGS_BESIDE_USAGE = (ESTIMATED_FLAG, AUTHORIZATION_MISMATCH_FLAG, POSSIBLE_DUPLICATE_FLAG, AGGREGATE_FLAG)
"""Flags of usage that was read with certainty. The others are `billing.ingest.usage.types.FlagCode`."""


class Exactness(models.TextChoices):
    """How far a cost can be relied on."""

    REPORTED = "reported", "Reported"
    COMPUTED = "computed", "Computed"
    ESTIMATED = "estimated", "Estimated"
    FLAGGED = "flagged", "Flagged"
    UNKNOWN = "unknown", "Unknown"


class DifferenceCause(models.TextChoices):
    """The likely cause of a difference between a reported and a computed cost."""

    ZERO = "zero", "Reported as zero"
    CACHE = "cache", "Cached tokens are charged differently"
    REASONING = "reasoning", "Reasoning is charged differently"
    MODALITY = "modality", "Audio or images are charged differently"
    FEES = "fees", "Fees of searches, tools or requests"
    SERVICE_TIER = "service_tier", "Another service tier"
    SPEED = "speed", "Another speed"
    REGION = "region", "Another region"
    CONTEXT_SIZE = "context_size", "The tier of large prompts"
    PRICE_VERSION = "price_version", "A price of another time"
    AGREEMENT = "agreement", "The agreement is not applied"
    OTHER_MODEL = "other_model", "The price of another model"
    UNREAD_USAGE = "unread_usage", "Usage that was not read"
    UNIT = "unit", "Another unit, such as cents"
    MARKUP = "markup", "A surcharge"
    DISCOUNT = "discount", "A discount"
    FLAGGED = "flagged", "The usage was not read with certainty"
    UNKNOWN = "unknown", "No single cause explains it"


class CorrectionKind(models.TextChoices):
    """The kind of an adjustment. Users request the first three; void and adjust apply to one event."""

    VOID = "void", "Voided"
    ADJUST = "adjust", "Cost set manually"
    REPRICE = "reprice", "Repriced"
    PRICE = "price", "Priced"
    REREAD = "reread", "Usage read again"
    MERGED = "merged", "Completed by another source"
    SUMMARY = "summary", "Included in session summary"


class RepricingState(models.TextChoices):
    """The state of a repricing."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"

    @property
    def is_final(self) -> bool:
        return self in (RepricingState.DONE, RepricingState.FAILED)


class UploadState(models.TextChoices):
    """The state of an uploaded file. A check is a dry run of the import."""

    UPLOADED = "uploaded", "Uploaded"
    CHECKING = "checking", "Being checked"
    CHECKED = "checked", "Checked"
    IMPORTING = "importing", "Being imported"
    IMPORTED = "imported", "Imported"
    FAILED = "failed", "Failed"

    @property
    def is_running(self) -> bool:
        return self in (UploadState.CHECKING, UploadState.IMPORTING)


class ExportState(models.TextChoices):
    """The state of a file that is created in the background."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Being created"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"
    EXPIRED = "expired", "Expired"

    @property
    def is_unfinished(self) -> bool:
        return self in (ExportState.QUEUED, ExportState.RUNNING)


class PriceSource(models.TextChoices):
    """The origin of a price."""

    CATALOGUE = "catalog", "genai-prices catalog"
    LITELLM = "litellm", "LiteLLM's map of prices"
    OPENROUTER = "openrouter", "OpenRouter's list of models"
    MANUAL = "manual", "Manual"


class LimitScope(models.TextChoices):
    """The dimension that a limit applies to. A rollup has the cost of limits by hour (`billing.models.ScopeHour`)."""

    ORGANIZATION = "organization", "Organization"
    CREDENTIAL = "credential", "Credential"
    ENVIRONMENT = "environment", "Environment"
    USER = "user", "User"
    END_USER = "end_user", "End user"
    TEAM = "team", "Team"
    TAG = "tag", "Tag"
    PROVIDER = "provider", "Provider"
    MODEL = "model", "Model"
    SENT_MODEL = "sent_model", "Model as sent"
    CAPABILITY = "capability", "Capability"
    AGENT = "agent", "Agent"
    WORKFLOW = "workflow", "Workflow"
    RUN = "run", "Run"
    SESSION = "session", "Session"


SCOPE_COLUMNS: Mapping[LimitScope, str] = {
    LimitScope.CREDENTIAL: "credential_id",
    LimitScope.ENVIRONMENT: "environment",
    LimitScope.USER: "user_ref",
    LimitScope.END_USER: "end_user",
    LimitScope.TEAM: "team",
    LimitScope.PROVIDER: "provider",
    LimitScope.AGENT: "agent_id",
    LimitScope.CAPABILITY: "capability",
    LimitScope.MODEL: "model",
    LimitScope.SENT_MODEL: "sent_model",
    LimitScope.WORKFLOW: "workflow_id",
    LimitScope.RUN: "run_id",
    LimitScope.SESSION: "session_id",
}
"""The column of events, of authorizations and of a call's dimensions that has the value of a scope, in the order of the
parameters of `billing_dimensions`. (An empty `sent_model` is the `model`.) The scope of the organization has the
empty value, and each of the `tags` is a value of its scope."""


class LimitUnit(models.TextChoices):
    """What a limit counts."""

    USD = "usd", "US dollars"
    TOKENS = "tokens", "Tokens"
    REQUESTS = "requests", "Requests"


def amount_text(amount: Decimal, unit: LimitUnit) -> str:
    """Return an amount of a limit as text: `$5.00`, `1,000 tokens` or `1 request`."""
    if unit is LimitUnit.USD:
        return usd(amount)
    name = unit.value if amount != 1 else unit.value.removesuffix("s")
    return f"{amount:,.0f} {name}"


class MissingValue(models.TextChoices):
    """What happens to calls without the value that a per-value limit is about."""

    ALLOW = "allow", "Not covered by the limit"
    REFUSE = "refuse", "Refused"
    DEFAULT = "default", "Counted under a default value"


class LimitWindow(models.TextChoices):
    """The window of a limit. Calendar windows follow the organization's time zone and week start."""

    ROLLING_24H = "rolling_24h", "Rolling 24 hours"
    ROLLING_7D = "rolling_7d", "Rolling 7 days"
    ROLLING_30D = "rolling_30d", "Rolling 30 days"
    CALENDAR_DAY = "calendar_day", "Day"
    CALENDAR_WEEK = "calendar_week", "Week"
    CALENDAR_MONTH = "calendar_month", "Month"
    CALENDAR_QUARTER = "calendar_quarter", "Quarter"
    FIXED_PERIOD = "fixed_period", "Fixed period"
    LIFETIME = "lifetime", "Lifetime"


class LimitAction(models.TextChoices):
    """What happens when the amount is reached."""

    PAUSE = "pause", "Pause access"
    NOTIFY = "notify", "Notify only"


class LimitState(models.TextChoices):
    """The state of a limit."""

    OK = "ok", "OK"
    WARNING = "warning", "Near the limit"
    EXCEEDED = "exceeded", "Over the limit"
    PAUSED = "paused", "Paused"


class OverrideKind(models.TextChoices):
    """The kind of a temporary override of a limit."""

    RAISE = "raise", "Raised"
    PAUSE = "pause", "Paused manually"
    OPEN = "open", "Allowed manually"


class IncreaseState(models.TextChoices):
    """The state of an increase request."""

    OPEN = "open", "Pending"
    GRANTED = "granted", "Approved"
    DECLINED = "declined", "Declined"


class AuthorizationStatus(models.TextChoices):
    """The state of an authorization."""

    RESERVED = "reserved", "Reserved"
    SETTLED = "settled", "Settled"
    RELEASED = "released", "Released"
    EXPIRED = "expired", "Expired"


SAMPLE_TOOL = "costtrack-test"
"""The tool of the test event that Getting started sends (`billing.ingest.sample_event`)."""


class NoticeKind(models.TextChoices):
    """The kind of a notice; also the `type` of a webhook message."""

    THRESHOLD = "limit.threshold_reached", "Limit nearly reached"
    PAUSED = "limit.paused", "Access paused"
    EXCEEDED = "limit.exceeded", "Limit exceeded"
    RESUMED = "limit.resumed", "Access resumed"
    INCREASE_REQUESTED = "increase.requested", "Increase requested"
    INCREASE_GRANTED = "increase.granted", "Increase approved"
    INCREASE_DECLINED = "increase.declined", "Increase declined"
    UNPRICED_USAGE = "usage.unpriced", "Model without a price"
    FLAGGED_USAGE = "usage.flagged", "Usage needs a review"
    ANOMALY = "usage.anomaly", "Unusual spend"
    WEBHOOK_DISABLED = "webhook.disabled", "Webhook disabled"
    EXPORT_READY = "export.ready", "Export ready"
    EXPORT_FAILED = "export.failed", "Export failed"
    MONTH_CLOSED = "month.closed", "Month closed"
    REPORT = "report.spend", "Spend report"
    TEST = "test", "Test message"


class ReportFrequency(models.TextChoices):
    """When a member gets a report of spend."""

    WEEKLY = "weekly", "Weekly"
    MONTHLY = "monthly", "Monthly"


class ReportScope(models.TextChoices):
    """What a report of spend is about."""

    ORGANIZATION = "organization", "Organization"
    TEAM = "team", "Team"
    TAG = "tag", "Tag"


class Channel(models.TextChoices):
    """The channel of a delivery."""

    EMAIL = "email", "Email"
    WEBHOOK = "webhook", "Webhook"


class DeliveryState(models.TextChoices):
    """The state of a delivery."""

    PENDING = "pending", "Pending"
    SENT = "sent", "Sent"
    FAILED = "failed", "Failed"


class WebhookFormat(models.TextChoices):
    """The format of webhook messages."""

    STANDARD = "standard", "Standard Webhooks"
    SLACK = "slack", "Slack"


class AllocationTarget(models.TextChoices):
    """What shared cost is split between."""

    TEAM = "team", "Team"
    END_USER = "end_user", "End user"
    TAG = "tag", "Tag"


class SplitMethod(models.TextChoices):
    """How shared cost is split: evenly, by fixed percentages, or in proportion to a measure of the targets' usage."""

    EVEN = "even", "Evenly"
    FIXED = "fixed", "Fixed percentages"
    PROPORTIONAL = "proportional", "In proportion to usage"


class SplitMeasure(models.TextChoices):
    """A measure of usage."""

    COST = "cost", "Cost"
    REQUESTS = "requests", "Requests"
    TOKENS = "tokens", "Tokens"


class CommitmentKind(models.TextChoices):
    """What a fixed fee pays for."""

    SUBSCRIPTION = "subscription", "Subscription"
    PROVISIONED = "provisioned", "Provisioned capacity"


class FeePeriod(models.TextChoices):
    """What a fixed fee is for, in the organization's time zone."""

    HOUR = "hour", "Hour"
    DAY = "day", "Day"
    MONTH = "month", "Month"
    YEAR = "year", "Year"


class BillFormat(models.TextChoices):
    """The format of a provider's bill."""

    OPENAI_COSTS = "openai_costs", "OpenAI costs"
    OPENAI_USAGE = "openai_usage", "OpenAI usage"
    ANTHROPIC_COSTS = "anthropic_costs", "Anthropic costs"
    ANTHROPIC_USAGE = "anthropic_usage", "Anthropic usage"
    OPENROUTER_ACTIVITY = "openrouter_activity", "OpenRouter activity"
    CSV = "csv", "CSV"


class BillProvider(models.TextChoices):
    """A provider whose bills are fetched by its API."""

    OPENAI = "openai", "OpenAI"
    ANTHROPIC = "anthropic", "Anthropic"
    OPENROUTER = "openrouter", "OpenRouter"


class FetchState(models.TextChoices):
    """The last fetch of a provider's bills."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Fetching"
    RETRYING = "retrying", "Trying again"
    DONE = "done", "Fetched"
    FAILED = "failed", "Failed"


class BillReport(models.TextChoices):
    """What a provider reports: amounts or quantities."""

    COSTS = "costs", "Costs"
    USAGE = "usage", "Usage"


class BillCause(models.TextChoices):
    """Why a bill differs from the ledger. A positive difference means that the bill is higher."""

    MISSING_CALLS = "missing_calls", "Missing calls"
    PRICE = "price", "Price"
    INCOMPLETE = "incomplete", "Not complete yet"
    UNASSIGNED_KEY = "unassigned_key", "Unassigned keys"
    FOREIGN_KEY = "foreign_key", "Other keys"
    UNKNOWN_QUANTITY = "unknown_quantity", "Quantity unknown"
