"""Chunks of about two million events, in which rollups are computed from the ledger with bounded memory and time.

Rollups with a time bucket are divided at midnight (UTC), the others by the first column of their key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

from psycopg import sql

from billing.rollups.definitions import Rollup
from billing.rollups.sql import IN_WINDOW, all_true
from costtrack.calendar import last_boundary, next_boundary, utc_midnight
from costtrack.clock import DAY
from costtrack.database.queries import fetch_rows

MAX_EVENTS = 2_000_000

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)

Range = tuple[str | None, str | None]
_EVERYTHING: Range = (None, None)

_EVENTS_BY_DAY = """
SELECT (occurred_at AT TIME ZONE 'UTC')::date, count(*) FROM billing_usageevent
WHERE organization_id = %(organization)s AND occurred_at >= %(start)s AND occurred_at < %(end)s
GROUP BY 1 ORDER BY 1
"""
# The greatest value of each chunk, in the order of the database.
_CHUNKS_BY_VALUE = sql.SQL("""
SELECT max(value) FROM (
    SELECT {value} AS value, sum(count(*)) OVER (ORDER BY {value}) AS so_far FROM billing_usageevent AS event {joined}
    WHERE event.organization_id = %(organization)s AND {condition} GROUP BY 1
) AS counted
GROUP BY div(so_far - 1, %(max_events)s) ORDER BY 1
""")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of an organization's rollup, as equivalent SQL conditions on `event` and on the table's columns.

    Parameters: the organization, and these.
    """

    events: sql.Composable
    rows: sql.Composable
    parameters: dict[str, Any]


def chunks_of_all(organization_id: int, rollups: Sequence[Rollup]) -> list[tuple[Rollup, Chunk]]:
    """Return chunks that cover these rollups completely, with all events and all rows."""
    days = _events_by_day(organization_id, _BEGINNING, _END)
    spans = _cut(days, _BEGINNING, _END)
    is_small = sum(events for _, events in days) <= MAX_EVENTS
    chunks: list[tuple[Rollup, Chunk]] = []
    for rollup in rollups:
        if rollup.bucket:
            chunks += [(rollup, in_span(rollup, start, end)) for start, end in spans]
        else:
            ranges = [_EVERYTHING] if is_small else _ranges(organization_id, rollup)
            chunks += [(rollup, _between(rollup, after, last)) for after, last in ranges]
    return chunks


def chunks_within(
    organization_id: int, rollups: Sequence[Rollup], start: datetime | None, end: datetime | None
) -> list[tuple[Rollup, Chunk]]:
    """Return chunks for the buckets of the days from `start` to `end`; for rollups without a bucket, for the keys with
    events on these days, with all their events."""
    first = last_boundary(start, DAY) if start else _BEGINNING
    last = next_boundary(end, DAY) if end else _END
    spans = _cut(_events_by_day(organization_id, first, last), first, last)
    return [(rollup, in_span(rollup, *span)) for rollup in rollups for span in spans]


def in_span(rollup: Rollup, start: datetime, end: datetime) -> Chunk:
    """Return a chunk of the buckets of entire days, or of all keys that occur in them."""
    parameters = {"start": start, "end": end}
    if rollup.bucket:
        return Chunk(IN_WINDOW, _bucket_in_window(rollup), parameters)
    return of_keys_among(rollup, sql.SQL("billing_usageevent"), IN_WINDOW, parameters=parameters)


def of_keys_among(
    rollup: Rollup, table: sql.Composable, *conditions: sql.Composable, parameters: dict[str, Any]
) -> Chunk:
    """Return a chunk of the keys (by their first column) of some of the organization's events."""
    leading = rollup.dimensions[0]
    of_organization = sql.SQL("event.organization_id = %(organization)s")
    keys = sql.SQL("(SELECT {} FROM {} AS event {} WHERE {})").format(
        sql.SQL(leading.expression),
        table,
        sql.SQL(rollup.joined),
        all_true([of_organization, sql.SQL(rollup.condition), *conditions]),
    )
    return Chunk(
        sql.SQL("{} IN {}").format(sql.SQL(leading.expression), keys),
        sql.SQL("{} IN {}").format(sql.Identifier(leading.column), keys),
        parameters,
    )


def _bucket_in_window(rollup: Rollup) -> sql.Composed:
    bound = {"hour": "%({})s", "day": "(%({})s::timestamptz AT TIME ZONE 'UTC')::date"}[str(rollup.bucket)]
    start, end = sql.SQL(bound.format("start")), sql.SQL(bound.format("end"))
    return sql.SQL("{bucket} >= {start} AND {bucket} < {end}").format(
        bucket=sql.Identifier(str(rollup.bucket)), start=start, end=end
    )


def _between(rollup: Rollup, after: str | None, last: str | None) -> Chunk:
    """Return a chunk of the keys above `after`, up to and including `last`; None means no bound."""
    leading = rollup.dimensions[0]
    named = ((" > %(after)s", after), (" <= %(last)s", last))
    bounds = [sql.SQL(bound) for bound, value in named if value is not None]

    def bounded(value: sql.Composable) -> sql.Composed:
        return all_true([sql.SQL("true"), *(value + bound for bound in bounds)])

    return Chunk(
        bounded(sql.SQL(leading.expression)),
        bounded(sql.Identifier(leading.column)),
        {"after": after, "last": last},
    )


def _ranges(organization_id: int, rollup: Rollup) -> list[Range]:
    query = _CHUNKS_BY_VALUE.format(
        value=sql.SQL(rollup.dimensions[0].expression),
        joined=sql.SQL(rollup.joined),
        condition=sql.SQL(rollup.condition),
    )
    rows = fetch_rows(query, {"organization": organization_id, "max_events": MAX_EVENTS})
    greatest = [value for (value,) in rows]
    return list(pairwise([None, *greatest[:-1], None]))


def _events_by_day(organization_id: int, start: datetime, end: datetime) -> list[tuple[date, int]]:
    rows = fetch_rows(_EVENTS_BY_DAY, {"organization": organization_id, "start": start, "end": end})
    return [(day, events) for day, events in rows]


def _cut(days: Iterable[tuple[date, int]], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return adjacent spans with at most `MAX_EVENTS` events, or of one day."""
    bounds, filled = [start], 0
    for day, events in days:
        if filled and filled + events > MAX_EVENTS:
            bounds.append(utc_midnight(day))
            filled = 0
        filled += events
    return list(pairwise([*bounds, end]))
