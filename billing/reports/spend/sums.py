"""Sums of spend by the dimensions of rollups (document 004). Read-only.

Whole days or hours come from rollups, the rest of a window from the ledger. All queries of a request run as one
statement and so see one snapshot.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from django.db import connection
from psycopg import sql

from billing.reports.buckets import DAY, HOUR, first_possible_id, split
from billing.reports.live_rollups import HAS_UNFOLDED, table_of
from billing.reports.types import Window
from billing.rollups.definitions import COSTS, Rollup
from organizations.models import Organization

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SumQuery:
    """A sum over the rows of a rollup in a window, grouped by some of its dimensions. `only` maps dimensions to
    required values (a tuple means one of them). A rollup without a time bucket has no window.

    `undropped_only` leaves out the days whose events were dropped, so that counted events are still in the ledger.
    `limit` returns only the most expensive rows.
    """

    rollup: Rollup
    by: tuple[str, ...] = ()
    window: Window = field(default_factory=Window)
    only: Mapping[str, object] = field(default_factory=dict)
    undropped_only: bool = False
    limit: int | None = None


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


_RESULTS = sql.SQL("""
SELECT {has_unfolded}, number, key, requests, unpriced, prompt, completion, cost
FROM (VALUES (1)) AS once LEFT JOIN ({results}) AS results ON true
ORDER BY number
""")
_RESULT = sql.SQL("""
SELECT {number} AS number, ARRAY[{key}]::text[] AS key, sum(requests)::bigint AS requests,
    sum(unpriced)::bigint AS unpriced, sum(input_tokens + cache_read_tokens + cache_creation_tokens)::bigint AS prompt,
    sum(output_tokens)::bigint AS completion, sum(token_cost_usd + compute_cost_usd) AS cost
FROM ({rows}) AS costs {grouped}
""")
_LARGEST = sql.SQL("(SELECT * FROM ({result}) AS result ORDER BY cost DESC, key LIMIT {limit})")
_MEASURES = tuple(measure.column for measure in COSTS)


def run_queries(organization: Organization, *queries: SumQuery) -> list[list[Sums]]:
    """Return the results in the order of the queries; keys without rows are left out. Reads the tables of the
    rollups first, and their views only if there are unfolded batches (`billing.reports.live_rollups`)."""
    has_unfolded, results = _fetch(organization, queries, has_unfolded=False)
    if has_unfolded:
        _, results = _fetch(organization, queries, has_unfolded=True)
    return results


def _fetch(
    organization: Organization, queries: Sequence[SumQuery], *, has_unfolded: bool
) -> tuple[bool, list[list[Sums]]]:
    parameters: Parameters = {"organization": organization.pk}
    selects = [_result_select(number, query, has_unfolded, parameters) for number, query in enumerate(queries)]
    statement = _RESULTS.format(has_unfolded=HAS_UNFOLDED, results=sql.SQL(" UNION ALL ").join(selects))
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows = cursor.fetchall()
    results: list[list[Sums]] = [[] for _ in queries]
    for number, group in groupby(rows, key=lambda row: row[1]):
        if number is not None:
            results[number] = [Sums(tuple(row[2]), *row[3:]) for row in group if row[3] is not None]
    return rows[0][0], results


def _result_select(number: int, query: SumQuery, has_unfolded: bool, parameters: Parameters) -> sql.Composable:  # noqa: FBT001
    key = sql.SQL(", ").join(map(sql.Identifier, query.by))
    select = _RESULT.format(
        number=sql.Literal(number),
        key=key,
        rows=sql.SQL(" UNION ALL ").join(_sources(number, query, has_unfolded, parameters)),
        grouped=sql.SQL("GROUP BY {}").format(key) if query.by else sql.SQL(""),
    )
    return select if query.limit is None else _LARGEST.format(result=select, limit=sql.Literal(query.limit))


def _sources(
    number: int,
    query: SumQuery,
    has_unfolded: bool,  # noqa: FBT001 - with the others
    parameters: Parameters,
) -> Iterator[sql.Composable]:
    """Build the SELECTs of a query; their values are added to the parameters."""
    rollup = query.rollup
    expressions = {dimension.column: sql.SQL(dimension.expression) for dimension in rollup.dimensions}
    is_by_hour = rollup.bucket == "hour"
    pieces = split(query.window, HOUR if is_by_hour else DAY)
    if pieces.buckets is not None:
        columns = sql.SQL(", ").join(map(sql.Identifier, (*query.by, *_MEASURES)))
        conditions = list(_only(number, query, parameters, {}))
        bucket = sql.Identifier(rollup.bucket or "day")
        conditions += _within(f"buckets_{number}", bucket, pieces.buckets, parameters, as_dates=not is_by_hour)
        if query.undropped_only:
            conditions.append(sql.SQL("NOT archived"))
        yield _select(columns, table_of(rollup, has_unfolded=has_unfolded), conditions)
    for index, edge in enumerate(pieces.edges):
        measures = [
            sql.SQL("{} AS {}").format(sql.SQL(measure.expression), sql.Identifier(measure.column)) for measure in COSTS
        ]
        keys = [sql.SQL("{} AS {}").format(expressions[name], sql.Identifier(name)) for name in query.by]
        conditions = [sql.SQL(rollup.condition), *_only(number, query, parameters, expressions)]
        conditions += _within(f"edge_{number}_{index}", sql.SQL("event.occurred_at"), edge, parameters)
        if edge.start is not None:
            parameters[f"first_{number}_{index}"] = first_possible_id(edge.start)
            conditions.append(sql.SQL("event.id >= {}").format(sql.Placeholder(f"first_{number}_{index}")))
        source = sql.SQL("billing_usageevent AS event {}").format(sql.SQL(rollup.joined))
        yield _select(sql.SQL(", ").join([*keys, *measures]), source, conditions)


def _select(columns: sql.Composable, source: sql.Composable, conditions: Iterable[sql.Composable]) -> sql.Composable:
    where = sql.SQL(" AND ").join([sql.SQL("organization_id = %(organization)s"), *conditions])
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, source, where)


def _only(
    number: int, query: SumQuery, parameters: Parameters, expressions: Mapping[str, sql.Composable]
) -> Iterator[sql.Composable]:
    for column, value in query.only.items():
        name = f"{column}_{number}"
        is_one_of = isinstance(value, tuple)
        parameters[name] = list(value) if isinstance(value, tuple) else value
        yield sql.SQL("{} = ANY({})" if is_one_of else "{} = {}").format(
            expressions.get(column, sql.Identifier(column)), sql.Placeholder(name)
        )


def _within(
    name: str, column: sql.Composable, window: Window, parameters: Parameters, *, as_dates: bool = False
) -> Iterator[sql.Composable]:
    for sign, side, instant in ((">=", "start", window.start), ("<", "end", window.end)):
        if instant is not None:
            parameters[f"{name}_{side}"] = instant.date() if as_dates else instant
            yield sql.SQL("{} {} {}").format(column, sql.SQL(sign), sql.Placeholder(f"{name}_{side}"))
