"""Health checks of the rollups: fold lag and the last verification. Read-only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Max, Min, QuerySet, Sum

from billing.models import IngestBatch, RollupCheck
from billing.rollups.verify import LIMITS
from costtrack.clock import utc_now
from costtrack.date_text import utc_text
from costtrack.health.measures import declare
from costtrack.health.registry import Check

LATE_AFTER = timedelta(seconds=10)
OVERDUE_AFTER = timedelta(days=2)

_SECTION = "Rollups"
MAX_NAMED = 5
_LAG = declare("costtrack_fold_lag_seconds", "Age of the oldest batch that is not in the rollups yet.")
_UNFOLDED = declare("costtrack_unfolded_batches", "Batches that are not in the rollups yet.")
_DIFFERENCES = declare(
    "costtrack_verify_differences", "Differences from the ledger that the last verification found.", "of"
)
_VERIFIED_AT = declare("costtrack_verified_timestamp_seconds", "Time of the last verification.", "of")
_LATE = "Totals are correct, but reads are slower. If Redis is reachable, check the workers of the rollups queue."
_REPAIR = "Run costtrack rollups verify for details, costtrack rollups rebuild to repair. Please report it."


@dataclass(frozen=True, slots=True)
class FoldLag:
    """The number of unfolded batches, and the age of the oldest in seconds."""

    batches: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Verification:
    """The last verification of the rollups, or of the limits, of all organizations.

    `overdue` organizations have not been verified for `OVERDUE_AFTER`. `differing` names the first differences ("acme:
    usage_hours"), one more than `MAX_NAMED` if there are more.
    """

    last_at: datetime | None
    organizations: int
    overdue: int
    differences: int
    differing: tuple[str, ...]

    def check(self, name: str, section: str, *, unit: str, repair: str) -> Check:
        """Return the health check. `repair` is the advice for differences, which are counted in `unit`."""
        state, advice = "right", ""
        if self.last_at is None:
            state = "pending"
        elif self.differences:
            state, advice = "wrong", repair
        elif self.overdue:
            state = "overdue"
            advice = "Verification runs daily. Check the workers of the maintenance queue and their log."
        overdue = f", {self.overdue:,} overdue" if self.overdue else ""
        details = {
            "Last": utc_text(self.last_at) if self.last_at else "never",
            "Organizations": f"{self.organizations:,}{overdue}",
        }
        if self.differences:
            more = ", ..." if len(self.differing) > MAX_NAMED else ""
            details["Wrong"] = f"{self.differences:,} {unit}: {', '.join(self.differing[:MAX_NAMED])}{more}"
        ok = state in ("right", "pending")
        measures = [_DIFFERENCES.measure(self.differences, name)]
        if self.last_at is not None:
            measures.append(_VERIFIED_AT.measure(self.last_at.timestamp(), name))
        return Check(
            name, "Verified", section, ok=ok, state=state, details=details, advice=advice, measures=tuple(measures)
        )


def fold_lag(*, now: datetime) -> FoldLag:
    unfolded = IngestBatch.objects.filter(folded_at=None).aggregate(batches=Count("*"), oldest=Min("received_at"))
    oldest = unfolded["oldest"]
    return FoldLag(unfolded["batches"], 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0))


def last_verification(*, now: datetime) -> Verification:
    """Return the last verification of the rollups (`billing.rollups.verify`)."""
    return verification_of(RollupCheck.objects.exclude(rollup=LIMITS), now)


def verification_of(checks: QuerySet[RollupCheck], now: datetime) -> Verification:
    totals = checks.aggregate(
        last_at=Max("checked_at"),
        organizations=Count("organization", distinct=True),
        differences=Sum("differences", default=0),
    )
    newest = checks.values("organization").annotate(newest=Max("checked_at"))
    named = checks.exclude(differences=0).order_by("organization__slug", "rollup")[: MAX_NAMED + 1]
    return Verification(
        **totals,
        overdue=newest.filter(newest__lt=now - OVERDUE_AFTER).count(),
        differing=tuple(
            slug if rollup == LIMITS else f"{slug}: {rollup}"
            for slug, rollup in named.values_list(F("organization__slug"), "rollup")
        ),
    )


def rollup_checks() -> list[Check]:
    """Return the checks for the operator health page."""
    now = utc_now()
    verification = last_verification(now=now).check("rollups", _SECTION, unit="rows", repair=_REPAIR)
    return [_fold_check(fold_lag(now=now)), verification]


def _fold_check(lag: FoldLag) -> Check:
    ok = lag.seconds <= LATE_AFTER.total_seconds()
    return Check(
        "fold_lag",
        "Folding",
        _SECTION,
        ok=ok,
        state="current" if ok else "late",
        details={"Unfolded": f"{lag.batches:,} batches", "Behind": f"{lag.seconds:,.1f} s"},
        advice="" if ok else _LATE,
        measures=(_LAG.measure(lag.seconds), _UNFOLDED.measure(lag.batches)),
    )
