"""Limits as tests make them, through the services."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from billing.limits.services import create_limit, raise_limit
from billing.limits.validation import LimitInput
from billing.models import LimitOverride, SpendLimit
from billing.types import LimitScope, LimitWindow
from organizations.models import Organization, User
from organizations.principals import Principal
from tests.usage import NOW

SYSTEM = Principal()
"""Somebody who is no operator and no member either."""

SOON = NOW + timedelta(days=1)


def by(user: User) -> Principal:
    return Principal(user=user)


def make_limit(organization: Organization, **terms: Any) -> SpendLimit:
    """10 USD a day for the organization if nothing else is said."""
    given = {"scope": LimitScope.ORGANIZATION, "window": LimitWindow.CALENDAR_DAY, "amount_usd": Decimal(10), **terms}
    return create_limit(organization=organization, limit_input=LimitInput(**given), actor=SYSTEM, now=NOW)


def raised(limit: SpendLimit, amount: int, *, value: str = "") -> LimitOverride:
    """Until tomorrow."""
    return raise_limit(
        organization=limit.organization,
        limit=limit,
        value=value,
        amount_usd=Decimal(amount),
        ends_at=SOON,
        reason="The launch.",
        actor=SYSTEM,
        now=NOW,
    )
