"""The rollups, as data: what each is grouped by, what it adds up, and which rows of the ledger it is made of.

One engine folds, rebuilds and verifies them all (`billing.rollups.fold`, `rebuild`, `verify`) and makes the view of
each that reports read (`billing.rollups.sql`). A new one is an entry here, its two models in `billing.models.rollups`,
and a migration.

Expressions are SQL over one row `event` of the ledger. All time buckets are UTC (docs/decisions/020-time.md).
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from billing import models


class Merge(StrEnum):
    """How two values of a measure become one."""

    SUM = "sum"
    FIRST = "min"
    LAST = "max"


@dataclass(frozen=True, slots=True)
class Measure:
    """A column that is aggregated. Texts are attributes of what the row is about: the greatest one that was told."""

    column: str
    expression: str
    merge: Merge = Merge.SUM


@dataclass(frozen=True, slots=True)
class Dimension:
    """A column that rows are grouped by. `of_finer` is the same over a row `finer` of a finer rollup; empty: its column
    of that name."""

    column: str
    expression: str
    of_finer: str = ""


@dataclass(frozen=True, slots=True)
class Rollup:
    """`dimensions` are in the order of the table's key. `bucket` is the time bucket among them, if there is one.

    `coarser` ones have a part of this one's dimensions and measures, and are made of the same events: folding adds this
    one's rows up further instead of the events. (Verifying and rebuilding do not rely on that.)
    """

    name: str
    model: type[models.RollupRow]
    live: type[models.RollupRow]
    dimensions: tuple[Dimension, ...]
    measures: tuple[Measure, ...]
    bucket: str | None = None
    condition: str = "true"
    joined: str = ""
    coarser: "tuple[Rollup, ...]" = ()

    @property
    def table(self) -> str:
        return self.model._meta.db_table  # noqa: SLF001 - documented for such use

    @property
    def view(self) -> str:
        return self.live._meta.db_table  # noqa: SLF001


def _is(*columns: str) -> tuple[Dimension, ...]:
    return tuple(Dimension(column, f"event.{column}") for column in columns)


def _adds(*columns: str) -> tuple[Measure, ...]:
    return tuple(Measure(column, f"event.{column}") for column in columns)


def _told(*columns: str) -> tuple[Measure, ...]:
    return tuple(Measure(column, f"event.{column}", Merge.LAST) for column in columns)


HOUR = Dimension("hour", "date_trunc('hour', event.occurred_at, 'UTC')")
DAY = Dimension("day", "(event.occurred_at AT TIME ZONE 'UTC')::date")
DAY_OF_HOUR = replace(DAY, of_finer="(finer.hour AT TIME ZONE 'UTC')::date")
CREDENTIAL = Dimension("credential_id", "coalesce(event.credential_id, 0)")
# The cost group of the /costs API: the event's own, else its model (docs/families/002-lumea.md).
COST_GROUP = Dimension("cost_group", "coalesce(nullif(event.cost_group, ''), event.model)")

COSTS = (
    *_adds("requests", "unpriced"),
    *_adds("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    Measure("token_cost_usd", "coalesce(event.token_cost_usd, 0)"),
    *_adds("compute_cost_usd"),
)
DETAILED_COSTS = (
    *COSTS,
    *_adds("tool_calls", "turns", "cache_creation_1h_tokens", "reasoning_tokens"),
    *_adds("audio_input_tokens", "audio_output_tokens", "tool_use_tokens", "tool_result_tokens"),
    Measure("duration_ms", "coalesce(event.duration_ms, 0)"),
)
SPAN = (
    Measure("first_at", "event.occurred_at", Merge.FIRST),
    Measure("last_at", "event.occurred_at", Merge.LAST),
)

ORGANIZATION_HOURS = Rollup(
    "organization_hours",
    models.OrganizationHour,
    models.LiveOrganizationHour,
    (HOUR, *_is("status")),
    COSTS,
    bucket="hour",
)
USAGE_DAYS = Rollup(
    "usage_days",
    models.UsageDay,
    models.LiveUsageDay,
    (DAY_OF_HOUR, CREDENTIAL, *_is("capability", "service", "model", "status")),
    COSTS,
    bucket="day",
)
MODEL_DAYS = Rollup(
    "model_days",
    models.ModelDay,
    models.LiveModelDay,
    (DAY_OF_HOUR, *_is("service", "model", "agent_id")),
    (*COSTS, *_told("agent_name")),
    bucket="day",
)
USAGE_HOURS = Rollup(
    "usage_hours",
    models.UsageHour,
    models.LiveUsageHour,
    (HOUR, CREDENTIAL, *_is("capability", "service", "model", "agent_id", "status")),
    (*DETAILED_COSTS, *_told("agent_name")),
    bucket="hour",
    coarser=(ORGANIZATION_HOURS, USAGE_DAYS, MODEL_DAYS),
)
RUN_SERVICE_DAYS = Rollup(
    "run_service_days",
    models.RunServiceDay,
    models.LiveRunServiceDay,
    (DAY, *_is("service"), COST_GROUP),
    COSTS,
    bucket="day",
    condition="event.run_id <> ''",
)
RUN_DAYS = Rollup(
    "run_days",
    models.RunDay,
    models.LiveRunDay,
    (*_is("run_id"), DAY, *_is("service"), COST_GROUP),
    COSTS,
    bucket="day",
    condition="event.run_id <> ''",
    coarser=(RUN_SERVICE_DAYS,),
)
SESSION_TOTALS = Rollup(
    "session_totals",
    models.SessionTotal,
    models.LiveSessionTotal,
    _is("session_id"),
    (
        *DETAILED_COSTS,
        *_told("execution_id", "workflow_id", "phase_id", "workspace_id", "agent_id"),
        Measure("summaries", "(event.kind = 'session_summary')::int"),
        *SPAN,
        Measure("completed_at", "CASE WHEN event.kind = 'session_summary' THEN event.occurred_at END", Merge.LAST),
    ),
    condition="event.session_id <> ''",
)
SESSION_MODELS = Rollup(
    "session_models",
    models.SessionModel,
    models.LiveSessionModel,
    _is("service", "model"),
    DETAILED_COSTS,
    condition="event.session_id <> ''",
)
SESSION_COSTS = Rollup(
    "session_costs",
    models.SessionCost,
    models.LiveSessionCost,
    _is("session_id", "phase_id", "service", "model", "tool"),
    DETAILED_COSTS,
    condition="event.session_id <> ''",
    coarser=(SESSION_MODELS,),
)
EXECUTION_TOTALS = Rollup(
    "execution_totals",
    models.ExecutionTotal,
    models.LiveExecutionTotal,
    _is("execution_id"),
    (*COSTS, *SPAN),
    condition="event.execution_id <> '' AND event.session_id <> ''",
)
GROUP_TOTALS = Rollup(
    "group_totals",
    models.GroupTotal,
    models.LiveGroupTotal,
    _is("group_id"),
    (*COSTS, *_told("group_name", "session_id"), *SPAN),
    condition="event.group_id <> ''",
)
GROUP_DAYS = Rollup(
    "group_days",
    models.GroupDay,
    models.LiveGroupDay,
    (*_is("group_id"), DAY, *_is("service", "model", "agent_id", "user_ref")),
    (*COSTS, *_told("group_name", "agent_name", "session_id"), *SPAN),
    bucket="day",
    condition="event.group_id <> ''",
    coarser=(GROUP_TOTALS,),
)
TAG_DAYS = Rollup(
    "tag_days",
    models.TagDay,
    models.LiveTagDay,
    (DAY, Dimension("tag", "label.tag")),
    COSTS,
    bucket="day",
    joined="CROSS JOIN LATERAL unnest(event.tags) AS label (tag)",
)
USER_DAYS = Rollup("user_days", models.UserDay, models.LiveUserDay, (DAY, *_is("user_ref")), COSTS, bucket="day")
USER_TOTALS = Rollup("user_totals", models.UserTotal, models.LiveUserTotal, _is("user_ref"), COSTS)
SPEND_DAYS = Rollup(
    "spend_days",
    models.SpendDay,
    models.LiveSpendDay,
    (DAY, CREDENTIAL, *_is("user_ref", "model")),
    COSTS,
    bucket="day",
    coarser=(USER_DAYS, USER_TOTALS),
)
CUSTOMER_DAYS = Rollup(
    "customer_days",
    models.CustomerDay,
    models.LiveCustomerDay,
    (DAY, *_is("end_user"), CREDENTIAL, *_is("model")),
    COSTS,
    bucket="day",
    condition="event.end_user <> ''",
)

SCOPE_COSTS = (
    *_adds("requests", "unpriced"),
    Measure("cost_usd", "coalesce(event.token_cost_usd, 0) + event.compute_cost_usd"),
    Measure("charged_usd", "greatest(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd, 0)"),
    Measure("last_received_at", "event.received_at", Merge.LAST),
)
# Of an event, each scope that a spend limit can have (`billing.types.LimitScope`), with its value.
SCOPES_OF_EVENT = """CROSS JOIN LATERAL (
    SELECT 'organization' AS scope, '' AS value
    UNION ALL SELECT scope, value FROM (VALUES
        ('credential', coalesce(event.credential_id::text, '')), ('user', event.user_ref), ('model', event.model),
        ('workflow', event.workflow_id), ('run', event.run_id), ('session', event.session_id)
    ) AS told (scope, value) WHERE value <> ''
    UNION ALL SELECT 'tag', tag FROM unnest(event.tags) AS label (tag) WHERE tag <> ''
) AS part"""
SCOPE_TOTALS = Rollup(
    "scope_totals",
    models.ScopeTotal,
    models.LiveScopeTotal,
    (Dimension("value", "part.value"), Dimension("scope", "part.scope")),
    SCOPE_COSTS,
    joined=SCOPES_OF_EVENT,
)
SCOPE_HOURS = Rollup(
    "scope_hours",
    models.ScopeHour,
    models.LiveScopeHour,
    (Dimension("scope", "part.scope"), Dimension("value", "part.value"), HOUR),
    SCOPE_COSTS,
    bucket="hour",
    joined=SCOPES_OF_EVENT,
    coarser=(SCOPE_TOTALS,),
)

# What folding computes from events, in this order.
FINEST = (
    USAGE_HOURS,
    RUN_DAYS,
    SESSION_TOTALS,
    SESSION_COSTS,
    EXECUTION_TOTALS,
    GROUP_DAYS,
    TAG_DAYS,
    SPEND_DAYS,
    CUSTOMER_DAYS,
    SCOPE_HOURS,
)
ROLLUPS = tuple(rollup for finest in FINEST for rollup in (finest, *finest.coarser))
BY_NAME = {rollup.name: rollup for rollup in ROLLUPS}
