"""Advice for events without a price, and the URL of a prefilled price form."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.admin.components import formatting
from billing.admin.components.datetimes import utc
from billing.admin.components.urls import admin_url
from billing.models import UsageEvent
from billing.pricing.types import PriceKind
from billing.types import UnpricedReason

HINTS = {
    UnpricedReason.NO_MODEL.value: "Send the model with each event.",
    UnpricedReason.NO_USAGE.value: "Send token counts with each event, or set a price per request.",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """Advice for an unpriced event. `price_url` is a prefilled form; empty if a price would not help."""

    missing: str
    hint: str
    price_url: str


def advice_for(event: UsageEvent, kinds: Sequence[PriceKind]) -> Advice:
    """Return the advice. `kinds` are the token kinds of the event for which its price has no unit price."""
    reason = event.unpriced_reason
    called = " ".join(filter(None, (event.service, event.model)))
    at = utc(event.occurred_at)
    missing = {
        UnpricedReason.NO_MODEL.value: "The event does not name a model, so no price can be found.",
        UnpricedReason.NO_PRICE.value: f"There is no price for {called} at {at} UTC.",
        UnpricedReason.NO_UNIT_PRICE.value: f"The price of {called} has no unit price for {_named(kinds)}.",
        UnpricedReason.NO_USAGE.value: "The call succeeded but has no token counts.",
    }.get(reason, "")
    hint = HINTS.get(reason, "Set a price that starts no later than the event; the event is then priced immediately.")
    return Advice(missing, hint, price_form_url(event.organization_id, event.service, event.model, event.occurred_at))


def price_form_url(organization_id: int, service: str, model: str, first_at: datetime) -> str:
    """Return the URL of a new price form that covers an event at that time; empty without a model."""
    if not model:
        return ""
    start = {"effective_from": first_at.replace(hour=0, minute=0, second=0, microsecond=0).isoformat()}
    given = {"organization": str(organization_id), "provider": service, "model": model, **start}
    return admin_url("billing_priceversion_add", **given)


def _named(kinds: Sequence[PriceKind]) -> str:
    return ", ".join(formatting.KIND_LABELS[kind].lower() for kind in kinds) or "some of its tokens"
