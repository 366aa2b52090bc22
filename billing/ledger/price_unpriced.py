"""Pricing of unpriced events after a price has appeared, by adjustments."""

import logging
from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from billing.ledger.adjustments import PRICED, adjustment_of
from billing.ledger.calls import call_of
from billing.ledger.corrections import append_adjustments
from billing.ledger.net_cost import AdjustedEvent, adjustments_of
from billing.ledger.types import LedgerEntry
from billing.models import UnpricedEvent, UsageEvent
from billing.pricing.price_book import PriceBook, price_book
from billing.pricing.quote import Quote
from billing.types import CostBasis, UnpricedReason
from costtrack.money import MAX_AMOUNT_USD
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

logger = logging.getLogger(__name__)

_CHUNK = 1_000


def price_unpriced(*, organization: Organization, now: datetime) -> int:
    """Price the unpriced events for which there is a price now; return their number.

    Each chunk is one transaction that appends the adjustments and removes the events from the queue. Two workers never
    take the same event.
    """
    priced = 0
    prices = price_book(organization.pk)
    queue = UnpricedEvent.objects.of(organization).order_by("service", "model")
    for service, model in queue.values_list("service", "model").distinct():
        last_seen = UUID(int=0)
        while True:
            count, last_seen_now = _price_chunk(organization, prices, (service, model), last_seen, now)
            priced += count
            if last_seen_now is None:
                break
            last_seen = last_seen_now
    if priced:
        logger.info("unpriced events priced", extra={"organization": organization.slug, "events": priced})
    return priced


def _price_chunk(
    organization: Organization, prices: PriceBook, requested: tuple[str, str], after: UUID, now: datetime
) -> tuple[int, UUID | None]:
    """Price the next unpriced events of one model after an id. Return their number, and the last id examined (None if
    there are no more)."""
    service, model = requested
    with tenant_scope(organization.pk):
        queue = UnpricedEvent.objects.of(organization).filter(service=service, model=model, event_id__gt=after)
        taken = list(
            queue.order_by("event_id").select_for_update(skip_locked=True).values_list("event_id", flat=True)[:_CHUNK]
        )
        if not taken:
            return 0, None
        events = list(UsageEvent.objects.of(organization).filter(id__in=taken))
        adjustments = adjustments_of(events)
        adjusted_events = [AdjustedEvent(event, adjustments.get(event.pk, ())) for event in events]
        entries = list(_adjustments(adjusted_events, prices))
        if entries:
            append_adjustments(organization, entries, now, after=chain.from_iterable(adjustments.values()))
            UnpricedEvent.objects.of(organization).filter(event_id__in=[entry.adjusts for entry in entries]).delete()
        return len(entries), taken[-1]


def _adjustments(adjusted_events: Iterable[AdjustedEvent], prices: PriceBook) -> Iterable[LedgerEntry]:
    for adjusted_event in adjusted_events:
        event = adjusted_event.event
        is_unreadable = event.unpriced_reason == UnpricedReason.UNREADABLE_USAGE
        if is_unreadable and not any(row.calls for row in adjusted_event.adjustments):
            continue
        quote = prices.quote(call_of(event, adjusted_event.adjustments))
        if quote.total_usd is not None and quote.total_usd <= MAX_AMOUNT_USD:
            yield adjustment_of(
                event,
                reason=PRICED,
                attributed=adjusted_event.attributed,
                token_cost_usd=quote.total_usd,
                unpriced=-1,
                **computed_columns(quote),
            )


def computed_columns(quote: Quote) -> dict[str, Any]:
    """Return the columns of an adjustment that say how its cost was computed."""
    columns: dict[str, Any] = {"price_version_id": quote.price_version_id, "cost_basis": CostBasis.COMPUTED.value}
    if quote.model is not None:
        columns |= {"canonical_provider": quote.model.provider, "canonical_model": quote.model.model}
    return columns
