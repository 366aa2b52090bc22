"""Advice for events without a price, and the URL of a prefilled price form."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.admin.components import formatting
from billing.admin.components.urls import admin_url
from billing.ledger.calls import conditions_of
from billing.models import UsageEvent
from billing.types import UnpricedReason
from organizations.clock import zoned_time

HINTS = {
    UnpricedReason.NO_MODEL.value: "Send the model with each event.",
    UnpricedReason.NO_USAGE.value: "Send token counts with each event, or set a price per request.",
    UnpricedReason.NO_CONDITION_PRICE.value: "Set the cost of the event manually, or send its cost_usd.",
    UnpricedReason.UNREADABLE_USAGE.value: "Run `costtrack manage reread_usage` after an upgrade, or set the cost.",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """Advice for an unpriced event. `price_url` is a prefilled form; empty if a price would not help."""

    missing: str
    hint: str
    price_url: str


def advice_for(event: UsageEvent, unknown: Sequence[str]) -> Advice:
    """Return the advice. `unknown` are the kinds of usage for which the price has no unit price, or the conditions of
    the call for which it has none."""
    reason = event.unpriced_reason
    called = " ".join(filter(None, (event.service, event.model_as_sent)))
    at = zoned_time(event.occurred_at)
    missing = {
        UnpricedReason.NO_MODEL.value: "The event does not name a model, so no price can be found.",
        UnpricedReason.NO_PRICE.value: f"There is no price for {called} at {at}.",
        UnpricedReason.NO_UNIT_PRICE.value: f"The price of {called} has no unit price for {_named(unknown)}.",
        UnpricedReason.NO_CONDITION_PRICE.value: f"{called} has no price for its {_conditions(event, unknown)}.",
        UnpricedReason.NO_USAGE.value: "The call succeeded but has no token counts.",
        UnpricedReason.UNREADABLE_USAGE.value: (
            "The usage could not be read. It is stored so that it can be read after an upgrade."
        ),
    }.get(reason, "")
    hint = HINTS.get(reason, "Set a price that starts no later than the event; the event is then priced immediately.")
    return Advice(
        missing, hint, price_form_url(event.organization_id, event.service, event.model_as_sent, event.occurred_at)
    )


def price_form_url(organization_id: int, service: str, model: str, first_at: datetime) -> str:
    """Return the URL of a new price form that covers an event at that time; empty without a model."""
    if not model:
        return ""
    start = {"effective_from": first_at.replace(hour=0, minute=0, second=0, microsecond=0).isoformat()}
    given = {"organization": str(organization_id), "provider": service, "model": model, **start}
    return admin_url("billing_priceversion_add", **given)


def _named(kinds: Sequence[str]) -> str:
    return ", ".join(formatting.KIND_LABELS[kind].lower() for kind in kinds) or "some of its tokens"


def _conditions(event: UsageEvent, attributes: Sequence[str]) -> str:
    """Return the conditions without a price, for example `service tier priority`."""
    conditions = conditions_of(event)
    texts = (f"{name.replace('_', ' ')} {conditions.get(name, '')}".strip() for name in attributes)
    return ", ".join(texts) or "service tier, speed or region"
