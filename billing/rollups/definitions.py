"""Definitions of the rollups: their dimensions, measures, and the rows of the ledger that they aggregate.

`billing.rollups.fold`, `rebuild` and `verify` work on all of them, and `billing.rollups.sql` composes their statements
and the views that reports read. A new rollup is an entry here, a model in `billing.models.rollups`, and a migration
(docs/rollups.md).

Expressions are SQL over one row `event` of the ledger. All time buckets are UTC (docs/decisions/020-time.md).
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from billing.models import rollups
from billing.models.ledger import COST_SQL
from billing.types import SCOPE_COLUMNS, LimitScope


class Merge(StrEnum):
    """How two values of a measure are combined."""

    SUM = "sum"
    FIRST = "min"
    LAST = "max"


@dataclass(frozen=True, slots=True)
class Measure:
    """A column that is aggregated. Texts are attributes of the key, and the greatest value is stored."""

    column: str
    expression: str
    merge: Merge = Merge.SUM


@dataclass(frozen=True, slots=True)
class Dimension:
    """A column that rows are grouped by. `finer_expression` is the expression over a row `finer` of a finer rollup;
    empty means its column of the same name."""

    column: str
    expression: str
    finer_expression: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Rollup:
    """A rollup, which equals only itself. `dimensions` are in the order of the table's key; `bucket` is the time bucket
    among them, if any.

    `coarser` rollups have some of its dimensions and measures, and the same events: folding aggregates the rows of this
    rollup instead of the events. (Verification and rebuild do not rely on that.) `joined` are joins with a row of the
    ledger, `finer_joined` the same joins with a row `finer`. `counted_in` is the column of
    `LedgerState` with the number of values of the first dimension, if that is stored. `is_read_by_key`: reports read
    few values of the first dimension, for which the ledger has an index.
    """

    name: str
    model: type[rollups.RollupRow]
    dimensions: tuple[Dimension, ...]
    measures: tuple[Measure, ...]
    bucket: str | None = None
    condition: str = "true"
    joined: str = ""
    finer_joined: str = ""
    coarser: "tuple[Rollup, ...]" = ()
    counted_in: str = ""
    is_read_by_key: bool = False

    @property
    def table(self) -> str:
        return self.model._meta.db_table  # noqa: SLF001 - documented for such use

    @property
    def view(self) -> str:
        return self.model.live()._meta.db_table  # noqa: SLF001


def _columns(*columns: str) -> tuple[Dimension, ...]:
    return tuple(Dimension(column, f"event.{column}") for column in columns)


def _sums(*columns: str) -> tuple[Measure, ...]:
    return tuple(Measure(column, f"event.{column}") for column in columns)


def _rare_sums(*columns: str) -> tuple[Measure, ...]:
    return tuple(Measure(column, f"coalesce(event.{column}, 0)") for column in columns)


def _attributes(*columns: str) -> tuple[Measure, ...]:
    return tuple(Measure(column, f"event.{column}", Merge.LAST) for column in columns)


HOUR = Dimension("hour", "date_trunc('hour', event.occurred_at, 'UTC')")
DAY = Dimension("day", "(event.occurred_at AT TIME ZONE 'UTC')::date")
DAY_OF_HOUR = replace(DAY, finer_expression="(finer.hour AT TIME ZONE 'UTC')::date")
CREDENTIAL = Dimension("credential_id", "coalesce(event.credential_id, 0)")
# The cost group of the /costs API: the event's own, else its model (docs/families/002-lumea.md).
COST_GROUP = Dimension("cost_group", "coalesce(nullif(event.cost_group, ''), event.model)")

COSTS = (
    *_sums("requests", "unpriced"),
    *_sums("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    Measure("token_cost_usd", "coalesce(event.token_cost_usd, 0)"),
    *_sums("compute_cost_usd"),
)
DETAILED_COSTS = (
    *COSTS,
    *_sums("tool_calls", "turns"),
    *_rare_sums("cache_creation_1h_tokens", "reasoning_tokens"),
    *_rare_sums("audio_input_tokens", "audio_output_tokens", "tool_use_tokens", "tool_result_tokens"),
    Measure("duration_ms", "coalesce(event.duration_ms, 0)"),
)
SPAN = (
    Measure("first_at", "event.occurred_at", Merge.FIRST),
    Measure("last_at", "event.occurred_at", Merge.LAST),
)

ORGANIZATION_HOURS = Rollup(
    "organization_hours",
    rollups.OrganizationHour,
    (HOUR, *_columns("status")),
    COSTS,
    bucket="hour",
)
USAGE_DAYS = Rollup(
    "usage_days",
    rollups.UsageDay,
    (DAY_OF_HOUR, CREDENTIAL, *_columns("capability", "service", "model", "status")),
    COSTS,
    bucket="day",
)
MODEL_DAYS = Rollup(
    "model_days",
    rollups.ModelDay,
    (DAY_OF_HOUR, *_columns("service", "model", "agent_id")),
    (*COSTS, *_attributes("agent_name")),
    bucket="day",
)
USAGE_HOURS = Rollup(
    "usage_hours",
    rollups.UsageHour,
    (HOUR, CREDENTIAL, *_columns("capability", "service", "model", "agent_id", "status")),
    (*DETAILED_COSTS, *_attributes("agent_name")),
    bucket="hour",
    coarser=(ORGANIZATION_HOURS, USAGE_DAYS, MODEL_DAYS),
)
RUN_SERVICE_DAYS = Rollup(
    "run_service_days",
    rollups.RunServiceDay,
    (DAY, *_columns("service"), COST_GROUP),
    COSTS,
    bucket="day",
    condition="event.run_id <> ''",
)
# The workflow of an event is that of its run, which a later event may name (`billing.rollups.workflows`). The event
# counts under the workflows of the run's ancestors as well.
_WORKFLOWS_OF_RUN = """JOIN billing_run AS run ON run.organization_id = {row}.organization_id
    AND run.run_id = {row}.run_id
CROSS JOIN LATERAL (
    SELECT run.folded_workflow_id AS workflow_id, false AS is_descendant
    WHERE run.folded_workflow_id <> ''
    UNION ALL
    SELECT ancestor.workflow_id, true
    FROM unnest(run.folded_ancestor_workflows) AS ancestor (workflow_id)
) AS counted"""
_WORKFLOW = (
    Dimension("workflow_id", "counted.workflow_id", "counted.workflow_id"),
    Dimension("is_descendant", "counted.is_descendant", "counted.is_descendant"),
)
WORKFLOW_TOTALS = Rollup(
    "workflow_totals",
    rollups.WorkflowTotal,
    (*_WORKFLOW, *_columns("service"), COST_GROUP),
    COSTS,
    condition="event.run_id <> ''",
    joined=_WORKFLOWS_OF_RUN.format(row="event"),
    finer_joined=_WORKFLOWS_OF_RUN.format(row="finer"),
)
WORKFLOW_DAYS = replace(
    WORKFLOW_TOTALS,
    name="workflow_days",
    model=rollups.WorkflowDay,
    dimensions=(*_WORKFLOW, DAY, *_columns("service"), COST_GROUP),
    bucket="day",
)
RUN_DAYS = Rollup(
    "run_days",
    rollups.RunDay,
    (*_columns("run_id"), DAY, *_columns("service"), COST_GROUP),
    (*COSTS, *SPAN),
    bucket="day",
    condition="event.run_id <> ''",
    coarser=(RUN_SERVICE_DAYS, WORKFLOW_DAYS, WORKFLOW_TOTALS),
    is_read_by_key=True,
)
SESSION_TOTALS = Rollup(
    "session_totals",
    rollups.Session,
    _columns("session_id"),
    (
        *DETAILED_COSTS,
        *_attributes("execution_id", "workflow_id", "phase_id", "workspace_id", "agent_id"),
        Measure("summaries", "(event.kind = 'session_summary')::int"),
        *SPAN,
        Measure("completed_at", "CASE WHEN event.kind = 'session_summary' THEN event.occurred_at END", Merge.LAST),
    ),
    condition="event.session_id <> ''",
    counted_in="sessions",
    is_read_by_key=True,
)
SESSION_MODELS = Rollup(
    "session_models",
    rollups.SessionModel,
    _columns("service", "model"),
    DETAILED_COSTS,
    condition="event.session_id <> ''",
)
SESSION_COSTS = Rollup(
    "session_costs",
    rollups.SessionCost,
    _columns("session_id", "phase_id", "service", "model", "tool"),
    DETAILED_COSTS,
    condition="event.session_id <> ''",
    coarser=(SESSION_MODELS,),
    is_read_by_key=True,
)
EXECUTION_TOTALS = Rollup(
    "execution_totals",
    rollups.Execution,
    _columns("execution_id"),
    (*COSTS, *SPAN),
    condition="event.execution_id <> '' AND event.session_id <> ''",
    counted_in="executions",
)
GROUP_TOTALS = Rollup(
    "group_totals",
    rollups.GenerationGroup,
    _columns("group_id"),
    (*COSTS, *_attributes("group_name", "session_id"), *SPAN),
    condition="event.group_id <> ''",
    counted_in="groups",
)
GROUP_DAYS = Rollup(
    "group_days",
    rollups.GroupDay,
    (*_columns("group_id"), DAY, *_columns("service", "model", "agent_id", "user_ref")),
    (*COSTS, *_attributes("group_name", "agent_name", "session_id"), *SPAN),
    bucket="day",
    condition="event.group_id <> ''",
    coarser=(GROUP_TOTALS,),
)
TAG_DAYS = Rollup(
    "tag_days",
    rollups.TagDay,
    (DAY, Dimension("tag", "label.tag")),
    (*COSTS, Measure("errors", "CASE WHEN event.status = 'failure' THEN event.requests ELSE 0 END")),
    bucket="day",
    # Events without tags count under an empty one, so that all usage is known.
    joined="CROSS JOIN LATERAL unnest(coalesce(nullif(event.tags, '{}'), ARRAY[''::varchar])) AS label (tag)",
)
USER_DAYS = Rollup("user_days", rollups.UserDay, (DAY_OF_HOUR, *_columns("user_ref")), COSTS, bucket="day")
USER_TOTALS = Rollup("user_totals", rollups.UserTotal, _columns("user_ref"), COSTS)
SPEND_DAYS = Rollup(
    "spend_days",
    rollups.SpendDay,
    (DAY_OF_HOUR, CREDENTIAL, *_columns("user_ref", "model")),
    COSTS,
    bucket="day",
)
DETAILS = (
    Measure("credential_id", CREDENTIAL.expression, Merge.LAST),
    *_attributes("capability", "provider", "service", "model", "agent_id", "environment"),
    *_attributes("user_ref", "team", "end_user"),
)
"""All dimensions of reports. They are attributes of a key: rows with one key have the same."""
DETAIL_KEY = Dimension(
    "key", f"md5(ROW({', '.join(detail.expression for detail in DETAILS)})::text)::uuid", finer_expression="finer.key"
)
DETAIL_DAYS = Rollup(
    "detail_days",
    rollups.DetailDay,
    (DAY_OF_HOUR, DETAIL_KEY, *_columns("status")),
    (*COSTS, *DETAILS),
    bucket="day",
)
DETAIL_HOURS = Rollup(
    "detail_hours",
    rollups.DetailHour,
    (HOUR, DETAIL_KEY, *_columns("status")),
    (*COSTS, *DETAILS),
    bucket="hour",
    coarser=(DETAIL_DAYS, SPEND_DAYS, USER_DAYS, USER_TOTALS),
)
CUSTOMER_DAYS = Rollup(
    "customer_days",
    rollups.CustomerDay,
    (DAY, *_columns("end_user"), CREDENTIAL, *_columns("model")),
    COSTS,
    bucket="day",
    condition="event.end_user <> ''",
)

TOKENS_SQL = "event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens"
# The amount in the unit of the scope: US dollars, or that of a limit with rows of its own.
AMOUNT_SQL = f"billing_in_unit(event_scope.unit, {COST_SQL}, {TOKENS_SQL}, event.requests)"
SCOPE_COSTS = (
    *_sums("requests", "unpriced"),
    Measure("cost_usd", AMOUNT_SQL),
    Measure("charged_usd", f"greatest({AMOUNT_SQL}, 0)"),
    Measure("last_received_at", "event.received_at", Merge.LAST),
)


def _text(column: str) -> str:
    return f"coalesce(event.{column}::text, '')" if column == "credential_id" else f"event.{column}"


# The scopes of an event with their values. The live views contain this expression with the same aliases.
_SHARED = (
    *(LimitScope.CREDENTIAL, LimitScope.USER, LimitScope.TEAM, LimitScope.MODEL),
    *(LimitScope.WORKFLOW, LimitScope.RUN, LimitScope.SESSION),
)
_SCOPE_VALUES = ",\n        ".join(f"('{scope}', {_text(SCOPE_COLUMNS[scope])})" for scope in _SHARED)
_DIMENSIONS = ",\n            ".join(f"event.{column}" for column in SCOPE_COLUMNS.values())
_OF_LIMITS = f"""SELECT scope, value, unit
    FROM billing_limit_values(
        event.organization_id,
        billing_dimensions(
            {_DIMENSIONS}
        ),
        event.tags
    )"""  # noqa: S608 - constants
SCOPES_OF_EVENT = f"""CROSS JOIN LATERAL (
    SELECT 'organization' AS scope, '' AS value, 'usd' AS unit
    UNION ALL
    SELECT scope, value, 'usd'
    FROM (VALUES
        {_SCOPE_VALUES}
    ) AS named (scope, value)
    WHERE value <> ''
    UNION ALL
    SELECT 'tag', tag, 'usd'
    FROM unnest(event.tags) AS label (tag)
    WHERE tag <> ''
    UNION ALL
    {_OF_LIMITS}
) AS event_scope"""  # noqa: S608 - constants
SCOPE_TOTALS = Rollup(
    "scope_totals",
    rollups.ScopeTotal,
    (Dimension("value", "event_scope.value"), Dimension("scope", "event_scope.scope")),
    SCOPE_COSTS,
    joined=SCOPES_OF_EVENT,
)
SCOPE_HOURS = Rollup(
    "scope_hours",
    rollups.ScopeHour,
    (Dimension("scope", "event_scope.scope"), Dimension("value", "event_scope.value"), HOUR),
    SCOPE_COSTS,
    bucket="hour",
    joined=SCOPES_OF_EVENT,
    coarser=(SCOPE_TOTALS,),
)

# The rows of one limit that has rows of its own.
LIMIT_SCOPES = f"""CROSS JOIN LATERAL (
    {_OF_LIMITS}
    WHERE scope = %(scope)s
) AS event_scope"""
LIMIT_TOTALS = replace(SCOPE_TOTALS, joined=LIMIT_SCOPES)
LIMIT_HOURS = replace(SCOPE_HOURS, joined=LIMIT_SCOPES, coarser=())

# The rollups that are folded from events, in this order.
FINEST = (
    USAGE_HOURS,
    RUN_DAYS,
    SESSION_TOTALS,
    SESSION_COSTS,
    EXECUTION_TOTALS,
    GROUP_DAYS,
    TAG_DAYS,
    DETAIL_HOURS,
    CUSTOMER_DAYS,
    SCOPE_HOURS,
)
ROLLUPS = tuple(rollup for finest in FINEST for rollup in (finest, *finest.coarser))
BY_NAME = {rollup.name: rollup for rollup in ROLLUPS}
