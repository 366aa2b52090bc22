"""Words of the billing app that cross its rooms."""

from django.db import models


class EventKind(models.TextChoices):
    """What a ledger row stands for. Callers send the first four; adjustments are written by costtrack alone."""

    MODEL_CALL = "model_call", "Model call"
    TOOL_CALL = "tool_call", "Tool call"
    COMPUTE = "compute", "Compute"
    SESSION_SUMMARY = "session_summary", "Session summary"
    ADJUSTMENT = "adjustment", "Adjustment"


class Status(models.TextChoices):
    """How the call ended."""

    SUCCESS = "success", "Success"
    FAILURE = "failure", "Failure"


class CostSource(models.TextChoices):
    """Where a row's cost came from (docs/decisions/005-reported-and-computed-cost.md)."""

    COMPUTED = "computed", "Computed from a price"
    REPORTED = "reported", "Reported by the caller"
    ADJUSTED = "adjusted", "Adjusted afterwards"


class UnpricedReason(models.TextChoices):
    """Why a row has no token cost. Unknown is not zero."""

    NO_MODEL = "no_model", "The event names no model"
    NO_PRICE = "no_price", "No price covers the model at that time"
    NO_UNIT_PRICE = "no_unit_price", "The price lacks a unit price for some of the tokens"
    NO_USAGE = "no_usage", "A successful call without token counts"


class CorrectionKind(models.TextChoices):
    """What an adjustment does to its event. The first three are done by people; void and adjust name one event."""

    VOID = "void", "Voided"
    ADJUST = "adjust", "Cost set by hand"
    REPRICE = "reprice", "Priced anew"
    PRICE = "price", "Priced"
    SUMMARY = "summary", "In the session's summary"


class RepricingState(models.TextChoices):
    """How far a repricing has come."""

    QUEUED = "queued", "Waiting for a worker"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"

    @property
    def is_final(self) -> bool:
        return self in (RepricingState.DONE, RepricingState.FAILED)


class PriceSource(models.TextChoices):
    """Who set a price."""

    CATALOGUE = "catalogue", "genai-prices catalogue"
    MANUAL = "manual", "Set by hand"


class LimitScope(models.TextChoices):
    """What a spend limit is about. Rollups keep what each of these has cost, hour by hour
    (`billing.models.ScopeHour`)."""

    ORGANIZATION = "organization", "Organization"
    CREDENTIAL = "credential", "Credential"
    USER = "user", "User"
    TAG = "tag", "Tag"
    MODEL = "model", "Model"
    WORKFLOW = "workflow", "Workflow"
    RUN = "run", "Run"
    SESSION = "session", "Session"


class LimitWindow(models.TextChoices):
    """The time over which spend counts. Calendar windows follow the organization's time zone and week start."""

    ROLLING_7D = "rolling_7d", "Rolling 7 days"
    CALENDAR_DAY = "calendar_day", "Day"
    CALENDAR_WEEK = "calendar_week", "Week"
    CALENDAR_MONTH = "calendar_month", "Month"
    LIFETIME = "lifetime", "Lifetime"


class LimitAction(models.TextChoices):
    """What happens when the amount is reached."""

    PAUSE = "pause", "Pause access"
    NOTIFY = "notify", "Only notify"


class LimitState(models.TextChoices):
    """How a limit stands."""

    OK = "ok", "OK"
    WARNING = "warning", "Near the limit"
    EXCEEDED = "exceeded", "Over the limit"
    PAUSED = "paused", "Paused"


class ExceptionKind(models.TextChoices):
    """What holds instead of a limit for a while."""

    RAISE = "raise", "Raised"
    PAUSE = "pause", "Paused by hand"
    OPEN = "open", "Open by hand"


class IncreaseState(models.TextChoices):
    """What became of a wish for more."""

    OPEN = "open", "Waiting for an answer"
    GRANTED = "granted", "Granted"
    DECLINED = "declined", "Declined"


class AuthorizationStatus(models.TextChoices):
    """What became of a reservation."""

    RESERVED = "reserved", "Reserved"
    SETTLED = "settled", "Settled"
    RELEASED = "released", "Released"
    EXPIRED = "expired", "Expired"


class NoticeKind(models.TextChoices):
    """What there is to tell; also the `type` of a webhook's message."""

    THRESHOLD = "limit.threshold_reached", "Limit nearly reached"
    PAUSED = "limit.paused", "Access paused"
    EXCEEDED = "limit.exceeded", "Limit exceeded"
    RESUMED = "limit.resumed", "Access is back"
    INCREASE_REQUESTED = "increase.requested", "Increase requested"
    INCREASE_GRANTED = "increase.granted", "Increase granted"
    INCREASE_DECLINED = "increase.declined", "Increase declined"
    WEBHOOK_DISABLED = "webhook.disabled", "Webhook disabled"
    TEST = "test", "Test message"


class Channel(models.TextChoices):
    """How a notice travels."""

    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"


class DeliveryState(models.TextChoices):
    """How far a delivery has come."""

    PENDING = "pending", "Waiting"
    SENT = "sent", "Sent"
    FAILED = "failed", "Given up"


class WebhookFormat(models.TextChoices):
    """What is sent to a webhook."""

    STANDARD = "standard", "Standard Webhooks"
    SLACK = "slack", "Slack"
