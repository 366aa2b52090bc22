"""Cost of model calls by day and model (document 000). Read-only.

Days are UTC, or those of a calendar. Amounts include tool calls and compute, which are not runs. Rows with neither runs
nor cost (everything was voided) are left out. `billing.reports.rollup_query` chooses where a window is read from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from psycopg import sql

from billing.reports.pricing.run_filter import ModelKey, RunFilter
from billing.reports.rollup_query import COST_COLUMNS, RollupQuery
from billing.reports.rollup_reader import RollupReader
from billing.rollups.definitions import MODEL_DAYS, USAGE_HOURS
from costtrack.calendar import Calendar, Window
from costtrack.dates import UTC_CALENDAR
from costtrack.money import ZERO


@dataclass(frozen=True, slots=True)
class DailyCost:
    """Runs and cost of one day and model. `model` is None if the events name none. The cost excludes `unpriced`
    events."""

    day: date
    model: ModelKey | None
    runs: int
    cost_usd: Decimal
    unpriced: int = 0


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
    """The report. `daily` and `unpriced_events` respect the filters; `models` and `agents` are all of the window, as
    filter options; `first_day` and `last_day` are of all usage of the organization."""

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
    """One grouping set row; `level` says which. Without usage there is one row with only the first two fields set."""

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


# Values of grouping(day, model, agent_id): a bit is set for each column that is not grouped by.
_BY_DAY_AND_MODEL, _BY_MODEL, _BY_AGENT = 0b001, 0b101, 0b110

# The sums by three grouping sets. Without a model the service is ignored.
_SUMS = sql.SQL("""
SELECT (SELECT min(day) FROM {days} AS first WHERE organization_id = %(organization)s),
    (SELECT max(day) FROM {days} AS last WHERE organization_id = %(organization)s), sums.*
FROM (VALUES (1)) AS once LEFT JOIN (
    SELECT grouping(day, model, agent_id), day, service, model, agent_id, max(agent_name),
        sum(requests), sum(amount), sum(requests) FILTER (WHERE is_chosen), sum(amount) FILTER (WHERE is_chosen),
        sum(unpriced) FILTER (WHERE is_chosen)
    FROM (
        SELECT (at AT TIME ZONE {zone})::date AS day, CASE model WHEN '' THEN '' ELSE service END AS service, model,
            agent_id, agent_name, requests, unpriced, token_cost_usd + compute_cost_usd AS amount,
            {chosen} AS is_chosen
        FROM ({rows}) AS cost
    ) AS run
    GROUP BY GROUPING SETS ((day, service, model), (service, model), (agent_id))
) AS sums ON true
""")
_COLUMNS = ("service", "model", "agent_id", "agent_name", *COST_COLUMNS)


def pricing(
    *, reader: RollupReader, filters: RunFilter, calendar: Calendar = UTC_CALENDAR, windows: Sequence[Window] = ()
) -> Pricing:
    """Return cost by day and model, the filter options, and the days with usage. `windows` divide that of the filters
    into days of the calendar, or into months, which then may have usage under another of their days."""
    query = RollupQuery((MODEL_DAYS, USAGE_HOURS), tuple(windows) or (filters.window,))

    def compose(reader: RollupReader) -> sql.Composable:
        return _SUMS.format(
            zone=reader.bind(calendar.zone.key),
            days=reader.table(MODEL_DAYS),
            chosen=filters.condition(reader.parameters),
            rows=query.rows(reader, _COLUMNS),
        )

    rows = [_Row(*row) for row in reader.read(compose)]
    daily = [
        DailyCost(row.day, _model_key(row), int(row.runs or 0), row.cost or ZERO, int(row.unpriced or 0))
        for row in rows
        if row.level == _BY_DAY_AND_MODEL and row.day is not None and (row.runs or row.cost)
    ]
    used = [row for row in rows if row.level is not None and (row.all_runs or row.all_cost)]
    by_model = ((row, _model_key(row)) for row in used if row.level == _BY_MODEL)
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


def _model_key(row: _Row) -> ModelKey | None:
    return ModelKey(row.service or "", row.model) if row.model else None
