"""Events that wait for a price are priced when one appears, by adjustments."""

import logging
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from billing.ledger.adjustments import PRICED, adjustment_of
from billing.ledger.append import append
from billing.ledger.types import LedgerEntry
from billing.models import UnpricedEvent, UsageEvent
from billing.pricing.cache import PriceBook, price_book
from billing.pricing.calculate import CompiledPrice
from billing.pricing.types import TokenUsage
from billing.types import UnpricedReason
from costtrack.money import LARGEST
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

logger = logging.getLogger(__name__)

_CHUNK = 1_000


def price_unpriced(*, organization: Organization, now: datetime) -> int:
    """Price the organization's waiting events for which a price has appeared; answers how many were.

    Works in chunks, each in one transaction: an event leaves the queue and gains its adjustment together, and two
    workers never take the same one.
    """
    priced = 0
    book = price_book(organization.pk)
    waiting = UnpricedEvent.objects.of(organization).order_by("service", "model")
    for service, model in waiting.values_list("service", "model").distinct():
        last_seen = UUID(int=0)
        while True:
            count, last_seen_now = _price_chunk(organization, book, (service, model), last_seen, now)
            priced += count
            if last_seen_now is None:
                break
            last_seen = last_seen_now
    if priced:
        logger.info("waiting events priced", extra={"organization": organization.slug, "events": priced})
    return priced


def _price_chunk(
    organization: Organization, book: PriceBook, named: tuple[str, str], after: UUID, now: datetime
) -> tuple[int, UUID | None]:
    """Price the next waiting events of one model after the given id; answers how many, and the last one looked at
    (None: there were no more)."""
    service, model = named
    with tenant_scope(organization.pk):
        queue = UnpricedEvent.objects.of(organization).filter(service=service, model=model, event_id__gt=after)
        taken = list(
            queue.order_by("event_id").select_for_update(skip_locked=True).values_list("event_id", flat=True)[:_CHUNK]
        )
        if not taken:
            return 0, None
        events = UsageEvent.objects.of(organization).filter(id__in=taken)
        entries = list(_adjustments(events, book))
        if entries:
            append(
                organization_id=organization.pk,
                credential_id=None,
                format="adjustment",
                entries=entries,
                rejected=0,
                now=now,
            )
            UnpricedEvent.objects.of(organization).filter(event_id__in=[entry.adjusts for entry in entries]).delete()
        return len(entries), taken[-1]


def _adjustments(events: Iterable[UsageEvent], book: PriceBook) -> Iterable[LedgerEntry]:
    for event in events:
        price = book.find(event.service, event.model, event.occurred_at) if event.model else None
        cost = cost_of(event, price) if price is not None else None
        if price is not None and cost is not None:
            yield adjustment_of(
                event, reason=PRICED, token_cost_usd=cost, price_version_id=price.price_version_id, unpriced=-1
            )


def cost_of(event: UsageEvent, price: CompiledPrice) -> Decimal | None:
    """What the price says now. A call whose usage is unknown stays unknown, unless calls themselves are charged."""
    if event.unpriced_reason == UnpricedReason.NO_USAGE and not price.charges_requests:
        return None
    cost = price.cost(TokenUsage.of(event))
    return cost if cost is None or cost <= LARGEST else None
