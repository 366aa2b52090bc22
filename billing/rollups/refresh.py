"""Refresh of an organization's rollups on request, instead of within about a second."""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Sum

from billing.models import IngestBatch
from billing.rollups.fold import fold_organization
from billing.rollups.state import bump_ledger_version
from costtrack.jobs import enqueue_throttled_on_commit
from costtrack.tenancy import owner_scope
from organizations.models import Organization

# Maximum number of events to fold while the caller waits; workers fold more.
_MAX_EVENTS = 50_000
_ENQUEUE_INTERVAL = timedelta(milliseconds=400)


def refresh(*, organization: Organization, fold_now: bool, now: datetime) -> bool:
    """Invalidate all cached responses of the organization and fold its batches. Return whether that is complete.

    Without `fold_now`, or with too many unfolded events, a task is enqueued instead.
    """
    unfolded = IngestBatch.objects.of(organization).filter(folded_at=None)
    # Tenant scopes can read rollups but not write them.
    with owner_scope(), connection.cursor() as cursor:
        if fold_now and (unfolded.aggregate(events=Sum("accepted"))["events"] or 0) <= _MAX_EVENTS:
            fold_organization(organization_id=organization.pk, now=now)
        # Batches may be left because another process is folding.
        is_done = fold_now and not unfolded.exists()
        if not is_done:
            enqueue_throttled_on_commit("billing.fold", interval=_ENQUEUE_INTERVAL, organization_id=organization.pk)
        bump_ledger_version(cursor, organization.pk)
    return is_done
