"""Health checks of authorizations and spend limits. Read-only."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, F, Max, Q, Sum

from billing.models import PAUSING, Authorization, LimitOverride, RollupCheck, ThresholdEvent
from billing.reports.health import OVERDUE_AFTER
from billing.rollups.verify import LIMITS
from billing.types import AuthorizationStatus, LimitAction, OverrideKind
from costtrack.clock import utc_now
from costtrack.health.registry import Check
from costtrack.money import ZERO, usd

_SECTION = "Spend limits"
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class OpenAuthorizations:
    """Open authorizations, and the number of limits that currently pause access."""

    open: int
    reserved_usd: Decimal
    paused: int


@dataclass(frozen=True, slots=True)
class Verification:
    """The last verification of the limits of all organizations (`billing.limits.verify`)."""

    last_at: datetime | None
    organizations: int
    overdue: int
    differences: int
    differing: tuple[str, ...]


def open_authorizations(*, now: datetime) -> OpenAuthorizations:
    is_open = Authorization.objects.filter(status=AuthorizationStatus.RESERVED.value, expires_at__gt=now)
    totals = is_open.aggregate(open=Count("*"), reserved=Sum("amount_usd", default=ZERO))
    return OpenAuthorizations(totals["open"], totals["reserved"], _count_limits_reached() + _count_manual_pauses(now))


def last_verification(*, now: datetime) -> Verification:
    checks = RollupCheck.objects.filter(rollup=LIMITS)
    wrong = ~Q(differences=0)
    totals = checks.aggregate(
        last_at=Max("checked_at"),
        organizations=Count("organization"),
        overdue=Count("organization", filter=Q(checked_at__lt=now - OVERDUE_AFTER)),
        differences=Sum("differences", default=0),
    )
    named = checks.filter(wrong).order_by("organization__slug").values_list(F("organization__slug"), flat=True)
    return Verification(**totals, differing=tuple(named[: _MAX_NAMED + 1]))


def limit_checks() -> list[Check]:
    """Return the checks for the operator health page."""
    now = utc_now()
    return [_authorization_check(open_authorizations(now=now)), _verification_check(last_verification(now=now))]


def _count_limits_reached() -> int:
    """Count the limits whose pausing threshold event is unresolved (`billing.limits.enforce`)."""
    crossings = ThresholdEvent.objects.filter(
        threshold=PAUSING, resolved_at=None, limit__action=LimitAction.PAUSE.value
    )
    return crossings.count()


def _count_manual_pauses(now: datetime) -> int:
    in_force = Q(starts_at__lte=now) & (Q(ends_at=None) | Q(ends_at__gt=now))
    return LimitOverride.objects.filter(in_force, kind=OverrideKind.PAUSE.value, limit__removed_at=None).count()


def _authorization_check(authorizations: OpenAuthorizations) -> Check:
    details = {
        "Open": f"{authorizations.open:,} authorizations",
        "Reserved": usd(authorizations.reserved_usd),
        "Paused": f"{authorizations.paused:,} limits",
    }
    return Check("authorizations", "Authorizations", _SECTION, ok=True, state="open", details=details)


def _verification_check(verification: Verification) -> Check:
    state, advice = "right", ""
    if verification.last_at is None:
        state = "pending"
    elif verification.differences:
        state = "wrong"
        advice = "Run costtrack limits verify for details, and please report it. The ledger itself is complete."
    elif verification.overdue:
        state = "overdue"
        advice = "Verification runs daily. Check the workers of the maintenance queue and their log."
    details = {
        "Last": f"{verification.last_at:%Y-%m-%d %H:%M} UTC" if verification.last_at else "never",
        "Organizations": f"{verification.organizations:,}"
        + (f", {verification.overdue:,} overdue" if verification.overdue else ""),
    }
    if verification.differences:
        more = ", ..." if len(verification.differing) > _MAX_NAMED else ""
        details["Wrong"] = (
            f"{verification.differences:,} differences: {', '.join(verification.differing[:_MAX_NAMED])}{more}"
        )
    return Check(
        "limits", "Verified", _SECTION, ok=state in ("right", "pending"), state=state, details=details, advice=advice
    )
