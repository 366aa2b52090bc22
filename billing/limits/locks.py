"""Changes of an organization's limits come one after the other."""

from billing.models import LimitBookRevision, SpendLimit
from costtrack.errors import NotFoundError
from organizations.models import Organization, Plan


def lock_limits(organization: Organization) -> Plan:
    """Wait for other changes of its limits, and hold up later ones until the transaction ends. Answers the plan as it
    is now, which a request that has waited may not have seen."""
    LimitBookRevision.objects.bulk_create(
        [LimitBookRevision(organization=organization, revision=0)], ignore_conflicts=True
    )
    LimitBookRevision.objects.of(organization).select_for_update().get()
    return Plan.objects.get(organizations=organization)


def limit_in_place(organization: Organization, limit_id: int) -> SpendLimit:
    """The limit as it is now, behind the lock. Raises NotFoundError if it was removed, or is another organization's."""
    limit = SpendLimit.objects.of(organization).in_place().filter(pk=limit_id).first()
    if limit is None:
        raise NotFoundError("No such limit.")
    limit.organization = organization
    return limit
