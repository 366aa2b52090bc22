"""What model calls cost by day and model (document 000). Read-only.

Days are UTC. Where a window's usage comes from is told by `billing.reports.bucketed_query`. Tool calls and compute are
in the amounts and are no runs; what has neither runs nor cost (all of it was voided) is left out.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from psycopg import sql

from billing.reports.bucketed_query import cascade, cost_rows
from billing.reports.live_rollups import HAS_UNFOLDED, table_of
from billing.reports.pricing.run_filter import ModelKey, Parameters, RunFilter
from billing.rollups.definitions import MODEL_DAYS, USAGE_HOURS
from costtrack.money import ZERO
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class DailyCost:
    """A day's runs with one model; None: no model was named."""

    day: date
    model: ModelKey | None
    runs: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class UsedModel:
    model: ModelKey
    runs: int


@dataclass(frozen=True, slots=True)
class UsedAgent:
    agent_id: str
    name: str
    runs: int


@dataclass(frozen=True, slots=True)
class Pricing:
    """`daily` and `unpriced_events` are of the runs that were asked for; `models` and `agents` of all in the window, to
    choose from; `first_day` and `last_day` of all the organization's usage."""

    daily: tuple[DailyCost, ...]
    models: tuple[UsedModel, ...]
    agents: tuple[UsedAgent, ...]
    unpriced_events: int
    first_day: date | None
    last_day: date | None

    @property
    def runs(self) -> int:
        return sum(bucket.runs for bucket in self.daily)


class _Row(NamedTuple):
    """One sum; `level` says by what it is grouped. Without any usage there is one row that has only the first two."""

    has_unfolded: bool
    first_day: date | None
    last_day: date | None
    level: int | None
    day: date | None
    service: str | None
    model: str | None
    agent_id: str | None
    agent_name: str | None
    all_runs: int
    all_cost: Decimal
    runs: int | None
    cost: Decimal | None
    unpriced: int | None


# What PostgreSQL's grouping(day, model, agent_id) is: a bit for each of them that is not grouped by.
_BY_DAY_AND_MODEL, _BY_MODEL, _BY_AGENT = 0b001, 0b101, 0b110

# One question: does something wait to be folded, and what do these rows add up to, in three ways at once? (Without a
# model it does not matter who was called.)
_SUMS = sql.SQL("""
SELECT (SELECT {has_unfolded}), (SELECT min(day) FROM {days} WHERE organization_id = %(organization)s),
    (SELECT max(day) FROM {days} WHERE organization_id = %(organization)s), sums.*
FROM (VALUES (1)) AS once LEFT JOIN (
    SELECT grouping(day, model, agent_id), day, service, model, agent_id, max(agent_name),
        sum(requests), sum(amount), sum(requests) FILTER (WHERE is_chosen), sum(amount) FILTER (WHERE is_chosen),
        sum(unpriced) FILTER (WHERE is_chosen)
    FROM (
        SELECT (at AT TIME ZONE 'UTC')::date AS day, CASE model WHEN '' THEN '' ELSE service END AS service, model,
            agent_id, agent_name, requests, unpriced, token_cost_usd + compute_cost_usd AS amount,
            {chosen} AS is_chosen
        FROM ({rows}) AS cost
    ) AS run
    GROUP BY GROUPING SETS ((day, service, model), (service, model), (agent_id))
) AS sums ON true
""")
_COLUMNS = (
    *("service", "model", "agent_id", "agent_name", "requests", "unpriced"),
    *("token_cost_usd", "compute_cost_usd"),
)


def pricing(*, organization: Organization, filters: RunFilter) -> Pricing:
    """Costs by day and model, what there is to filter by, and since when there is usage."""
    rows = _ask(organization, filters, has_unfolded=False)
    if rows[0].has_unfolded:
        rows = _ask(organization, filters, has_unfolded=True)
    daily = [
        DailyCost(row.day, _model_of(row), int(row.runs or 0), row.cost or ZERO)
        for row in rows
        if row.level == _BY_DAY_AND_MODEL and row.day is not None and (row.runs or row.cost)
    ]
    used = [row for row in rows if row.level is not None and (row.all_runs or row.all_cost)]
    by_model = ((row, _model_of(row)) for row in used if row.level == _BY_MODEL)
    return Pricing(
        daily=tuple(daily),
        models=tuple(UsedModel(model, int(row.all_runs)) for row, model in by_model if model is not None),
        agents=tuple(
            UsedAgent(row.agent_id, row.agent_name or row.agent_id, int(row.all_runs))
            for row in used
            if row.level == _BY_AGENT and row.agent_id
        ),
        unpriced_events=sum(int(row.unpriced or 0) for row in rows if row.level == _BY_DAY_AND_MODEL),
        first_day=rows[0].first_day,
        last_day=rows[0].last_day,
    )


def _model_of(row: _Row) -> ModelKey | None:
    return ModelKey(row.service or "", row.model) if row.model else None


def _ask(organization: Organization, filters: RunFilter, *, has_unfolded: bool) -> list[_Row]:
    """At least one row."""
    parameters: Parameters = {"organization": organization.pk}
    rows = cost_rows(
        cascade([filters.window], (MODEL_DAYS, USAGE_HOURS)),
        columns=_COLUMNS,
        condition=sql.SQL("true"),
        has_unfolded=has_unfolded,
        parameters=parameters,
    )
    statement = _SUMS.format(
        has_unfolded=HAS_UNFOLDED,
        days=table_of(MODEL_DAYS, has_unfolded=has_unfolded),
        chosen=filters.chosen(parameters),
        rows=rows,
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [_Row(*row) for row in cursor.fetchall()]
