"""How authorizations and limits stand as a whole, and whether they were right when they were last compared with the
ledger. Read-only."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, F, Max, Q, Sum

from billing.models import PAUSING, Authorization, LimitCrossing, LimitException, RollupCheck
from billing.reports.health import OVERDUE_AFTER
from billing.rollups.verify import LIMITS
from billing.types import AuthorizationStatus, ExceptionKind, LimitAction
from costtrack.clock import utc_now
from costtrack.health.registry import Check
from costtrack.money import ZERO, usd

_SECTION = "Spend limits"
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Holds:
    """Open authorizations, and the limits that pause access at the moment."""

    open: int
    reserved_usd: Decimal
    paused: int


@dataclass(frozen=True, slots=True)
class Verification:
    """The last time that each organization's limits were compared with the ledger (`billing.limits.verify`)."""

    last_at: datetime | None
    organizations: int
    overdue: int
    differences: int
    differing: tuple[str, ...]


def holds(*, now: datetime) -> Holds:
    is_open = Authorization.objects.filter(status=AuthorizationStatus.RESERVED.value, expires_at__gt=now)
    found = is_open.aggregate(open=Count("*"), reserved=Sum("amount_usd", default=ZERO))
    return Holds(found["open"], found["reserved"], _reached() + _paused_by_hand(now))


def last_verification(*, now: datetime) -> Verification:
    checks = RollupCheck.objects.filter(rollup=LIMITS)
    wrong = ~Q(differences=0)
    found = checks.aggregate(
        last_at=Max("checked_at"),
        organizations=Count("organization"),
        overdue=Count("organization", filter=Q(checked_at__lt=now - OVERDUE_AFTER)),
        differences=Sum("differences", default=0),
    )
    named = checks.filter(wrong).order_by("organization__slug").values_list(F("organization__slug"), flat=True)
    return Verification(**found, differing=tuple(named[: _MAX_NAMED + 1]))


def limit_checks() -> list[Check]:
    """For the operators' health page."""
    now = utc_now()
    return [_holds_check(holds(now=now)), _verification_check(last_verification(now=now))]


def _reached() -> int:
    """Limits whose pause has been noticed (`billing.limits.enforce`)."""
    crossings = LimitCrossing.objects.filter(threshold=PAUSING, resolved_at=None, limit__action=LimitAction.PAUSE.value)
    return crossings.count()


def _paused_by_hand(now: datetime) -> int:
    in_force = Q(starts_at__lte=now) & (Q(ends_at=None) | Q(ends_at__gt=now))
    return LimitException.objects.filter(in_force, kind=ExceptionKind.PAUSE.value, limit__removed_at=None).count()


def _holds_check(found: Holds) -> Check:
    facts = {
        "Open": f"{found.open:,} authorizations",
        "Reserved": usd(found.reserved_usd),
        "Paused": f"{found.paused:,} limits",
    }
    return Check("authorizations", "Authorizations", _SECTION, ok=True, state="open", facts=facts)


def _verification_check(found: Verification) -> Check:
    state, advice = "right", ""
    if found.last_at is None:
        state = "pending"
    elif found.differences:
        state = "wrong"
        advice = "costtrack limits verify shows where. Please report it; the ledger itself has all that was sent."
    elif found.overdue:
        state = "overdue"
        advice = "Verifying runs every day. Look at the workers of the queue maintenance, and their log."
    facts = {
        "Last": f"{found.last_at:%Y-%m-%d %H:%M} UTC" if found.last_at else "never",
        "Organizations": f"{found.organizations:,}" + (f", {found.overdue:,} overdue" if found.overdue else ""),
    }
    if found.differences:
        more = ", ..." if len(found.differing) > _MAX_NAMED else ""
        facts["Wrong"] = f"{found.differences:,} differences: {', '.join(found.differing[:_MAX_NAMED])}{more}"
    return Check(
        "limits", "Verified", _SECTION, ok=state in ("right", "pending"), state=state, facts=facts, advice=advice
    )
