"""Read the tables of rollups together with the events that are not folded yet.

    reader = RollupReader(organization)
    rows = reader.read(lambda reader: sql.SQL("SELECT ... FROM {} AS cost").format(reader.table(MODEL_DAYS)))

Without unfolded batches a statement reads only the tables. With them, it also reads the sums of the unfolded events.
Adding up ten thousand events takes longer than most reports, and a batch never changes. So the process caches the sums
by the state of the unfolded batches (`billing_unfolded_state`), and sends them along with the statement as arrays. The
statement compares the state itself, in its own snapshot, and reads nothing if it has changed; then it is composed
again (docs/decisions/024-unfolded-sums.md). A report begins with the state that the process has seen last.

For sessions, executions and groups (`Rollup.counted_in`), the sums also have `folded_first_at`: when the folded events
of the key begin. It is cached with them, because a fold changes the state; otherwise each list would look up every key
with unfolded events.

Rollups that are read by key (`Rollup.is_read_by_key`) use sums only if many events are unfolded. Otherwise the events
are read as rows, which needs no second statement when the state has changed. Their sums are cached by key, and a report
that names its keys sends only theirs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from billing.reports.sql import Parameters, bind
from billing.rollups.definitions import Rollup
from billing.rollups.sql import (
    OF_UNFOLDED,
    aggregate_query,
    column_list,
    column_types,
    event_rows,
    key_columns,
    measure_columns,
)
from costtrack.database.queries import fetch_rows
from costtrack.ids import earliest_after
from costtrack.revision_cache import RevisionCache
from organizations.models import Organization

MAX_BYTES = 16 * 1024 * 1024
MAX_SUMS_BYTES = 512 * 1024
"""Larger sums are not cached; the events are added up for each report."""
MAX_EVENTS_AS_ROWS = 1_000
"""The maximum number of unfolded events that a rollup that is read by key reads as rows."""
MAX_ORGANIZATIONS = 10_000
_ENTRY_BYTES = 1024
_MAX_ATTEMPTS = 4

Keys = Callable[[], Iterable[str]]
"""Returns the values of a rollup's first dimension that a report reads. They must not change while batches do not."""


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of all unfolded events: an array for each column of the rollup, as text. They are divided by the first
    dimension if the rollup is read by key; else all are under an empty one."""

    columns: Sequence[str]
    by_key: Mapping[str, Sequence[str]]
    is_too_large: bool = False

    def arrays(self, columns: Iterable[str], keys: Iterable[str] | None = None) -> list[str]:
        """Return the arrays of these columns, of the given keys or all. Empty: there are no rows."""
        chosen = self.by_key.values() if keys is None else [self.by_key[key] for key in keys if key in self.by_key]
        if not chosen:
            return []
        numbers = [self.columns.index(column) for column in columns]
        return ["{" + ",".join(arrays[number][1:-1] for arrays in chosen) + "}" for number in numbers]

    @property
    def size(self) -> int:
        return _ENTRY_BYTES + sum(len(array) for arrays in self.by_key.values() for array in arrays)


_TOO_LARGE = Sums((), {}, is_too_large=True)

unfolded_sums: RevisionCache[tuple[int, str], str, Sums] = RevisionCache(MAX_BYTES, size_of=lambda sums: sums.size)
"""The cache of this process, by organization and rollup."""

last_states: RevisionCache[int, str, str] = RevisionCache(MAX_ORGANIZATIONS)
"""The last known state of each organization; empty: nothing was unfolded."""

Compose = Callable[["RollupReader"], sql.Composable]

_STATE = sql.SQL("(SELECT billing_unfolded_state(%(organization)s))")
_FOLDED_FIRST_AT = "folded_first_at"
# Selects NULL if the key has no folded events.
_WITH_FOLDED_FIRST_AT = sql.SQL("""
SELECT added.*, (
    SELECT min(folded.first_at) FROM {table} AS folded
    WHERE folded.organization_id = %(organization)s AND folded.{key} = added.{key}
) AS folded_first_at
FROM ({sums}) AS added
""")
_SELECT_FROM = sql.SQL("SELECT {columns} FROM ({rows}) AS unfolded")
# At least one row, which has the state. The condition is evaluated once, before the report.
_WITH_STATE = sql.SQL("""
SELECT {state}, result.* FROM (VALUES (1)) AS once
LEFT JOIN (SELECT true AS is_row, report.* FROM ({statement}) AS report WHERE {is_current}) AS result ON true
""")
_SUMS_WITH_STATE = sql.SQL("""
SELECT {state}, loaded.* FROM (VALUES (1)) AS once
LEFT JOIN (SELECT {key}::text AS key, {arrays} FROM ({sums}) AS sums GROUP BY 1) AS loaded ON true
""")
_IS_UNFOLDED = sql.SQL("""batch.organization_id = %(organization)s AND batch.folded_at IS NULL
    AND event.organization_id = %(organization)s AND event.id > {first}""")
# Reads each batch by the primary key.
_ALL_UNFOLDED = sql.SQL("""billing_ingestbatch AS batch CROSS JOIN LATERAL (
    SELECT * FROM billing_usageevent
    WHERE organization_id = %(organization)s AND id > {first} AND id > batch.id AND id <= batch.last_event_id
    OFFSET 0
) AS event""")
_FIRST_ID = UUID(int=0)


class RollupReader:
    """Composes and runs the statements of one report over rollups. Each includes every event that was acknowledged
    before the report began."""

    def __init__(self, organization: Organization) -> None:
        self._organization_id = organization.pk
        # The state of the unfolded batches that the statement is composed for; None: nothing is unfolded.
        self._state = last_states.peek(organization.pk) or None
        self._is_guess = self._state is not None
        self._newer_state: str | None = None
        self._depends_on_state = True
        self._uses_sums = True
        self.parameters: Parameters = {}

    def read(self, compose: Compose) -> list[tuple[Any, ...]]:
        """Return the rows of a statement. `compose` is called again if the unfolded batches have changed."""
        for attempt in range(_MAX_ATTEMPTS):
            self._uses_sums = attempt < _MAX_ATTEMPTS - 1
            is_read, rows = self._try(compose)
            if is_read:
                return rows
        raise AssertionError("The last attempt does not depend on the state.")

    def bind(self, value: object) -> sql.Placeholder:
        return bind(self.parameters, value)

    def table(self, rollup: Rollup, keys: Keys | None = None) -> sql.Composable:
        """Return what to select from: the rollup with the unfolded events, in several rows for one key. It needs an
        alias. If the rollup is read by key, unfolded events of other keys may be left out."""
        if self._has_no_unfolded:
            return sql.Identifier(rollup.table)
        reads_rows = rollup.is_read_by_key and self._unfolded_events <= MAX_EVENTS_AS_ROWS
        sums = _TOO_LARGE if reads_rows else self._sums(rollup)
        columns = _columns(rollup)
        if sums.is_too_large:
            unfolded = self._select_events(rollup)
        else:
            arrays = sums.arrays(columns, keys() if keys and rollup.is_read_by_key else None)
            if not arrays:
                return sql.Identifier(rollup.table)
            unfolded = self._select_sums(rollup, columns, arrays)
        return sql.SQL("(SELECT {} FROM {} UNION ALL {})").format(
            column_list(columns), sql.Identifier(rollup.table), unfolded
        )

    def unfolded(self, rollup: Rollup, columns: Sequence[str] | None = None) -> sql.Composed:
        """Build a SELECT of the rollup's columns (all, or some) with the sums of unfolded events, one row per key. A
        counted rollup also has `folded_first_at`. Without unfolded batches it selects nothing at no cost."""
        columns = columns or _sums_columns(rollup)
        if self._has_no_unfolded:
            return _select_nothing(rollup, columns)
        sums = self._sums(rollup)
        if sums.is_too_large:
            return _SELECT_FROM.format(columns=column_list(columns), rows=self._aggregate(rollup))
        arrays = sums.arrays(columns)
        return self._select_sums(rollup, columns, arrays) if arrays else _select_nothing(rollup, columns)

    @property
    def _has_no_unfolded(self) -> bool:
        return self._state is None and self._uses_sums

    def _try(self, compose: Compose) -> tuple[bool, list[tuple[Any, ...]]]:
        self.parameters = {"organization": self._organization_id}
        self._newer_state = self._state
        self._depends_on_state = self._has_no_unfolded or self._is_guess
        statement = compose(self)
        if self._newer_state != self._state:
            self._know(self._newer_state)
            return False, []
        is_current: sql.Composable = sql.SQL("true")
        if self._depends_on_state:
            is_current = sql.SQL("{} IS NOT DISTINCT FROM {}").format(_STATE, self.bind(self._state))
        rows = fetch_rows(_WITH_STATE.format(state=_STATE, statement=statement, is_current=is_current), self.parameters)
        state = self._state
        self._know(rows[0][0])
        is_read = not self._depends_on_state or state == self._state
        return is_read, [row[2:] for row in rows if row[1]]

    def _sums(self, rollup: Rollup) -> Sums:
        if not self._uses_sums or self._state is None or self._newer_state != self._state:
            return _TOO_LARGE
        self._depends_on_state = True
        key = (self._organization_id, rollup.name)
        sums = unfolded_sums.get(key, self._state)
        if sums is None and self._is_guess:
            # Reading the state costs less than adding up for an outdated one.
            [(self._newer_state,)] = fetch_rows(sql.SQL("SELECT {}").format(_STATE), self.parameters)
            self._is_guess = False
            if self._newer_state != self._state:
                return _TOO_LARGE
        if sums is None:
            self._newer_state, sums = self._load_sums(rollup)
            # Sums of another state may lack a batch, because they begin with the first batch of this state.
            if self._newer_state == self._state:
                unfolded_sums.put(key, self._state, sums)
        return sums

    def _know(self, state: str | None) -> None:
        self._state, self._is_guess = state, False
        last_states.put(self._organization_id, state or "", state or "")

    def _load_sums(self, rollup: Rollup) -> tuple[str | None, Sums]:
        """Return the sums, and the state of the same snapshot."""
        parameters: Parameters = {"organization": self._organization_id, "first": self._first_id}
        key = sql.Identifier(rollup.dimensions[0].column) if rollup.is_read_by_key else sql.SQL("''")
        columns = _sums_columns(rollup)
        arrays = [sql.SQL("array_agg({})::text").format(sql.Identifier(column)) for column in columns]
        statement = _SUMS_WITH_STATE.format(
            state=_STATE,
            key=key,
            arrays=sql.SQL(", ").join(arrays),
            sums=self._aggregate(rollup, sql.SQL("%(first)s")),
        )
        rows = fetch_rows(statement, parameters)
        sums = Sums(columns, {key: values for _, key, *values in rows if key is not None})
        return rows[0][0], sums if sums.size <= MAX_SUMS_BYTES else _TOO_LARGE

    def _select_sums(self, rollup: Rollup, columns: Sequence[str], arrays: Sequence[str]) -> sql.Composed:
        types = _types(rollup)
        bound = (
            sql.SQL("{}::{}[]").format(self.bind(array), sql.SQL(types[column]))
            for column, array in zip(columns, arrays, strict=True)
        )
        return sql.SQL("SELECT {0} FROM unnest({1}) AS unfolded ({0})").format(
            column_list(columns), sql.SQL(", ").join(bound)
        )

    def _aggregate(self, rollup: Rollup, first: sql.Composable | None = None) -> sql.Composed:
        first = first or self.bind(self._first_id)
        is_unfolded = sql.SQL("batch.organization_id = %(organization)s AND batch.folded_at IS NULL")
        sums = aggregate_query(rollup, _ALL_UNFOLDED.format(first=first), is_unfolded)
        if not rollup.counted_in:
            return sums
        key = sql.Identifier(rollup.dimensions[0].column)
        return _WITH_FOLDED_FIRST_AT.format(table=sql.Identifier(rollup.table), key=key, sums=sums)

    def _select_events(self, rollup: Rollup) -> sql.Composed:
        """Build a SELECT of the rollup's columns with a row for each unfolded event."""
        return event_rows(rollup, OF_UNFOLDED, _IS_UNFOLDED.format(first=self.bind(self._first_id)))

    @property
    def _unfolded_events(self) -> int:
        return 0 if self._state is None else int(self._state.split("/")[1])

    @property
    def _first_id(self) -> UUID:
        """A lower bound of the ids, so that the partitions of earlier months are not planned. For the last
        attempt it is an hour lower: batches of other clocks may have been stored since."""
        if self._state is None:
            return _FIRST_ID
        first = UUID(self._state.partition("/")[0])
        return first if self._uses_sums else earliest_after(first)


def read_rollups(organization: Organization, compose: Compose) -> list[tuple[Any, ...]]:
    """Return the rows of a report of one statement."""
    return RollupReader(organization).read(compose)


def _select_nothing(rollup: Rollup, columns: Sequence[str]) -> sql.Composed:
    types = _types(rollup)
    nulls = (sql.SQL("NULL::{} AS {}").format(sql.SQL(types[column]), sql.Identifier(column)) for column in columns)
    return sql.SQL("SELECT {} WHERE false").format(sql.SQL(", ").join(nulls))


def _columns(rollup: Rollup) -> Sequence[str]:
    return [*key_columns(rollup), *measure_columns(rollup)]


def _sums_columns(rollup: Rollup) -> Sequence[str]:
    """Return the columns of cached sums."""
    return [*_columns(rollup), *([_FOLDED_FIRST_AT] if rollup.counted_in else [])]


def _types(rollup: Rollup) -> dict[str, str]:
    return {**column_types(rollup), _FOLDED_FIRST_AT: "timestamptz"}
