"""Sums of spend by whatever a rollup knows (document 004). Read-only.

Whole days (or hours) come from rollups; what a window cuts off is added up from the ledger, in the same way. All that
is asked for at once is answered by one statement, and so holds at one moment.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from django.db import connection
from psycopg import sql

from billing.reports.buckets import DAY, HOUR, earliest_id, split
from billing.reports.live_rollups import HAS_UNFOLDED, table_of
from billing.reports.types import Window
from billing.rollups.definitions import COSTS, Rollup
from organizations.models import Organization

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What to add up: a rollup's rows in a window, `by` some of its dimensions. `only` are values that dimensions must
    have (a tuple: one of them). A rollup without a time bucket has no window.

    `kept`: without the days whose events were dropped, so that what is counted is still in the ledger.
    `most`: only so many, the dearest.
    """

    rollup: Rollup
    by: tuple[str, ...] = ()
    window: Window = field(default_factory=Window)
    only: Mapping[str, object] = field(default_factory=dict)
    kept: bool = False
    most: int | None = None


class Sums(NamedTuple):
    """`key` are the values of the question's `by`, as texts. `requests` are model calls. Prompt tokens have the cached
    ones in them. `unpriced` of the events are not in `cost`, because their cost is not known."""

    key: tuple[str, ...]
    requests: int
    unpriced: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


_ASKED = sql.SQL("""
SELECT {has_unfolded}, number, key, requests, unpriced, prompt, completion, cost
FROM (VALUES (1)) AS once LEFT JOIN ({answers}) AS answers ON true
ORDER BY number
""")
_ANSWER = sql.SQL("""
SELECT {number} AS number, ARRAY[{key}]::text[] AS key, sum(requests)::bigint AS requests,
    sum(unpriced)::bigint AS unpriced, sum(input_tokens + cache_read_tokens + cache_creation_tokens)::bigint AS prompt,
    sum(output_tokens)::bigint AS completion, sum(token_cost_usd + compute_cost_usd) AS cost
FROM ({rows}) AS costs {grouped}
""")
_DEAREST = sql.SQL("(SELECT * FROM ({answer}) AS answer ORDER BY cost DESC, key LIMIT {most})")
_MEASURES = tuple(measure.column for measure in COSTS)


def ask(organization: Organization, *questions: Question) -> list[list[Sums]]:
    """The answers, in the questions' order. A key without any rows has none. Asks the rollups' tables first, and their
    views only if something waits to be folded (`billing.reports.live_rollups`)."""
    has_unfolded, answers = _ask(organization, questions, has_unfolded=False)
    if has_unfolded:
        _, answers = _ask(organization, questions, has_unfolded=True)
    return answers


def _ask(
    organization: Organization, questions: Sequence[Question], *, has_unfolded: bool
) -> tuple[bool, list[list[Sums]]]:
    parameters: Parameters = {"organization": organization.pk}
    parts = [_answer(number, query, has_unfolded, parameters) for number, query in enumerate(questions)]
    statement = _ASKED.format(has_unfolded=HAS_UNFOLDED, answers=sql.SQL(" UNION ALL ").join(parts))
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchall()
    answers: list[list[Sums]] = [[] for _ in questions]
    for number, rows in groupby(found, key=lambda row: row[1]):
        if number is not None:
            answers[number] = [Sums(tuple(row[2]), *row[3:]) for row in rows if row[3] is not None]
    return found[0][0], answers


def _answer(number: int, query: Question, has_unfolded: bool, parameters: Parameters) -> sql.Composable:  # noqa: FBT001
    key = sql.SQL(", ").join(map(sql.Identifier, query.by))
    answer = _ANSWER.format(
        number=sql.Literal(number),
        key=key,
        rows=sql.SQL(" UNION ALL ").join(_sources(number, query, has_unfolded, parameters)),
        grouped=sql.SQL("GROUP BY {}").format(key) if query.by else sql.SQL(""),
    )
    return answer if query.most is None else _DEAREST.format(answer=answer, most=sql.Literal(query.most))


def _sources(
    number: int,
    query: Question,
    has_unfolded: bool,  # noqa: FBT001 - with the others
    parameters: Parameters,
) -> Iterator[sql.Composable]:
    """SELECTs that together have the question's rows; adds their values to the parameters."""
    rollup = query.rollup
    expressions = {dimension.column: sql.SQL(dimension.expression) for dimension in rollup.dimensions}
    is_by_hour = rollup.bucket == "hour"
    parts = split(query.window, HOUR if is_by_hour else DAY)
    if parts.whole is not None:
        columns = sql.SQL(", ").join(map(sql.Identifier, (*query.by, *_MEASURES)))
        conditions = list(_only(number, query, parameters, {}))
        bucket = sql.Identifier(rollup.bucket or "day")
        conditions += _within(f"whole_{number}", bucket, parts.whole, parameters, as_dates=not is_by_hour)
        if query.kept:
            conditions.append(sql.SQL("NOT archived"))
        yield _select(columns, table_of(rollup, has_unfolded=has_unfolded), conditions)
    for place, edge in enumerate(parts.edges):
        measures = [sql.SQL("{} AS {}").format(sql.SQL(one.expression), sql.Identifier(one.column)) for one in COSTS]
        keys = [sql.SQL("{} AS {}").format(expressions[name], sql.Identifier(name)) for name in query.by]
        conditions = [sql.SQL(rollup.condition), *_only(number, query, parameters, expressions)]
        conditions += _within(f"edge_{number}_{place}", sql.SQL("event.occurred_at"), edge, parameters)
        if edge.start is not None:
            parameters[f"first_{number}_{place}"] = earliest_id(edge.start)
            conditions.append(sql.SQL("event.id >= {}").format(sql.Placeholder(f"first_{number}_{place}")))
        source = sql.SQL("billing_usageevent AS event {}").format(sql.SQL(rollup.joined))
        yield _select(sql.SQL(", ").join([*keys, *measures]), source, conditions)


def _select(columns: sql.Composable, source: sql.Composable, conditions: Iterable[sql.Composable]) -> sql.Composable:
    where = sql.SQL(" AND ").join([sql.SQL("organization_id = %(organization)s"), *conditions])
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, source, where)


def _only(
    number: int, query: Question, parameters: Parameters, expressions: Mapping[str, sql.Composable]
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
