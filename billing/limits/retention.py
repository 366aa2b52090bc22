"""Old authorizations are forgotten: a row for each call would fill the disk, and their events tell what was spent."""

from datetime import datetime, timedelta

from billing.models import Authorization
from billing.types import AuthorizationStatus
from costtrack.ids import ids_at
from organizations.models import Organization

KEPT = timedelta(days=30)
"""So long an idempotency key stands for its request, and an authorization can be looked up."""

_AT_ONCE = 10_000


def forget(*, now: datetime) -> int:
    """Delete what has ended and was made longer ago, in transactions of bounded size; answers how many those were."""
    first_kept = ids_at(now - KEPT)[0]
    forgotten = 0
    for organization in Organization.objects.order_by("pk"):
        own = Authorization.objects.of(organization)
        ended = own.filter(id__lt=first_kept).exclude(status=AuthorizationStatus.RESERVED.value)
        while ids := list(ended.order_by("id").values_list("id", flat=True)[:_AT_ONCE]):
            forgotten += own.filter(id__in=ids).delete()[0]
    return forgotten
