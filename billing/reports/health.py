"""How fresh the rollups are and whether they were right when they were last compared with the ledger. Read-only."""

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
    """How many batches wait to be folded, and since when the oldest does, in seconds."""

    batches: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Verification:
    """The last comparison of each organization's rollups with the ledger.

    `overdue` organizations have not been compared for `OVERDUE_AFTER`. `differing` names the first things that were
    wrong ("acme: usage_hours"), `differing_count` says how many there are, `rows` how many of their rows.
    """

    last_at: datetime | None
    organizations: int
    overdue: int
    differing_count: int
    rows: int
    differing: tuple[str, ...]


def fold_lag(*, now: datetime) -> FoldLag:
    waiting = IngestBatch.objects.filter(folded_at=None).aggregate(batches=Count("*"), oldest=Min("received_at"))
    oldest = waiting["oldest"]
    return FoldLag(waiting["batches"], 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0))


def last_verification(*, now: datetime) -> Verification:
    wrong = ~Q(differences=0)
    checks = RollupCheck.objects.exclude(rollup=LIMITS)
    found = checks.aggregate(
        last_at=Max("checked_at"),
        organizations=Count("organization", distinct=True),
        differing=Count("rollup", filter=wrong),
        rows=Sum("differences", default=0),
    )
    newest = checks.values("organization").annotate(newest=Max("checked_at"))
    named = checks.filter(wrong).order_by("organization__slug", "rollup")[:_MAX_NAMED]
    return Verification(
        last_at=found["last_at"],
        organizations=found["organizations"],
        overdue=newest.filter(newest__lt=now - OVERDUE_AFTER).count(),
        differing_count=found["differing"],
        rows=found["rows"],
        differing=tuple(f"{slug}: {rollup}" for slug, rollup in named.values_list(F("organization__slug"), "rollup")),
    )


def rollup_checks() -> list[Check]:
    """For the operators' health page."""
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
        facts={"Waiting": f"{lag.batches:,} batches", "Behind": f"{lag.seconds:,.1f} s"},
        advice="" if ok else "Totals are right and reads become slow. Look at the workers of the queue rollups.",
    )


def _verification_check(found: Verification) -> Check:
    state, advice = "right", ""
    if found.last_at is None:
        state = "pending"
    elif found.differing_count:
        state = "wrong"
        advice = "costtrack rollups verify shows where, costtrack rollups rebuild makes it right. Please report it."
    elif found.overdue:
        state = "overdue"
        advice = "Verifying runs every day. Look at the workers of the queue maintenance, and their log."
    facts = {
        "Last": f"{found.last_at:%Y-%m-%d %H:%M} UTC" if found.last_at else "never",
        "Organizations": f"{found.organizations:,}" + (f", {found.overdue:,} overdue" if found.overdue else ""),
    }
    if found.differing_count:
        more = ", ..." if found.differing_count > len(found.differing) else ""
        facts["Wrong"] = f"{found.rows:,} rows: {', '.join(found.differing)}{more}"
    return Check(
        "rollups", "Verified", _SECTION, ok=state in ("right", "pending"), state=state, facts=facts, advice=advice
    )
