"""Outcomes: what runs and sessions have achieved, as their senders report it.

An outcome is identified by its id from the sender or, without one, by its run or session and its name. A report with
the same content is a duplicate. Of several reports with other content, the one with the latest time counts, whatever
the order in which they arrive.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from psycopg import sql

from billing.ingest.validate import FUTURE_TOLERANCE
from billing.models import Outcome
from costtrack.database.queries import fetch_rows
from costtrack.errors import InvalidError
from costtrack.money import MAX_AMOUNT_USD, to_storable
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

MAX_OUTCOMES = 1_000
"""Of one request."""
MAX_ATTEMPT = 1_000_000


class ReportState(StrEnum):
    """What became of a report. `OUTDATED`: a report of a later time is stored already."""

    ACCEPTED = "accepted"
    UPDATED = "updated"
    DUPLICATE = "duplicate"
    OUTDATED = "outdated"


@dataclass(frozen=True, slots=True)
class OutcomeReport:
    """The report of one outcome, with names as they are stored. `occurred_at` None: when it was received."""

    name: str
    is_success: bool
    run_id: str = ""
    session_id: str = ""
    outcome_id: str = ""
    value_usd: Decimal | None = None
    attempt: int = 1
    occurred_at: datetime | None = None

    @property
    def key(self) -> UUID:
        parts = ("id", self.outcome_id) if self.outcome_id else (self.run_id, self.session_id, self.name)
        return UUID(bytes=hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest())

    @property
    def content(self) -> tuple[object, ...]:
        return (self.run_id, self.session_id, self.name, self.is_success, self.value_usd, self.attempt)


_CONTENT = ("run_id", "session_id", "name", "is_success", "value_usd", "attempt")
_WRITE = sql.SQL("""
INSERT INTO billing_outcome AS stored (organization_id, key, outcome_id, {content}, occurred_at, received_at)
SELECT %(organization)s, report.*, %(now)s
FROM unnest(
    %(key)s::uuid[], %(outcome_id)s::text[], %(run_id)s::text[], %(session_id)s::text[], %(name)s::text[],
    %(is_success)s::boolean[], %(value_usd)s::numeric[], %(attempt)s::integer[], %(occurred_at)s::timestamptz[]
) AS report
ON CONFLICT (organization_id, key) DO UPDATE
SET ({content}, occurred_at, received_at) = ({excluded}, excluded.occurred_at, excluded.received_at)
WHERE excluded.occurred_at >= stored.occurred_at AND ({excluded}) IS DISTINCT FROM ({of_stored})
RETURNING key, xmax = 0
""").format(
    content=sql.SQL(", ").join(map(sql.Identifier, _CONTENT)),
    excluded=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in _CONTENT),
    of_stored=sql.SQL(", ").join(sql.Identifier("stored", name) for name in _CONTENT),
)


def record_outcomes(
    *, organization: Organization, reports: Sequence[OutcomeReport], now: datetime
) -> list[ReportState]:
    """Store outcomes, and return what became of each report. Raises InvalidError naming the record."""
    for number, report in enumerate(reports):
        _check(report, number, now)
    counting = _latest(reports, now)
    with tenant_scope(organization.pk):
        written = _write(organization, counting, reports, now)
        unchanged = Outcome.objects.of(organization).filter(key__in=counting.keys() - written.keys())
        stored = {row.key: tuple(getattr(row, name) for name in _CONTENT) for row in unchanged}
    states: dict[UUID, ReportState] = {
        key: written.get(key)
        or (ReportState.DUPLICATE if stored[key] == reports[number].content else ReportState.OUTDATED)
        for key, number in counting.items()
    }
    return [_state(reports, number, counting[report.key], states[report.key]) for number, report in enumerate(reports)]


def _state(reports: Sequence[OutcomeReport], number: int, counting: int, state: ReportState) -> ReportState:
    """Return the state of a report; `counting` is the one of the same outcome in this request that counts."""
    if number == counting:
        return state
    return ReportState.DUPLICATE if reports[number].content == reports[counting].content else ReportState.OUTDATED


def _latest(reports: Sequence[OutcomeReport], now: datetime) -> dict[UUID, int]:
    """Return the index of the report of each outcome that counts: the latest, and of equal times the last one. Sorted
    by key, so that concurrent requests lock rows in the same order."""
    counting: dict[UUID, int] = {}
    for number, report in enumerate(reports):
        before = counting.get(report.key)
        if before is None or (report.occurred_at or now) >= (reports[before].occurred_at or now):
            counting[report.key] = number
    return {key: counting[key] for key in sorted(counting)}


def _write(
    organization: Organization, counting: Mapping[UUID, int], reports: Sequence[OutcomeReport], now: datetime
) -> dict[UUID, ReportState]:
    """Insert or update the rows, and return the state of those that were changed."""
    chosen = [reports[number] for number in counting.values()]
    parameters = {
        "organization": organization.pk,
        "now": now,
        "key": list(counting),
        "outcome_id": [report.outcome_id for report in chosen],
        **{name: [getattr(report, name) for report in chosen] for name in _CONTENT},
        "occurred_at": [report.occurred_at or now for report in chosen],
    }
    rows = fetch_rows(_WRITE, parameters)
    return {key: ReportState.ACCEPTED if is_new else ReportState.UPDATED for key, is_new in rows}


def _check(report: OutcomeReport, number: int, now: datetime) -> None:
    problem = _problem(report, now)
    if problem is not None:
        param, message = problem
        raise InvalidError(f"Outcome {number}, {param}: {message}", param=param)


def _problem(report: OutcomeReport, now: datetime) -> tuple[str, str] | None:
    """Return the field that is invalid, and why."""
    if not report.name:
        return "name", "Required."
    if bool(report.run_id) == bool(report.session_id):
        return "run_id", "Give either run_id or session_id."
    value = report.value_usd
    if value is not None and (not value.is_finite() or not 0 <= value <= MAX_AMOUNT_USD or to_storable(value) != value):
        return "value_usd", f"Must be from 0 to {MAX_AMOUNT_USD}, with at most 24 decimals."
    if not 1 <= report.attempt <= MAX_ATTEMPT:
        return "attempt", f"Must be from 1 to {MAX_ATTEMPT}."
    if report.occurred_at is not None and report.occurred_at > now + FUTURE_TOLERANCE:
        return "occurred_at", "Must not be in the future."
    return None
