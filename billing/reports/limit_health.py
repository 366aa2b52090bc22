"""Health checks of authorizations and spend limits. Read-only."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, Exists, OuterRef, Q, Sum

from billing.limits.selectors import in_force_at
from billing.models import PAUSING, Authorization, LimitOverride, RollupCheck, SpendLimit, ThresholdEvent
from billing.reports.health import Verification, verification_of
from billing.rollups.verify import LIMITS
from billing.types import AuthorizationStatus, LimitAction, OverrideKind
from costtrack.clock import utc_now
from costtrack.health.measures import declare
from costtrack.health.registry import Check
from costtrack.money import ZERO, usd

_SECTION = "Spend limits"
_LIMITS = declare(
    "costtrack_limits",
    "Spend limits: all, warned (a threshold is reached), reached (spend pauses access), paused (manually).",
    "state",
)
_OPEN = declare("costtrack_authorizations_open", "Authorizations that reserve an amount.")
_RESERVED = declare("costtrack_authorizations_reserved_usd", "The sum of these amounts, in US dollars.")
_REPAIR = "Run costtrack limits verify for details, and please report it. The ledger itself is complete."


@dataclass(frozen=True, slots=True)
class OpenAuthorizations:
    """Open authorizations, and the numbers of limits: all, those that a threshold is reached of, those that currently
    pause access because of spend, and those that are paused manually."""

    open: int
    reserved_usd: Decimal
    limits: int
    warned: int
    reached: int
    paused_manually: int


def open_authorizations(*, now: datetime) -> OpenAuthorizations:
    is_open = Authorization.objects.filter(status=AuthorizationStatus.RESERVED.value, expires_at__gt=now)
    totals = is_open.aggregate(open=Count("*"), reserved=Sum("amount_usd", default=ZERO))
    return OpenAuthorizations(totals["open"], totals["reserved"], **_count_limits(now), **_count_threshold_events())


def last_verification(*, now: datetime) -> Verification:
    """Return the last verification of limits (`billing.limits.verify`)."""
    return verification_of(RollupCheck.objects.filter(rollup=LIMITS), now)


def limit_checks() -> list[Check]:
    """Return the checks for the operator health page."""
    now = utc_now()
    verification = last_verification(now=now).check("limits", _SECTION, unit="differences", repair=_REPAIR)
    return [_authorization_check(open_authorizations(now=now)), verification]


def _count_limits(now: datetime) -> dict[str, int]:
    pauses = LimitOverride.objects.filter(organization=OuterRef("organization"), limit=OuterRef("pk"))
    is_paused = Exists(pauses.filter(in_force_at(now), kind=OverrideKind.PAUSE.value))
    limits = SpendLimit.objects.filter(removed_at=None)
    return limits.aggregate(limits=Count("pk"), paused_manually=Count("pk", filter=Q(is_paused)))


def _count_threshold_events() -> dict[str, int]:
    """Count the limits with an open threshold event, and those that pause access by it (`billing.limits.enforce`)."""
    is_pause = Q(threshold=PAUSING, limit__action=LimitAction.PAUSE.value)
    is_open = ThresholdEvent.objects.filter(resolved_at=None)
    return is_open.aggregate(warned=Count("limit", distinct=True), reached=Count("pk", filter=is_pause))


def _authorization_check(authorizations: OpenAuthorizations) -> Check:
    details = {
        "Open": f"{authorizations.open:,} authorizations",
        "Reserved": usd(authorizations.reserved_usd),
        "Paused": f"{authorizations.reached + authorizations.paused_manually:,} limits",
    }
    limits = {
        "all": authorizations.limits,
        "warned": authorizations.warned,
        "reached": authorizations.reached,
        "paused": authorizations.paused_manually,
    }
    return Check(
        "authorizations",
        "Authorizations",
        _SECTION,
        ok=True,
        state="open",
        details=details,
        measures=(
            _OPEN.measure(authorizations.open),
            _RESERVED.measure(authorizations.reserved_usd),
            *(_LIMITS.measure(number, state) for state, number in limits.items()),
        ),
    )
