"""Query arbitrary windows from the coarsest rollups that fit: whole days from a daily rollup, the remaining whole hours
from an hourly one, and what is left from the ledger.

    sources = plan_sources(windows, (USAGE_DAYS, USAGE_HOURS))
    rows = cost_rows(sources, columns=("model", "requests"), condition=..., has_unfolded=False, parameters=parameters)

`plan_sources` is pure and assigns each piece of time to a source; `cost_rows` builds the SQL. Levels are ordered from
coarse to fine, each has a time bucket, and all have the requested columns. The definition of the finest level says how
ledger rows produce them. Boundaries between windows are respected: a day in which one window ends and another begins is
read hour by hour, and that hour event by event.

Events dropped by retention exist only as buckets of the finest level. Where a window cuts such a bucket, the bucket
counts in the window that contains its start, so adjacent windows always add up.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from psycopg import sql
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from billing.reports.buckets import DAY, next_boundary, split
from billing.reports.live_rollups import table_of
from billing.reports.types import Window
from billing.rollups.definitions import Rollup
from costtrack.ids import ids_at

Parameters = dict[str, Any]

_SIZES = {"hour": timedelta(hours=1), "day": DAY}
# An event is received at most an hour before it occurred; a day allows for clock skew.
_MAX_CLOCK_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Source:
    """Disjoint, ordered windows that are read from one rollup, or from the ledger if `rollup` is None."""

    rollup: Rollup | None
    finest: Rollup
    windows: tuple[Window, ...]


def plan_sources(windows: Iterable[Window], levels: Sequence[Rollup]) -> list[Source]:
    """Assign windows to sources. The windows must be ordered, disjoint and not empty."""
    sources = []
    finest, remaining = levels[-1], list(windows)
    for rollup in levels:
        pieces = [split(window, _SIZES[rollup.bucket or ""]) for window in remaining]
        sources.append(
            Source(rollup, finest, _merge_adjacent(piece.buckets for piece in pieces if piece.buckets is not None))
        )
        remaining = [edge for piece in pieces for edge in piece.edges]
    sources.append(Source(None, finest, _merge_adjacent(remaining)))
    return [source for source in sources if source.windows]


def cost_rows(
    sources: Sequence[Source],
    *,
    columns: Sequence[str],
    condition: sql.Composable,
    has_unfolded: bool,
    parameters: Parameters,
) -> sql.Composed:
    """Build SELECTs of `at` (start of the bucket, or time of the event) and the columns, joined by UNION ALL. A key may
    have several rows. `condition` refers to columns of the rollups. The statement needs the parameter `organization`;
    other parameters are added. With `has_unfolded` it also reads unfolded batches (`billing.reports.live_rollups`)."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    selects = []
    for number, source in enumerate(sources):
        if source.rollup is not None:
            selects.append(
                _select_from_rollup(
                    source.rollup, source.windows, names, condition, has_unfolded, f"source{number}", parameters
                )
            )
        else:
            selects += _select_from_ledger(source, columns, condition, f"source{number}", parameters)
    return sql.SQL("\nUNION ALL\n").join(selects)


_FROM_ROLLUP = sql.SQL(
    "SELECT {at} AS at, {columns} FROM {table} WHERE organization_id = %(organization)s AND {within}"
)
_AT = {"hour": sql.SQL("hour"), "day": sql.SQL("(day::timestamp AT TIME ZONE 'UTC')")}
_TYPES = {"hour": sql.SQL("tstzmultirange"), "day": sql.SQL("datemultirange")}


def _select_from_rollup(
    rollup: Rollup,
    windows: Sequence[Window],
    columns: sql.Composable,
    condition: sql.Composable,
    has_unfolded: bool,  # noqa: FBT001 - with the others
    name: str,
    parameters: Parameters,
) -> sql.Composed:
    select = _FROM_ROLLUP.format(
        at=_AT[rollup.bucket or ""],
        columns=columns,
        table=table_of(rollup, has_unfolded=has_unfolded),
        within=_within(rollup, windows, name, parameters),
    )
    return sql.SQL("{} AND {}").format(select, condition)


def _within(rollup: Rollup, windows: Sequence[Window], name: str, parameters: Parameters) -> sql.Composable:
    """Build the condition that a bucket lies in one of the windows. Many windows with small gaps become one index range
    whose rows are filtered; windows that are far apart become one range each."""
    hull = Window(windows[0].start, windows[-1].end)
    if len(windows) == 1 or hull.start is None or hull.end is None or not _is_dense(windows, hull.end - hull.start):
        ranges = [_between(rollup, window, f"{name}_{number}", parameters) for number, window in enumerate(windows)]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(ranges))
    parameters[f"{name}_all"] = Multirange([Range(_bound(rollup, w.start), _bound(rollup, w.end)) for w in windows])
    return sql.SQL("{} AND {} <@ {}::{}").format(
        _between(rollup, hull, name, parameters),
        sql.Identifier(rollup.bucket or ""),
        sql.Placeholder(f"{name}_all"),
        _TYPES[rollup.bucket or ""],
    )


def _is_dense(windows: Sequence[Window], hull_length: timedelta) -> bool:
    covered = sum(
        (window.end - window.start for window in windows if window.end is not None and window.start is not None),
        timedelta(),
    )
    return covered * 2 >= hull_length


def _between(rollup: Rollup, window: Window, name: str, parameters: Parameters) -> sql.Composable:
    conditions: list[sql.Composable] = [sql.SQL("true")]
    for sign, side, instant in ((">=", "start", window.start), ("<", "end", window.end)):
        if instant is not None:
            parameters[f"{name}_{side}"] = _bound(rollup, instant)
            column, value = sql.Identifier(rollup.bucket or ""), sql.Placeholder(f"{name}_{side}")
            conditions.append(sql.SQL("{} {} {}").format(column, sql.SQL(sign), value))
    return sql.SQL("({})").format(sql.SQL(" AND ").join(conditions))


def _bound(rollup: Rollup, instant: datetime | None) -> datetime | date | None:
    return instant.astimezone(UTC).date() if instant is not None and rollup.bucket == "day" else instant


# Each window is a separate lookup, limited to the monthly partitions that can contain its events.
_FROM_LEDGER = sql.SQL("""
SELECT at, {columns}
FROM unnest({starts}::timestamptz[], {ends}::timestamptz[]) AS cut (starts, ends) CROSS JOIN LATERAL (
    SELECT event.occurred_at AS at, {expressions} FROM billing_usageevent AS event
    WHERE event.organization_id = %(organization)s AND event.id >= {first_id}
        AND event.occurred_at >= cut.starts AND event.occurred_at < cut.ends AND {belongs}
) AS cost
WHERE {condition}
""")
_DROPPED = sql.SQL("""
SELECT {at} AS at, {columns} FROM {table}
WHERE organization_id = %(organization)s AND {bucket} = ANY({buckets}) AND archived AND {condition}
""")


def _select_from_ledger(
    source: Source, columns: Sequence[str], condition: sql.Composable, name: str, parameters: Parameters
) -> Iterator[sql.Composed]:
    finest, names = source.finest, sql.SQL(", ").join(map(sql.Identifier, columns))
    starts = [window.start for window in source.windows if window.start is not None]
    ends = [window.end for window in source.windows if window.end is not None]
    parameters |= {
        f"{name}_starts": starts,
        f"{name}_ends": ends,
        f"{name}_id": ids_at(starts[0] - _MAX_CLOCK_SKEW)[0],
    }
    expression_by_column = {dimension.column: dimension.expression for dimension in finest.dimensions}
    expression_by_column |= {measure.column: measure.expression for measure in finest.measures}
    expressions = [
        sql.SQL("{} AS {}").format(sql.SQL(expression_by_column[column]), sql.Identifier(column))
        for column in expression_by_column
        if column != finest.bucket
    ]
    yield _FROM_LEDGER.format(
        columns=names,
        starts=sql.Placeholder(f"{name}_starts"),
        ends=sql.Placeholder(f"{name}_ends"),
        expressions=sql.SQL(", ").join(expressions),
        first_id=sql.Placeholder(f"{name}_id"),
        belongs=sql.SQL(finest.condition),
        condition=condition,
    )
    if buckets := [_bound(finest, at) for at in _bucket_starts(starts, ends, _SIZES[finest.bucket or ""])]:
        parameters[f"{name}_buckets"] = buckets
        yield _DROPPED.format(
            at=_AT[finest.bucket or ""],
            columns=names,
            table=sql.Identifier(finest.table),
            bucket=sql.Identifier(finest.bucket or ""),
            buckets=sql.Placeholder(f"{name}_buckets"),
            condition=condition,
        )


def _bucket_starts(starts: Iterable[datetime], ends: Iterable[datetime], size: timedelta) -> Iterator[datetime]:
    """Yield the start of each bucket that begins in one of the windows."""
    for start, end in zip(starts, ends, strict=True):
        bucket = next_boundary(start, size)
        while bucket < end:
            yield bucket
            bucket += size


def _merge_adjacent(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Merge adjacent windows."""
    merged: list[Window] = []
    for window in windows:
        if merged and merged[-1].end == window.start and window.start is not None:
            merged[-1] = Window(merged[-1].start, window.end)
        elif window.start is None or window.end is None or window.start < window.end:
            merged.append(window)
    return tuple(merged)
