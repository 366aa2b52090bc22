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
    """Where a row's cost came from (design decision 3)."""

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
