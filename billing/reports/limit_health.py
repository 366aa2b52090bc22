"""Health checks of authorizations and spend limits. Read-only."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, Sum

from billing.limits.selectors import in_force_at
from billing.models import PAUSING, Authorization, LimitOverride, RollupCheck, ThresholdEvent
from billing.reports.health import Verification, verification_of
from billing.rollups.verify import LIMITS
from billing.types import AuthorizationStatus, LimitAction, OverrideKind
from costtrack.clock import utc_now
from costtrack.health.registry import Check
from costtrack.money import ZERO, usd

_SECTION = "Spend limits"
_REPAIR = "Run costtrack limits verify for details, and please report it. The ledger itself is complete."


@dataclass(frozen=True, slots=True)
class OpenAuthorizations:
    """Open authorizations, and the number of limits that currently pause access."""

    open: int
    reserved_usd: Decimal
    paused: int


def open_authorizations(*, now: datetime) -> OpenAuthorizations:
    is_open = Authorization.objects.filter(status=AuthorizationStatus.RESERVED.value, expires_at__gt=now)
    totals = is_open.aggregate(open=Count("*"), reserved=Sum("amount_usd", default=ZERO))
    return OpenAuthorizations(totals["open"], totals["reserved"], _count_limits_reached() + _count_manual_pauses(now))


def last_verification(*, now: datetime) -> Verification:
    """Return the last verification of limits (`billing.limits.verify`)."""
    return verification_of(RollupCheck.objects.filter(rollup=LIMITS), now)


def limit_checks() -> list[Check]:
    """Return the checks for the operator health page."""
    now = utc_now()
    verification = last_verification(now=now).check("limits", _SECTION, unit="differences", repair=_REPAIR)
    return [_authorization_check(open_authorizations(now=now)), verification]


def _count_limits_reached() -> int:
    """Count the limits whose pausing threshold event is unresolved (`billing.limits.enforce`)."""
    threshold_events = ThresholdEvent.objects.filter(
        threshold=PAUSING, resolved_at=None, limit__action=LimitAction.PAUSE.value
    )
    return threshold_events.count()


def _count_manual_pauses(now: datetime) -> int:
    pauses = LimitOverride.objects.filter(kind=OverrideKind.PAUSE.value, limit__removed_at=None)
    return pauses.filter(in_force_at(now)).count()


def _authorization_check(authorizations: OpenAuthorizations) -> Check:
    details = {
        "Open": f"{authorizations.open:,} authorizations",
        "Reserved": usd(authorizations.reserved_usd),
        "Paused": f"{authorizations.paused:,} limits",
    }
    return Check("authorizations", "Authorizations", _SECTION, ok=True, state="open", details=details)
