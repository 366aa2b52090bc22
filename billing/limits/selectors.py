"""Read limits and their active exceptions. For the state of limits see `billing.limits.status`."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal

from django.db.models import Max, Q, QuerySet

from billing.models import LimitOverride, SpendLimit
from billing.types import OverrideKind
from organizations.models import Organization


def in_force_at(now: datetime) -> Q:
    """Return a filter for limits that have begun and not ended."""
    has_begun = Q(starts_at=None) | Q(starts_at__lte=now)
    return has_begun & (Q(ends_at=None) | Q(ends_at__gt=now))


def active_exceptions(limit: SpendLimit, now: datetime) -> QuerySet[LimitOverride]:
    """Return the active exceptions of the limit, the oldest first."""
    rows = LimitOverride.objects.filter(_active_at(now), organization=limit.organization_id, limit=limit)
    return rows.order_by("pk")


def active_exceptions_by_limit(
    organization: Organization, limits: Collection[SpendLimit], now: datetime
) -> dict[int, list[LimitOverride]]:
    """Return the active exceptions of several limits, by limit id, with one query."""
    by_id = {limit.pk: limit for limit in limits}
    by_limit: dict[int, list[LimitOverride]] = {pk: [] for pk in by_id}
    rows = LimitOverride.objects.of(organization).filter(_active_at(now), limit__in=list(by_id))
    for row in rows.order_by("pk"):
        row.limit = by_id[row.limit_id]
        by_limit[row.limit_id].append(row)
    return by_limit


def current_amount(limit: SpendLimit, *, stored: str, now: datetime) -> Decimal:
    """Return the limit's amount for one stored value (see `billing.limits.scope_values`), including active raises."""
    raises = active_exceptions(limit, now).filter(kind=OverrideKind.RAISE, value__in=("", stored))
    raised: Decimal | None = raises.aggregate(largest=Max("amount_usd"))["largest"]
    return limit.amount_usd if raised is None else max(limit.amount_usd, raised)


def _active_at(now: datetime) -> Q:
    return Q(starts_at__lte=now) & (Q(ends_at=None) | Q(ends_at__gt=now))
