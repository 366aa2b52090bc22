"""The models of unpriced events. Read-only."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min, QuerySet
from django.db.models.functions import Lower

from billing.models import PriceVersion, UnpricedEvent
from billing.types import UnpricedReason
from organizations.models import Organization

# Bounds the query, regardless of the length of the queue.
MAX_EXAMINED = 20_000
_MAX_MODELS = 50


@dataclass(frozen=True, slots=True)
class UnpricedModel:
    """Unpriced events of one model and reason; `first_at` is when the earliest occurred."""

    service: str
    model: str
    reason: str
    events: int
    first_at: datetime


def unpriced_models(organization: Organization) -> list[UnpricedModel]:
    """Return the models of the latest `MAX_EXAMINED` unpriced events, the most frequent first."""
    newest = UnpricedEvent.objects.of(organization).order_by("-event_id").values("pk")[:MAX_EXAMINED]
    groups = (
        UnpricedEvent.objects.of(organization)
        .filter(pk__in=newest)
        .values("service", "model", "reason")
        .annotate(events=Count("pk"), first_at=Min("occurred_at"))
        .order_by("-events", "service", "model")
    )
    return [UnpricedModel(**group) for group in groups[:_MAX_MODELS]]


@dataclass(frozen=True, slots=True)
class MissedEvents:
    """Unpriced events of a price's model that occurred before the price begins; `first_at` is when the first did."""

    events: int
    first_at: datetime | None


def missed_events(price: PriceVersion) -> MissedEvents:
    """Return how many unpriced events the price would price if it began earlier, and the time of the first one."""
    missed = _events_of(price).filter(occurred_at__lt=price.effective_from)
    return MissedEvents(**missed.aggregate(events=Count("pk"), first_at=Min("occurred_at")))


def count_events_to_price(price: PriceVersion) -> int:
    """Return how many unpriced events occurred while the price is in force; at most `MAX_EXAMINED`."""
    events = _events_of(price).filter(occurred_at__gte=price.effective_from)
    if price.effective_to is not None:
        events = events.filter(occurred_at__lt=price.effective_to)
    return events[:MAX_EXAMINED].count()


def _events_of(price: PriceVersion) -> QuerySet[UnpricedEvent]:
    """Return the unpriced events of the organization that have no other fault than the missing price of this model."""
    names = [name.lower() for name in (price.model, *price.aliases)]
    events = UnpricedEvent.objects.filter(organization=price.organization_id, reason=UnpricedReason.NO_PRICE.value)
    if price.provider:
        events = events.filter(service__iexact=price.provider)
    return events.annotate(name=Lower("model")).filter(name__in=names)
