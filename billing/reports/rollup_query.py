"""Read rollups, together with what is not folded yet.

    query = RollupQuery.of(MODEL_DAYS, ("model",), Window(start, end))
    (sums,) = read_sums(organization, query)

A window is read from the coarsest rollups that fit and at its edges from the ledger (`billing.reports.buckets`).
Events that retention dropped exist only in buckets of the finest rollup: where a window cuts such a bucket, the bucket
counts in the window that contains its start, so adjacent windows always add up.
`billing.reports.rollup_reader` adds the unfolded events.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, Self

from psycopg import sql
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from billing.reports.buckets import SIZES, Source, plan_sources
from billing.reports.rollup_reader import Keys, RollupReader
from billing.reports.sql import Condition, Parameters, bind, equal_to, no_condition, within
from billing.rollups.definitions import COSTS, Rollup
from billing.rollups.sql import all_true, column_list
from costtrack.calendar import ALWAYS, Window, next_boundary, utc_day
from costtrack.ids import first_id_of
from costtrack.money import ZERO
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class RollupQuery:
    """Rows of rollups in windows.

    `levels` are ordered from coarse to fine and have all columns that are used; the definition of the finest says how
    ledger rows produce them. `windows` are ordered and disjoint. `undropped_only` leaves out what retention dropped, so
    that counted events are still in the ledger. `by` and `limit` are for sums: the dimensions that they are grouped
    by, and how many of the most expensive are returned. `keys` are the values of a rollup that is read by key, if the
    condition allows only them.
    """

    levels: tuple[Rollup, ...]
    windows: tuple[Window, ...] = (ALWAYS,)
    by: tuple[str, ...] = ()
    condition: Condition = no_condition
    undropped_only: bool = False
    limit: int | None = None
    keys: Keys | None = None

    @classmethod
    def of(
        cls,
        rollup: Rollup,
        by: tuple[str, ...] = (),
        window: Window = ALWAYS,
        only: Mapping[str, object] | None = None,
        *,
        undropped_only: bool = False,
        limit: int | None = None,
    ) -> Self:
        """Return the query of one rollup in one window. `only` has required values of dimensions; a tuple means one of
        several."""
        return cls((rollup,), (window,), by, equal_to(only or {}), undropped_only, limit)

    def rows(self, reader: RollupReader, columns: Sequence[str]) -> sql.Composed:
        """Build SELECTs of `at` (start of the bucket, or time of the event) and the columns. A key may have several
        rows."""
        condition = self.condition(reader.parameters)
        selects: list[sql.Composable] = []
        # An empty window has no source, and no rows.
        for source in plan_sources(self.windows, self.levels) or [Source(self.levels[-1], self.windows)]:
            if source.rollup is not None:
                selects.append(self._select_from_rollup(reader, source.rollup, source.windows, columns, condition))
            else:
                selects += self._select_from_ledger(reader, source.windows, columns, condition)
        return sql.SQL("\nUNION ALL\n").join(selects)

    def _select_from_rollup(
        self,
        reader: RollupReader,
        rollup: Rollup,
        windows: Sequence[Window],
        columns: Sequence[str],
        condition: sql.Composable,
    ) -> sql.Composed:
        conditions = [_in_windows(rollup, windows, reader.parameters), condition]
        if self.undropped_only:
            conditions.append(sql.SQL("NOT archived"))
        return _FROM_ROLLUP.format(
            at=_AT[rollup.bucket],
            columns=column_list(columns),
            table=reader.table(rollup, self.keys),
            conditions=all_true(conditions),
        )

    def _select_from_ledger(
        self, reader: RollupReader, windows: Sequence[Window], columns: Sequence[str], condition: sql.Composable
    ) -> Iterator[sql.Composed]:
        finest = self.levels[-1]
        expressions = {dimension.column: dimension.expression for dimension in finest.dimensions}
        expressions |= {measure.column: measure.expression for measure in finest.measures}
        belongs, joined = sql.SQL(finest.condition), sql.SQL(finest.joined)
        yield ledger_rows(reader, windows, columns, expressions, condition, belongs=belongs, joined=joined)
        size = SIZES[finest.bucket or ""]
        buckets = [_bound(finest, at) for window in windows for at in _bucket_starts(window, size)]
        if buckets and not self.undropped_only:
            bucket = sql.Identifier(finest.bucket or "")
            conditions = [sql.SQL("{} = ANY ({})").format(bucket, reader.bind(buckets)), sql.SQL("archived"), condition]
            yield _FROM_ROLLUP.format(
                at=_AT[finest.bucket],
                columns=column_list(columns),
                table=sql.Identifier(finest.table),
                conditions=all_true(conditions),
            )


_FROM_ROLLUP = sql.SQL(
    "SELECT {at} AS at, {columns} FROM {table} AS rollup WHERE organization_id = %(organization)s AND {conditions}"
)
_AT = {
    "hour": sql.SQL("hour"),
    "day": sql.SQL("(day::timestamp AT TIME ZONE 'UTC')"),
    None: sql.SQL("NULL::timestamptz"),
}
_ALL_EVENTS, _NO_JOIN = sql.SQL("true"), sql.SQL("")
# Each window is a separate lookup, limited to the monthly partitions that can contain its events.
_FROM_LEDGER = sql.SQL("""
SELECT at, {columns}
FROM unnest({starts}::timestamptz[], {ends}::timestamptz[]) AS cut (starts, ends) CROSS JOIN LATERAL (
    SELECT event.occurred_at AS at, {expressions} FROM billing_usageevent AS event {joined}
    WHERE event.organization_id = %(organization)s AND event.id >= {first_id}
        AND event.occurred_at >= cut.starts AND event.occurred_at < cut.ends AND {belongs}
) AS cost
WHERE {condition}
""")


def ledger_rows(
    reader: RollupReader,
    windows: Sequence[Window],
    columns: Sequence[str],
    expressions: Mapping[str, str],
    condition: sql.Composable,
    *,
    belongs: sql.Composable = _ALL_EVENTS,
    joined: sql.Composable = _NO_JOIN,
) -> sql.Composed:
    """Build a SELECT of `at` and the columns of a row for each event. `expressions` are those of columns over `event`;
    `condition` is over these columns, `belongs` over the event."""
    starts, ends = [window.start for window in windows], [window.end for window in windows]
    return _FROM_LEDGER.format(
        columns=column_list(columns),
        starts=reader.bind(starts),
        ends=reader.bind(ends),
        expressions=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.SQL(expression), sql.Identifier(column))
            for column, expression in expressions.items()
        ),
        joined=joined,
        first_id=reader.bind(first_id_of(starts[0])),
        belongs=belongs,
        condition=condition,
    )


_RANGES = {"hour": sql.SQL("tstzmultirange"), "day": sql.SQL("datemultirange")}


def _in_windows(rollup: Rollup, windows: Sequence[Window], parameters: Parameters) -> sql.Composable:
    """Build the condition that a bucket lies in one of the windows. Many windows with small gaps become one index range
    whose rows are filtered; windows that are far apart become one range each."""
    column = sql.Identifier(rollup.bucket or "")
    ranges = [(_bound(rollup, window.start), _bound(rollup, window.end)) for window in windows]
    hull = Window(windows[0].start, windows[-1].end)
    if len(windows) == 1 or hull.start is None or hull.end is None or not _is_dense(windows, hull.end - hull.start):
        return sql.SQL("({})").format(sql.SQL(" OR ").join(within(column, bounds, parameters) for bounds in ranges))
    return sql.SQL("{} AND {} <@ {}::{}").format(
        within(column, (ranges[0][0], ranges[-1][1]), parameters),
        column,
        bind(parameters, Multirange([Range(*bounds) for bounds in ranges])),
        _RANGES[rollup.bucket or ""],
    )


def _is_dense(windows: Sequence[Window], hull_length: timedelta) -> bool:
    lengths = (window.end - window.start for window in windows if window.end is not None and window.start is not None)
    return sum(lengths, timedelta()) * 2 >= hull_length


def _bound(rollup: Rollup, instant: datetime | None) -> datetime | date | None:
    return utc_day(instant) if instant is not None and rollup.bucket == "day" else instant


def _bucket_starts(window: Window, size: timedelta) -> Iterator[datetime]:
    """Yield the start of each bucket that begins in the window, which is an edge."""
    if window.start is not None and window.end is not None:
        bucket = next_boundary(window.start, size)
        while bucket < window.end:
            yield bucket
            bucket += size


# --- Sums --------------------------------------------------------------------------------------------------------


class Sums(NamedTuple):
    """Sums of one group. `key` has the values of `by` as text. `requests` are model calls, prompt tokens include
    cached ones, and `cost` excludes `unpriced` events."""

    key: tuple[str, ...]
    requests: int
    unpriced: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def add_sums(sums: Iterable[Sums], added: Iterable[Sums], subtracted: Sequence[Sums]) -> list[Sums]:
    """Return the sums with those of the same keys added and subtracted. A key of which nothing remains is left out."""
    totals = {row.key: row for row in sums}
    for sign, rows in ((1, added), (-1, subtracted)):
        for row in rows:
            before = totals.get(row.key, Sums(row.key, 0, 0, 0, 0, ZERO))
            totals[row.key] = Sums(
                row.key,
                before.requests + sign * row.requests,
                before.unpriced + sign * row.unpriced,
                before.prompt_tokens + sign * row.prompt_tokens,
                before.completion_tokens + sign * row.completion_tokens,
                before.cost + sign * row.cost,
            )
    emptied = {row.key for row in subtracted if not any(totals[row.key][1:])}
    return [row for row in totals.values() if row.key not in emptied]


_SUMS = sql.SQL("""
SELECT {number} AS number, ARRAY[{key}]::text[] AS key, sum(requests)::bigint AS requests,
    sum(unpriced)::bigint AS unpriced, sum(input_tokens + cache_read_tokens + cache_creation_tokens)::bigint AS prompt,
    sum(output_tokens)::bigint AS completion, sum(token_cost_usd + compute_cost_usd) AS cost
FROM ({rows}) AS costs {grouped}
""")
_TOP_SUMS = sql.SQL("(SELECT * FROM ({sums}) AS sums ORDER BY cost DESC, key LIMIT {limit})")
COST_COLUMNS = tuple(measure.column for measure in COSTS)


def read_sums(organization: Organization, *queries: RollupQuery) -> list[list[Sums]]:
    """Return the sums of each query, in the order of the queries and from one snapshot. Keys without rows are left
    out."""
    return read_sums_with(RollupReader(organization), *queries)


def read_sums_with(reader: RollupReader, *queries: RollupQuery) -> list[list[Sums]]:
    """Return the same with the reader of a report that has read before."""

    def compose(reader: RollupReader) -> sql.Composable:
        return sql.SQL(" UNION ALL ").join(_sums(reader, number, query) for number, query in enumerate(queries))

    rows = reader.read(compose)
    results: list[list[Sums]] = [[] for _ in queries]
    for number, key, requests, *sums in rows:
        if requests is not None:
            results[number].append(Sums(tuple(key), requests, *sums))
    return results


def _sums(reader: RollupReader, number: int, query: RollupQuery) -> sql.Composable:
    key = column_list(query.by)
    sums = _SUMS.format(
        number=sql.Literal(number),
        key=key,
        rows=query.rows(reader, (*query.by, *COST_COLUMNS)),
        grouped=sql.SQL("GROUP BY {}").format(key) if query.by else sql.SQL(""),
    )
    return sums if query.limit is None else _TOP_SUMS.format(sums=sums, limit=reader.bind(query.limit))
