"""Shortcuts that set spend limits and take authorizations."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.limits.authorize import AuthorizationRequest, Grant, authorize
from billing.limits.changes import announce_limit_change
from billing.limits.types import Dimensions
from billing.models import SpendLimit
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from organizations.models import Organization


def set_limit(
    organization: Organization,
    amount_usd: str | Decimal,
    scope: LimitScope = LimitScope.ORGANIZATION,
    value: str = "",
    window: LimitWindow = LimitWindow.LIFETIME,
    **columns: Any,
) -> SpendLimit:
    """A limit as it is once somebody has set it, without the rules of plans."""
    limit = SpendLimit.objects.create(
        organization=organization,
        scope=scope.value,
        scope_value=value,
        window=window.value,
        amount_usd=Decimal(amount_usd),
        created_at=utc_now(),
        **columns,
    )
    announce_limit_change(organization)
    return limit


def take(
    organization: Organization,
    amount_usd: str | Decimal,
    *,
    now: datetime | None = None,
    ttl: timedelta = timedelta(minutes=10),
    key: str = "",
    payload_hash: int = 0,
    **dimensions: Any,
) -> Grant:
    """Authorize a call without a credential; raises what `authorize` does."""
    return authorize(
        organization=organization,
        credential=None,
        request=AuthorizationRequest(
            dimensions=Dimensions(**dimensions),
            amount_usd=Decimal(amount_usd),
            ttl=ttl,
            idempotency_key=key,
            payload_hash=payload_hash,
        ),
        now=now or utc_now(),
    )
