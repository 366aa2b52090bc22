"""Bringing an organization's rollups up to date now, instead of within about a second."""

from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Sum

from billing.models import IngestBatch
from billing.rollups.fold import fold_organization
from billing.rollups.state import has_changed
from costtrack.jobs import enqueue_throttled_on_commit
from organizations.models import Organization

# What is folded while the caller waits; workers do the rest.
_MAX_EVENTS = 50_000
_NUDGE_INTERVAL = timedelta(milliseconds=400)


def refresh(*, organization: Organization, fold_now: bool, now: datetime) -> bool:
    """Make every cached answer of the organization obsolete, and fold what waits; True if that is done when it returns.
    Without `fold_now`, or where too much waits, workers are asked to."""
    waiting = IngestBatch.objects.of(organization).filter(folded_at=None)
    with transaction.atomic(), connection.cursor() as cursor:
        if fold_now and (waiting.aggregate(events=Sum("accepted"))["events"] or 0) <= _MAX_EVENTS:
            fold_organization(organization_id=organization.pk, now=now)
        # Something is left also where somebody else is folding at this moment.
        is_done = fold_now and not waiting.exists()
        if not is_done:
            enqueue_throttled_on_commit("billing.fold", at_most_every=_NUDGE_INTERVAL)
        has_changed(cursor, organization.pk)
    return is_done
