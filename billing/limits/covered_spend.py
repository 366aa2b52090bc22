"""The spend of unfolded events that an authorization does not add up again (docs/decisions/033-covered-spend.md).

While thousands of events are unfolded, adding them up takes longer than the rest of an authorization. So a process
caches what they spent, by hour, in the scopes of the organization's limits. `billing_reserve` gets the amounts with the
state of the batches that they cover, and uses them only if that is their state in its own snapshot; later batches it
adds up as always. So an outdated entry costs time, but never changes a balance.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from cachetools import TTLCache
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
_MAX_ORGANIZATIONS = 10_000

# Reads each batch by the primary key.
_COVERED = sql.SQL("""billing_ingestbatch AS batch CROSS JOIN LATERAL (
    SELECT * FROM billing_usageevent
    WHERE organization_id = %(organization)s AND id > batch.id AND id <= batch.last_event_id
    OFFSET 0
) AS event""")
_IS_COVERED = sql.SQL("""batch.organization_id = %(organization)s AND batch.folded_at IS NULL
    AND batch.id <= %(until)s AND event_scope.scope = ANY(%(scopes)s)""")
_LOAD = sql.SQL("""
SELECT (SELECT revision FROM billing_limitsetrevision WHERE organization_id = %(organization)s),
    billing_covered_state(%(organization)s, %(until)s), scope, value, hour, cost_usd, charged_usd
FROM ({}) AS spend LIMIT {}
""").format(aggregate_query(SCOPE_HOURS, _COVERED, _IS_COVERED), sql.Literal(_MAX_ROWS + 1))


@dataclass(frozen=True, slots=True)
class _Hour:
    start: datetime
    cost_usd: Decimal
    charged_usd: Decimal


@dataclass(frozen=True, slots=True)
class _Covered:
    """The spend of unfolded batches with ids up to `until`, by scope and value of rollup rows, in the limits' units."""

    until: UUID
    state: str
    hours: dict[tuple[str, str], list[_Hour]]

    @property
    def rows(self) -> int:
        return sum(map(len, self.hours.values()))


_cache: RevisionCache[int, int, _Covered] = RevisionCache(
    _MAX_ROWS_IN_ALL, size_of=lambda covered: covered.rows, max_value_size=_MAX_ROWS
)
"""By organization, and the revision of the limits whose scopes are covered."""
_loaded_lately: TTLCache[int, bool] = TTLCache(_MAX_ORGANIZATIONS, _MIN_INTERVAL_SECONDS)
_lock = threading.Lock()


def covered_parameters(
    organization_id: int, rules: Sequence[Rule], starts: Sequence[datetime | None], *, revision: int
) -> list[Any]:
    """Return p_covered_until to p_covered_edges of `billing_reserve` for windows that begin at `starts`; NULLs if
    nothing is cached for this revision of the limits."""
    covered = _cache.get(organization_id, revision)
    if covered is None:
        return [None, None, None, None]
    amounts = [
        _amounts(covered.hours.get((rule.rows_scope, rule.value), ()), start)
        for rule, start in zip(rules, starts, strict=True)
    ]
    return [covered.until, covered.state, [spent for spent, _ in amounts], [edge for _, edge in amounts]]


def _amounts(hours: Sequence[_Hour], start: datetime | None) -> tuple[Decimal, Decimal]:
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
        _loaded_lately[organization.pk] = True
    until = ids_at(now - _MIN_AGE)[0]
    scopes = sorted({limit.rows_scope for limit in limits.limits})
    parameters = {"organization": organization.pk, "until": until, "scopes": scopes}
    with tenant_reads(organization.pk):
        rows = fetch_rows(_LOAD, parameters)
    if not rows or len(rows) > _MAX_ROWS:
        return
    revision, state = rows[0][:2]
    hours: dict[tuple[str, str], list[_Hour]] = {}
    for _, _, scope, value, *hour in rows:
        hours.setdefault((scope, value), []).append(_Hour(*hour))
    if revision == limits.revision:
        _cache.put(organization.pk, revision, _Covered(until, state, hours))
