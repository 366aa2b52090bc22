"""Health checks of the rollups: fold lag and the last verification. Read-only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Max, Min, Q, Sum

from billing.models import IngestBatch, RollupCheck
from billing.rollups.verify import LIMITS
from costtrack.clock import utc_now
from costtrack.health.registry import Check

LATE_AFTER = timedelta(seconds=10)
OVERDUE_AFTER = timedelta(days=2)

_SECTION = "Rollups"
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class FoldLag:
    """The number of unfolded batches, and the age of the oldest in seconds."""

    batches: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Verification:
    """The last verification of the rollups of all organizations.

    `overdue` organizations have not been verified for `OVERDUE_AFTER`. `differing` names the first differences ("acme:
    usage_hours"), `differing_count` is how many rollups differ, and `rows` how many of their rows.
    """

    last_at: datetime | None
    organizations: int
    overdue: int
    differing_count: int
    rows: int
    differing: tuple[str, ...]


def fold_lag(*, now: datetime) -> FoldLag:
    unfolded = IngestBatch.objects.filter(folded_at=None).aggregate(batches=Count("*"), oldest=Min("received_at"))
    oldest = unfolded["oldest"]
    return FoldLag(unfolded["batches"], 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0))


def last_verification(*, now: datetime) -> Verification:
    wrong = ~Q(differences=0)
    checks = RollupCheck.objects.exclude(rollup=LIMITS)
    totals = checks.aggregate(
        last_at=Max("checked_at"),
        organizations=Count("organization", distinct=True),
        differing=Count("rollup", filter=wrong),
        rows=Sum("differences", default=0),
    )
    newest = checks.values("organization").annotate(newest=Max("checked_at"))
    named = checks.filter(wrong).order_by("organization__slug", "rollup")[:_MAX_NAMED]
    return Verification(
        last_at=totals["last_at"],
        organizations=totals["organizations"],
        overdue=newest.filter(newest__lt=now - OVERDUE_AFTER).count(),
        differing_count=totals["differing"],
        rows=totals["rows"],
        differing=tuple(f"{slug}: {rollup}" for slug, rollup in named.values_list(F("organization__slug"), "rollup")),
    )


def rollup_checks() -> list[Check]:
    """Return the checks for the operator health page."""
    now = utc_now()
    return [_fold_check(fold_lag(now=now)), _verification_check(last_verification(now=now))]


def _fold_check(lag: FoldLag) -> Check:
    ok = lag.seconds <= LATE_AFTER.total_seconds()
    return Check(
        "fold_lag",
        "Folding",
        _SECTION,
        ok=ok,
        state="current" if ok else "late",
        details={"Unfolded": f"{lag.batches:,} batches", "Behind": f"{lag.seconds:,.1f} s"},
        advice="" if ok else "Totals are correct, but reads are slower. Check the workers of the rollups queue.",
    )


def _verification_check(verification: Verification) -> Check:
    state, advice = "right", ""
    if verification.last_at is None:
        state = "pending"
    elif verification.differing_count:
        state = "wrong"
        advice = "Run costtrack rollups verify for details, costtrack rollups rebuild to repair. Please report it."
    elif verification.overdue:
        state = "overdue"
        advice = "Verification runs daily. Check the workers of the maintenance queue and their log."
    details = {
        "Last": f"{verification.last_at:%Y-%m-%d %H:%M} UTC" if verification.last_at else "never",
        "Organizations": f"{verification.organizations:,}"
        + (f", {verification.overdue:,} overdue" if verification.overdue else ""),
    }
    if verification.differing_count:
        more = ", ..." if verification.differing_count > len(verification.differing) else ""
        details["Wrong"] = f"{verification.rows:,} rows: {', '.join(verification.differing)}{more}"
    return Check(
        "rollups", "Verified", _SECTION, ok=state in ("right", "pending"), state=state, details=details, advice=advice
    )
