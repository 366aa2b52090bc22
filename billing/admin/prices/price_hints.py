"""What helps where a price is missing, in words, and the form to set one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.http import urlencode

from billing.admin.components import formatting
from billing.models import UsageEvent
from billing.pricing.types import PriceKind
from billing.types import UnpricedReason

HINTS = {
    UnpricedReason.NO_MODEL.value: "Send the model with the events.",
    UnpricedReason.NO_USAGE.value: "Send token counts with the events, or price each request.",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """About one event that waits. `price_url`: a form that is filled in; empty where a price would not help."""

    missing: str
    hint: str
    price_url: str


def advice_for(event: UsageEvent, kinds: Sequence[PriceKind]) -> Advice:
    """`kinds` are those of the event's tokens for which the price that was found has no unit price."""
    reason = event.unpriced_reason
    called = " ".join(filter(None, (event.service, event.model)))
    at = formatting.instant(event.occurred_at)
    missing = {
        UnpricedReason.NO_MODEL.value: "The event does not say which model was called, so no price can be looked up.",
        UnpricedReason.NO_PRICE.value: f"No price of {called} holds for {at} UTC.",
        UnpricedReason.NO_UNIT_PRICE.value: f"The price of {called} has no unit price for {_named(kinds)}.",
        UnpricedReason.NO_USAGE.value: "The call succeeded and no token count came with it.",
    }.get(reason, "")
    hint = HINTS.get(reason, "Set a price that holds from then on; the event is priced by it at once.")
    return Advice(missing, hint, price_form_url(event.organization_id, event.service, event.model, event.occurred_at))


def price_form_url(organization_id: int, service: str, model: str, first_at: datetime) -> str:
    """The form of a new price, filled in so that it holds for an event of that time, too. Without a model: empty."""
    if not model:
        return ""
    start = {"effective_from": first_at.replace(hour=0, minute=0, second=0, microsecond=0).isoformat()}
    given = {"organization": str(organization_id), "provider": service, "model": model, **start}
    return f"{reverse('admin:billing_priceversion_add')}?{urlencode(given)}"


def _named(kinds: Sequence[PriceKind]) -> str:
    return ", ".join(formatting.KIND_LABELS[kind].lower() for kind in kinds) or "some of its tokens"
