"""The spend of unfolded events that an authorization does not add up again (docs/decisions/033-covered-spend.md).

While thousands of events are unfolded, adding them up takes longer than the rest of an authorization. So a process
caches what they spent, by hour, in the scopes of the organization's limits. `billing_reserve` gets the amounts with the
state of the batches that they cover, and uses them only if that is their state in its own snapshot; later batches it
adds up as always. So an outdated entry costs time, but never changes a balance.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any
from uuid import UUID

from cachetools import TLRUCache
from psycopg import sql

from billing.limits.cache import LimitSet
from billing.limits.types import Rule
from billing.rollups.definitions import SCOPE_HOURS
from billing.rollups.sql import aggregate_query
from costtrack.clock import start_of_hour
from costtrack.database.queries import fetch_rows
from costtrack.ids import ids_at
from costtrack.money import ZERO
from costtrack.revision_cache import RevisionCache
from costtrack.tenancy import tenant_reads
from organizations.models import Organization

# Fewer unfolded events are added up in a millisecond or two.
_MIN_EVENTS = 500
_MAX_ROWS, _MAX_ROWS_IN_ALL = 20_000, 50_000
# Batches with ids in the last moments may not be committed yet, and would change the state of the covered ones.
_MIN_AGE = timedelta(milliseconds=250)
_MIN_INTERVAL_SECONDS = 0.25
# A process spends at most a fifth of one thread on the cache of an organization, however many events are unfolded.
_INTERVAL_BY_SECONDS_OF_LOADING = 4
_LOADING_SECONDS = 60.0
_MAX_ORGANIZATIONS = 10_000

# Reads each batch by the primary key.
_COVERED = sql.SQL("""billing_ingestbatch AS batch CROSS JOIN LATERAL (
    SELECT * FROM billing_usageevent
    WHERE organization_id = %(organization)s AND id > batch.id AND id <= batch.last_event_id
    OFFSET 0
) AS event""")
_IS_COVERED = sql.SQL("""batch.organization_id = %(organization)s AND batch.folded_at IS NULL
    AND batch.id > %(after)s AND batch.id <= %(until)s AND event_scope.scope = ANY(%(scopes)s)""")
_LOAD = sql.SQL("""
SELECT state.*, spend.*
FROM (
    SELECT billing_covered_state(%(organization)s, %(after)s), billing_covered_state(%(organization)s, %(until)s),
        (SELECT revision FROM billing_limitsetrevision WHERE organization_id = %(organization)s)
) AS state LEFT JOIN (
    SELECT scope, value, hour, cost_usd, charged_usd, unpriced FROM ({}) AS spend
) AS spend ON true
LIMIT {}
""").format(aggregate_query(SCOPE_HOURS, _COVERED, _IS_COVERED), sql.Literal(_MAX_ROWS + 1))
_NOTHING = UUID(int=0)


@dataclass(frozen=True, slots=True)
class CoveredHour:
    """Spend of unfolded events in the hour that begins at `start`. `unpriced` of them have no price."""

    start: datetime
    cost_usd: Decimal
    charged_usd: Decimal
    unpriced: int


@dataclass(frozen=True, slots=True)
class CoveredSpend:
    """The spend of unfolded batches with ids up to `until`, by scope and value of rollup rows, in the limits' units."""

    until: UUID
    state: str
    hours: dict[tuple[str, str], list[CoveredHour]]

    @property
    def rows(self) -> int:
        return sum(map(len, self.hours.values()))

    def full_hours(self, rule: Rule, start: datetime | None) -> list[CoveredHour]:
        """Return the spend under a rule in the full hours of a window."""
        hours = self.hours.get((rule.rows_scope, rule.value), [])
        return hours if start is None else [hour for hour in hours if hour.start >= start]


_cache: RevisionCache[int, int, CoveredSpend] = RevisionCache(
    _MAX_ROWS_IN_ALL, size_of=lambda covered: covered.rows, max_value_size=_MAX_ROWS
)
"""By organization, and the revision of the limits whose scopes are covered."""
_loaded_lately: TLRUCache[int, float] = TLRUCache(
    _MAX_ORGANIZATIONS, ttu=lambda _, interval, now: now + interval, timer=monotonic
)
"""By organization, the seconds until the cache may be loaded again."""
_lock = threading.Lock()


def covered_spend(organization_id: int, *, revision: int) -> CoveredSpend | None:
    """Return what is cached for this revision of the limits. The statement that reads the other batches must check that
    these are still unfolded."""
    return _cache.get(organization_id, revision)


def covered_parameters(
    organization_id: int, rules: Sequence[Rule], starts: Sequence[datetime | None], *, revision: int
) -> list[Any]:
    """Return p_covered_until to p_covered_edges of `billing_reserve` for windows that begin at `starts`; NULLs if
    nothing is cached for this revision of the limits."""
    covered = covered_spend(organization_id, revision=revision)
    if covered is None:
        return [None, None, None, None]
    amounts = [
        _amounts(covered.hours.get((rule.rows_scope, rule.value), ()), start)
        for rule, start in zip(rules, starts, strict=True)
    ]
    return [covered.until, covered.state, [spent for spent, _ in amounts], [edge for _, edge in amounts]]


def _amounts(hours: Sequence[CoveredHour], start: datetime | None) -> tuple[Decimal, Decimal]:
    """Return what was spent since the first full hour of a window, and at most in the part of an hour before it."""
    if start is None:
        return sum((hour.cost_usd for hour in hours), ZERO), ZERO
    first = start_of_hour(start)
    if first == start:
        return sum((hour.cost_usd for hour in hours if hour.start >= start), ZERO), ZERO
    return (
        sum((hour.cost_usd for hour in hours if hour.start > first), ZERO),
        sum((hour.charged_usd for hour in hours if hour.start == first), ZERO),
    )


def cover_unfolded_spend(organization: Organization, limits: LimitSet, *, uncovered_events: int, now: datetime) -> None:
    """Cache the spend of all unfolded batches but the very last, if an authorization has just added up many events and
    no thread has done so lately."""
    if uncovered_events < _MIN_EVENTS:
        return
    with _lock:
        if organization.pk in _loaded_lately:
            return
        _loaded_lately[organization.pk] = _LOADING_SECONDS
    started = monotonic()
    try:
        covered = _load(organization.pk, limits, until=ids_at(now - _MIN_AGE)[0])
    finally:
        seconds = monotonic() - started
        with _lock:
            _loaded_lately[organization.pk] = max(_MIN_INTERVAL_SECONDS, _INTERVAL_BY_SECONDS_OF_LOADING * seconds)
    if covered is not None:
        _cache.put(organization.pk, limits.revision, covered)


def _load(organization_id: int, limits: LimitSet, *, until: UUID) -> CoveredSpend | None:
    """Add up the batches after those of the cached entry, or all if these are not the same batches as before, because
    some were folded. None if there are too many rows, or the limits have changed."""
    known = _cache.get(organization_id, limits.revision)
    if known is not None and known.until < until:
        state_before, covered = _load_after(known.until, organization_id, limits, until, known.hours)
        if state_before == known.state:
            return covered
    return _load_after(_NOTHING, organization_id, limits, until, {})[1]


def _load_after(
    after: UUID, organization_id: int, limits: LimitSet, until: UUID, hours: Mapping[tuple[str, str], list[CoveredHour]]
) -> tuple[str, CoveredSpend | None]:
    """Return the state of the batches up to `after`, and `hours` with the spend of later ones."""
    scopes = sorted({limit.rows_scope for limit in limits.limits})
    parameters = {"organization": organization_id, "after": after, "until": until, "scopes": scopes}
    with tenant_reads(organization_id):
        rows = fetch_rows(_LOAD, parameters)
    state_before, state, revision = rows[0][:3]
    if revision != limits.revision or len(rows) > _MAX_ROWS:
        return state_before, None
    added: dict[tuple[str, str], list[CoveredHour]] = {}
    for _, _, _, scope, value, *hour in rows:
        if scope is not None:
            added.setdefault((scope, value), []).append(CoveredHour(*hour))
    merged = {key: [*hours.get(key, ()), *added.get(key, ())] for key in {**hours, **added}}
    return state_before, CoveredSpend(until, state, {key: _by_hour(rows) for key, rows in merged.items()})


def _by_hour(rows: Sequence[CoveredHour]) -> list[CoveredHour]:
    sums: dict[datetime, CoveredHour] = {}
    for row in rows:
        known = sums.get(row.start, CoveredHour(row.start, ZERO, ZERO, 0))
        sums[row.start] = CoveredHour(
            row.start,
            known.cost_usd + row.cost_usd,
            known.charged_usd + row.charged_usd,
            known.unpriced + row.unpriced,
        )
    return list(sums.values())
