"""Any windows of time from the coarsest rollups that fit: whole days, beside them whole hours, and what is cut off an
hour from the ledger.

    parts = cascade(windows, (USAGE_DAYS, USAGE_HOURS))
    rows = cost_rows(parts, columns=("model", "requests"), condition=..., waits=waits, parameters=parameters)

`cascade` is pure and says who answers for which time; `cost_rows` is the SQL for it. The levels go from coarse to fine,
have a time bucket each, and all have the columns that are asked for; the finest one's definition tells how the ledger's
rows make them. Boundaries between windows are respected: a day in which one window ends and another begins is looked at
hour by hour, and the hour event by event.

Events that retention has dropped are known by whole buckets of the finest level only: where such a bucket is cut, they
count in the window that its beginning lies in. So windows that lie side by side always add up.
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
# An event is received at most an hour before it occurred; a day leaves room for clocks that differ.
_RECEIVED_BEFORE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Part:
    """Windows that a rollup answers for or, if there is none, the ledger. They lie apart from each other, in order."""

    rollup: Rollup | None
    finest: Rollup
    windows: tuple[Window, ...]


def cascade(windows: Iterable[Window], levels: Sequence[Rollup]) -> list[Part]:
    """Who answers for windows that are in order, do not overlap and are not empty."""
    parts = []
    finest, left = levels[-1], list(windows)
    for rollup in levels:
        pieces = [split(window, _SIZES[rollup.bucket or ""]) for window in left]
        parts.append(Part(rollup, finest, _joined(piece.whole for piece in pieces if piece.whole is not None)))
        left = [edge for piece in pieces for edge in piece.edges]
    parts.append(Part(None, finest, _joined(left)))
    return [part for part in parts if part.windows]


def cost_rows(
    parts: Sequence[Part],
    *,
    columns: Sequence[str],
    condition: sql.Composable,
    has_unfolded: bool,
    parameters: Parameters,
) -> sql.Composed:
    """SELECTs of `at` (the beginning of the bucket, or the event's time) and the columns, joined by UNION ALL; any
    number of rows for one key. `condition` is over the rollups' columns. Takes the parameter `organization`, and adds
    what it takes itself. `has_unfolded` reads what is not folded as well (`billing.reports.live_rollups`)."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    selects = []
    for number, part in enumerate(parts):
        if part.rollup is not None:
            selects.append(
                _of_rollup(part.rollup, part.windows, names, condition, has_unfolded, f"part{number}", parameters)
            )
        else:
            selects += _of_ledger(part, columns, condition, f"part{number}", parameters)
    return sql.SQL("\nUNION ALL\n").join(selects)


_OF_ROLLUP = sql.SQL("SELECT {at} AS at, {columns} FROM {table} WHERE organization_id = %(organization)s AND {within}")
_AT = {"hour": sql.SQL("hour"), "day": sql.SQL("(day::timestamp AT TIME ZONE 'UTC')")}
_TYPES = {"hour": sql.SQL("tstzmultirange"), "day": sql.SQL("datemultirange")}


def _of_rollup(
    rollup: Rollup,
    windows: Sequence[Window],
    columns: sql.Composable,
    condition: sql.Composable,
    has_unfolded: bool,  # noqa: FBT001 - with the others
    name: str,
    parameters: Parameters,
) -> sql.Composed:
    select = _OF_ROLLUP.format(
        at=_AT[rollup.bucket or ""],
        columns=columns,
        table=table_of(rollup, has_unfolded=has_unfolded),
        within=_within(rollup, windows, name, parameters),
    )
    return sql.SQL("{} AND {}").format(select, condition)


def _within(rollup: Rollup, windows: Sequence[Window], name: str, parameters: Parameters) -> sql.Composable:
    """That the bucket lies in one of the windows. Many windows with small gaps are one range of the index, whose rows
    are looked through; windows far apart are a range each."""
    hull = Window(windows[0].start, windows[-1].end)
    if len(windows) == 1 or hull.start is None or hull.end is None or not _is_dense(windows, hull.end - hull.start):
        ranges = [_between(rollup, one, f"{name}_{number}", parameters) for number, one in enumerate(windows)]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(ranges))
    parameters[f"{name}_all"] = Multirange([Range(_bound(rollup, w.start), _bound(rollup, w.end)) for w in windows])
    return sql.SQL("{} AND {} <@ {}::{}").format(
        _between(rollup, hull, name, parameters),
        sql.Identifier(rollup.bucket or ""),
        sql.Placeholder(f"{name}_all"),
        _TYPES[rollup.bucket or ""],
    )


def _is_dense(windows: Sequence[Window], whole: timedelta) -> bool:
    covered = sum(
        (window.end - window.start for window in windows if window.end is not None and window.start is not None),
        timedelta(),
    )
    return covered * 2 >= whole


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


# Each window is looked up by itself, in the months that can have received its events.
_OF_LEDGER = sql.SQL("""
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


def _of_ledger(
    part: Part, columns: Sequence[str], condition: sql.Composable, name: str, parameters: Parameters
) -> Iterator[sql.Composed]:
    finest, names = part.finest, sql.SQL(", ").join(map(sql.Identifier, columns))
    starts = [window.start for window in part.windows if window.start is not None]
    ends = [window.end for window in part.windows if window.end is not None]
    parameters |= {
        f"{name}_starts": starts,
        f"{name}_ends": ends,
        f"{name}_id": ids_at(starts[0] - _RECEIVED_BEFORE)[0],
    }
    made = {dimension.column: dimension.expression for dimension in finest.dimensions}
    made |= {measure.column: measure.expression for measure in finest.measures}
    expressions = [
        sql.SQL("{} AS {}").format(sql.SQL(made[column]), sql.Identifier(column))
        for column in made
        if column != finest.bucket
    ]
    yield _OF_LEDGER.format(
        columns=names,
        starts=sql.Placeholder(f"{name}_starts"),
        ends=sql.Placeholder(f"{name}_ends"),
        expressions=sql.SQL(", ").join(expressions),
        first_id=sql.Placeholder(f"{name}_id"),
        belongs=sql.SQL(finest.condition),
        condition=condition,
    )
    if buckets := [_bound(finest, at) for at in _beginnings(starts, ends, _SIZES[finest.bucket or ""])]:
        parameters[f"{name}_buckets"] = buckets
        yield _DROPPED.format(
            at=_AT[finest.bucket or ""],
            columns=names,
            table=sql.Identifier(finest.table),
            bucket=sql.Identifier(finest.bucket or ""),
            buckets=sql.Placeholder(f"{name}_buckets"),
            condition=condition,
        )


def _beginnings(starts: Iterable[datetime], ends: Iterable[datetime], size: timedelta) -> Iterator[datetime]:
    """Of the buckets that begin in one of the windows."""
    for start, end in zip(starts, ends, strict=True):
        bucket = next_boundary(start, size)
        while bucket < end:
            yield bucket
            bucket += size


def _joined(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Windows that lie side by side become one."""
    joined: list[Window] = []
    for window in windows:
        if joined and joined[-1].end == window.start and window.start is not None:
            joined[-1] = Window(joined[-1].start, window.end)
        elif window.start is None or window.end is None or window.start < window.end:
            joined.append(window)
    return tuple(joined)
