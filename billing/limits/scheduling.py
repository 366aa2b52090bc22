"""Enqueue enforcement after a fold and after a change of limits, instead of waiting for the minutely run."""

from collections.abc import Iterable
from datetime import timedelta

from billing.models import SpendLimit
from costtrack.jobs import enqueue_debounced_on_commit

_INTERVAL = timedelta(seconds=1)


def enqueue_enforcement(organization_id: int) -> None:
    """Enforce the organization's limits about a second after the commit; requests within that second are combined."""
    enqueue_debounced_on_commit("billing.enforce_limits", within=_INTERVAL, organization_id=organization_id)


def enqueue_enforcement_for_organizations(organization_ids: Iterable[int]) -> None:
    """Enqueue enforcement for those of the organizations that have limits."""
    limits = SpendLimit.objects.not_removed().filter(organization_id__in=organization_ids)
    for organization_id in limits.values_list("organization_id", flat=True).distinct().order_by("organization_id"):
        enqueue_enforcement(organization_id)
