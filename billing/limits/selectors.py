"""Reads: limits as they were set, and what holds instead of them. How a limit stands is `billing.limits.status`."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal

from django.db.models import Max, Q, QuerySet

from billing.models import LimitException, SpendLimit
from billing.types import ExceptionKind
from organizations.models import Organization


def in_force_at(now: datetime) -> Q:
    """Limits that have begun and not ended."""
    has_begun = Q(starts_at=None) | Q(starts_at__lte=now)
    return has_begun & (Q(ends_at=None) | Q(ends_at__gt=now))


def holding(limit: SpendLimit, now: datetime) -> QuerySet[LimitException]:
    """What holds instead of the limit now, the oldest first."""
    rows = LimitException.objects.filter(_holds_at(now), organization=limit.organization_id, limit=limit)
    return rows.order_by("pk")


def holding_of(
    organization: Organization, limits: Collection[SpendLimit], now: datetime
) -> dict[int, list[LimitException]]:
    """The same for several limits, by the limit's id, with one query."""
    by_id = {limit.pk: limit for limit in limits}
    found: dict[int, list[LimitException]] = {pk: [] for pk in by_id}
    rows = LimitException.objects.of(organization).filter(_holds_at(now), limit__in=list(by_id))
    for row in rows.order_by("pk"):
        row.limit = by_id[row.limit_id]
        found[row.limit_id].append(row)
    return found


def current_amount(limit: SpendLimit, *, kept: str, now: datetime) -> Decimal:
    """What may be spent for one value (as it is kept, see `billing.limits.scope_values`), raises included."""
    raises = holding(limit, now).filter(kind=ExceptionKind.RAISE, value__in=("", kept))
    raised: Decimal | None = raises.aggregate(largest=Max("amount_usd"))["largest"]
    return limit.amount_usd if raised is None else max(limit.amount_usd, raised)


def _holds_at(now: datetime) -> Q:
    return Q(starts_at__lte=now) & (Q(ends_at=None) | Q(ends_at__gt=now))
