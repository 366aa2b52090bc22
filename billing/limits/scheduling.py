"""Having limits enforced soon, rather than within a minute: after a fold, and after every change of limits."""

from collections.abc import Iterable
from datetime import timedelta

from billing.models import SpendLimit
from costtrack.jobs import enqueue_debounced_on_commit

_INTERVAL = timedelta(seconds=1)


def enqueue_enforcement(organization_id: int) -> None:
    """Within about a second of the commit; of several in the same second, once, when it is over."""
    enqueue_debounced_on_commit("billing.enforce_limits", within=_INTERVAL, organization_id=organization_id)


def enforce_those_with_limits(organization_ids: Iterable[int]) -> None:
    """The same for those among these organizations that have limits."""
    limits = SpendLimit.objects.in_place().filter(organization_id__in=organization_ids)
    for organization_id in limits.values_list("organization_id", flat=True).distinct().order_by("organization_id"):
        enqueue_enforcement(organization_id)
