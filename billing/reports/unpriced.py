"""The models of unpriced events. Read-only."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min

from billing.models import UnpricedEvent
from organizations.models import Organization

# Bounds the query, however long the queue is.
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
