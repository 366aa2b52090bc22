"""Celery tasks: load by id, call one service. All are safe to run twice."""

from billing.ledger.price_unpriced import price_unpriced
from billing.models import UnpricedEvent
from billing.rollups.fold import fold
from costtrack.celery import app
from costtrack.clock import utc_now
from organizations.models import Organization


@app.task(name="billing.fold")
def fold_task() -> int:
    """Fold what waits; answers how many events that was."""
    return fold(now=utc_now()).events


@app.task(name="billing.price_unpriced")
def price_unpriced_task(organization_id: int | None = None) -> int:
    """Price waiting events, of one organization or of all that have some."""
    waiting = UnpricedEvent.objects.values("organization_id")
    organizations = Organization.objects.filter(pk__in=waiting)
    if organization_id is not None:
        organizations = organizations.filter(pk=organization_id)
    return sum(price_unpriced(organization=organization, now=utc_now()) for organization in organizations)
