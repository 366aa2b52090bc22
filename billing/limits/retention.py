"""Delete old authorizations; their events keep what was spent."""

from datetime import datetime, timedelta

from billing.models import Authorization
from billing.types import AuthorizationStatus
from costtrack.ids import ids_at
from organizations.failures import log_failure
from organizations.models import Organization

RETENTION = timedelta(days=30)
"""How long an authorization can be retrieved, and its idempotency key is remembered."""

_BATCH_SIZE = 10_000


def delete_old_authorizations(*, now: datetime) -> int:
    """Delete ended authorizations older than `RETENTION`, in batches, and return how many."""
    first_retained_id = ids_at(now - RETENTION)[0]
    deleted = 0
    for organization in Organization.objects.order_by("pk"):
        own = Authorization.objects.of(organization)
        ended = own.filter(id__lt=first_retained_id).exclude(status=AuthorizationStatus.RESERVED.value)
        with log_failure(organization.pk, "old authorizations could not be deleted"):
            while ids := list(ended.order_by("id").values_list("id", flat=True)[:_BATCH_SIZE]):
                deleted += own.filter(id__in=ids).delete()[0]
    return deleted
