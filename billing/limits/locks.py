"""Serialize changes to an organization's limits."""

from billing.models import LimitSetRevision, SpendLimit
from costtrack.errors import NotFoundError
from organizations.models import Organization, Plan


def lock_limits(organization: Organization) -> Plan:
    """Lock the organization's limits until the transaction ends, and return its current plan.

    The plan may have changed while the request waited for the lock.
    """
    LimitSetRevision.objects.bulk_create(
        [LimitSetRevision(organization=organization, revision=0)], ignore_conflicts=True
    )
    LimitSetRevision.objects.of(organization).select_for_update().get()
    return Plan.objects.get(organizations=organization)


def limit_in_place(organization: Organization, limit_id: int) -> SpendLimit:
    """Read the limit again under the lock. Raises NotFoundError if it was removed or is another organization's."""
    limit = SpendLimit.objects.of(organization).not_removed().filter(pk=limit_id).first()
    if limit is None:
        raise NotFoundError("No such limit.")
    limit.organization = organization
    return limit
