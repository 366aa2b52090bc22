"""Meters in the sense of OpenMeter: sums of usage by time, user and dimension, read from the rollups. Read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from psycopg import sql

from billing.reports.rollup_query import COST_COLUMNS, RollupQuery
from billing.reports.rollup_reader import RollupReader, read_rollups
from billing.reports.sql import equal_to
from billing.reports.usage.totals import levels_of
from costtrack.calendar import Span, Window
from organizations.models import Organization

MAX_ROWS = 10_000
_INPUT = "input_tokens + cache_read_tokens + cache_creation_tokens"


@dataclass(frozen=True, slots=True)
class Meter:
    """A sum. `expression` is that of one row of a rollup."""

    slug: str
    name: str
    description: str
    expression: str


METERS = {
    meter.slug: meter
    for meter in (
        Meter("tokens_total", "Tokens", "Input and output, including caches.", f"{_INPUT} + output_tokens"),
        Meter("input_tokens", "Input tokens", "Including caches.", _INPUT),
        Meter("output_tokens", "Output tokens", "Including reasoning.", "output_tokens"),
        Meter("cache_read_tokens", "Cached input tokens", "Read from the cache.", "cache_read_tokens"),
        Meter("cache_creation_tokens", "Cache writes", "Input tokens written to the cache.", "cache_creation_tokens"),
        Meter("requests", "Requests", "Calls of models.", "requests"),
        Meter("cost_usd", "Cost", "Known cost in US dollars.", "token_cost_usd + compute_cost_usd"),
    )
}
SUBJECT = "subject"
DIMENSIONS = {
    SUBJECT: "user_ref",
    "model": "model",
    "provider": "provider",
    "capability": "capability",
    "agent": "agent_id",
    "team": "team",
    "end_user": "end_user",
}
"""The dimensions by which meters can be grouped and filtered, with their columns."""


@dataclass(frozen=True, slots=True)
class MeterRow:
    """The sum of a window and a group. `key` has the values in the order of the query's dimensions."""

    window: int
    key: tuple[str, ...]
    value: Decimal


_SUMS = sql.SQL("""
SELECT width_bucket(at, {boundaries}::timestamptz[]) AS period, ARRAY[{key}]::text[] AS key, sum({value})
FROM ({rows}) AS cost GROUP BY 1, 2 HAVING sum(requests) <> 0 OR sum({value}) <> 0 ORDER BY 1, 2 LIMIT {limit}
""")


def query_meter(
    *,
    organization: Organization,
    meter: Meter,
    windows: Sequence[Span],
    by: Sequence[str],
    filters: Mapping[str, Sequence[str]],
) -> list[MeterRow]:
    """Return the sums of adjacent windows by dimension, at most `MAX_ROWS` and one more. Windows without usage are left
    out."""
    columns = [DIMENSIONS[name] for name in by]
    conditions = {DIMENSIONS[name]: tuple(values) for name, values in filters.items()}
    query = RollupQuery(
        levels_of({*columns, *conditions}),
        windows=(Window(windows[0].start, windows[-1].end),),
        condition=equal_to(conditions),
    )
    boundaries = [*(window.start for window in windows), windows[-1].end]

    def compose(reader: RollupReader) -> sql.Composable:
        return _SUMS.format(
            boundaries=reader.bind(boundaries),
            key=sql.SQL(", ").join(map(sql.Identifier, columns)),
            value=sql.SQL(meter.expression),
            rows=query.rows(reader, tuple(dict.fromkeys((*COST_COLUMNS, *columns, *conditions)))),
            limit=reader.bind(MAX_ROWS + 1),
        )

    return [MeterRow(period - 1, tuple(key), value) for period, key, value in read_rollups(organization, compose)]
