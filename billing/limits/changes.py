"""Changes of limits: serialized by a lock, known to every process with its next call, and enforced soon after.

plan = lock_limits(organization)            # other changes wait
limit = get_current_limit(organization, limit.pk)
...                                         # change the row
announce_limit_change(organization)         # every process reads the limits again; enforcement is enqueued
"""

import secrets
from collections.abc import Iterable
from datetime import timedelta

from billing.models import LimitSetRevision, SpendLimit
from costtrack.jobs import enqueue_debounced_on_commit
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


def get_current_limit(organization: Organization, limit_id: int) -> SpendLimit:
    """Read the limit again under the lock. Raises NotFoundError if it was removed or is another organization's."""
    limit = SpendLimit.objects.of(organization).not_removed().get_or_not_found("limit", pk=limit_id)
    limit.organization = organization
    return limit


_INTERVAL = timedelta(seconds=1)


def announce_limit_change(organization: Organization) -> None:
    """Invalidate the limits in every process when the transaction commits. Call it after the change."""
    enqueue_enforcement(organization.pk)
    LimitSetRevision.objects.update_or_create(organization=organization, defaults={"revision": secrets.randbits(63)})


def enqueue_enforcement(organization_id: int) -> None:
    """Enforce the organization's limits about a second after the commit; requests within that second are combined."""
    enqueue_debounced_on_commit("billing.enforce_limits", within=_INTERVAL, organization_id=organization_id)


def enqueue_enforcement_for_organizations(organization_ids: Iterable[int]) -> None:
    """Enqueue enforcement for those of the organizations that have limits."""
    limits = SpendLimit.objects.not_removed().filter(organization_id__in=organization_ids)
    for organization_id in limits.values_list("organization_id", flat=True).distinct().order_by("organization_id"):
        enqueue_enforcement(organization_id)
