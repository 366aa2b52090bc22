"""Rollups: aggregations of the ledger, defined in `billing.rollups.definitions`.

Each rollup is a table and a live view with the same columns. The table has the folded events: `TagDay`. The live view
adds each unfolded event as a row, and is what reports read, so they include every acknowledged event: `TagDay.live()`.
A view may have several rows for one key: always aggregate them.

`archived` rows are the sums of dropped events. `credential_id` 0 means no credential.

`Session`, `Execution` and `GenerationGroup` are entities as well: a row for each one that events name. The admin takes
no composite primary key, so Django's is their id, which is unique only within an organization and `archived`. Always
filter by organization too.
"""

from typing import Any, ClassVar, Self, TypeVar, cast

from django.db import models
from django.db.models.base import ModelBase

from costtrack.fields import total_field
from organizations.tenant_models import TenantModel

Row = TypeVar("Row", bound="RollupRow")


def dimension() -> "models.CharField[str, str]":
    return models.CharField(max_length=255)


def count() -> "models.BigIntegerField[int, int]":
    return models.BigIntegerField()


class RollupRow(TenantModel):
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    archived = models.BooleanField()

    live_model: ClassVar["type[RollupRow]"]

    class Meta:
        abstract = True

    @classmethod
    def live(cls) -> type[Self]:
        """Return the model of the live view."""
        return cast("type[Self]", cls.live_model)


def with_live_view(model: type[Row]) -> type[Row]:
    """Also create the model of a rollup's live view, which is named after the rollup: `LiveTagDay`,
    `billing_livetagday`.

    The model has the same abstract base, and copies of the rollup's additional fields.
    """
    base = cast("type[RollupRow]", model.__base__)
    inherited = {field.name for field in _fields(base)}
    attributes: dict[str, Any] = {
        "__module__": model.__module__,
        "Meta": type("Meta", (), {"managed": False}),
        **{field.name: field.clone() for field in _fields(model) if field.name not in inherited},
    }
    model.live_model = cast("type[RollupRow]", ModelBase(f"Live{model.__name__}", (base,), attributes))
    return model


def _fields(model: type[RollupRow]) -> "list[models.Field[Any, Any]]":
    """Return the columns and the composite primary key."""
    meta = model._meta  # noqa: SLF001 - documented for such use
    return [*meta.private_fields, *meta.local_fields]


class Costs(RollupRow):
    """The sums that nearly every report needs."""

    requests = count()
    unpriced = count()
    input_tokens = count()
    output_tokens = count()
    cache_read_tokens = count()
    cache_creation_tokens = count()
    token_cost_usd = total_field()
    compute_cost_usd = total_field()

    class Meta:
        abstract = True


class DetailedCosts(Costs):
    """All other sums of the ledger."""

    tool_calls = count()
    turns = count()
    cache_creation_1h_tokens = count()
    reasoning_tokens = count()
    audio_input_tokens = count()
    audio_output_tokens = count()
    tool_use_tokens = count()
    tool_result_tokens = count()
    duration_ms = models.DecimalField(max_digits=36, decimal_places=3)

    class Meta:
        abstract = True


# Sort expressions. Indexes and queries must use the same ones.
COST = models.F("token_cost_usd") + models.F("compute_cost_usd")
TOKENS = (
    models.F("input_tokens")
    + models.F("cache_read_tokens")
    + models.F("cache_creation_tokens")
    + models.F("output_tokens")
)


@with_live_view
class UsageHour(DetailedCosts):
    pk = models.CompositePrimaryKey(
        "organization", "hour", "credential_id", "capability", "service", "model", "agent_id", "status", "archived"
    )
    hour = models.DateTimeField()
    credential_id = models.BigIntegerField()
    capability = dimension()
    service = dimension()
    model = dimension()
    agent_id = dimension()
    status = models.CharField(max_length=8)
    agent_name = dimension()


@with_live_view
class OrganizationHour(Costs):
    """All usage by hour and status."""

    pk = models.CompositePrimaryKey("organization", "hour", "status", "archived")
    hour = models.DateTimeField()
    status = models.CharField(max_length=8)


@with_live_view
class UsageDay(Costs):
    pk = models.CompositePrimaryKey(
        "organization", "day", "credential_id", "capability", "service", "model", "status", "archived"
    )
    day = models.DateField()
    credential_id = models.BigIntegerField()
    capability = dimension()
    service = dimension()
    model = dimension()
    status = models.CharField(max_length=8)


@with_live_view
class ModelDay(Costs):
    pk = models.CompositePrimaryKey("organization", "day", "service", "model", "agent_id", "archived")
    day = models.DateField()
    service = dimension()
    model = dimension()
    agent_id = dimension()
    agent_name = dimension()


@with_live_view
class RunServiceDay(Costs):
    """The cost of all runs by day, service and cost group."""

    pk = models.CompositePrimaryKey("organization", "day", "service", "cost_group", "archived")
    day = models.DateField()
    service = dimension()
    cost_group = dimension()


@with_live_view
class WorkflowDay(Costs):
    """The cost of the runs of each workflow by day, service and cost group. Rows with `is_descendant` are of runs of
    other workflows, or of none, that descend from a run of the workflow."""

    pk = models.CompositePrimaryKey(
        "organization", "workflow_id", "is_descendant", "day", "service", "cost_group", "archived"
    )
    workflow_id = dimension()
    is_descendant = models.BooleanField()
    day = models.DateField()
    service = dimension()
    cost_group = dimension()


@with_live_view
class WorkflowTotal(Costs):
    """The same over all time."""

    pk = models.CompositePrimaryKey("organization", "workflow_id", "is_descendant", "service", "cost_group", "archived")
    workflow_id = dimension()
    is_descendant = models.BooleanField()
    service = dimension()
    cost_group = dimension()


@with_live_view
class RunDay(Costs):
    """`first_at` and `last_at` are NULL in rows that were archived before these columns existed."""

    pk = models.CompositePrimaryKey("organization", "run_id", "day", "service", "cost_group", "archived")
    run_id = dimension()
    day = models.DateField()
    service = dimension()
    cost_group = dimension()
    first_at = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True)


@with_live_view
class Session(DetailedCosts):
    """A session. If `summaries` is above zero, the session was completed at `completed_at`."""

    session_id = models.CharField(max_length=255, primary_key=True)
    execution_id = dimension()
    workflow_id = dimension()
    phase_id = dimension()
    workspace_id = dimension()
    agent_id = dimension()
    summaries = count()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (
            models.Index(fields=("organization", "-first_at", "session_id"), name="session_newest"),
            models.Index(models.F("organization"), COST.desc(), models.F("session_id"), name="session_by_cost"),
            models.Index(
                fields=("organization", "execution_id"),
                name="session_of_execution",
                condition=~models.Q(execution_id=""),
            ),
        )


@with_live_view
class SessionCost(DetailedCosts):
    pk = models.CompositePrimaryKey("organization", "session_id", "phase_id", "service", "model", "tool", "archived")
    session_id = dimension()
    phase_id = dimension()
    service = dimension()
    model = dimension()
    tool = dimension()


@with_live_view
class SessionModel(DetailedCosts):
    """The cost of all sessions by service and model."""

    pk = models.CompositePrimaryKey("organization", "service", "model", "archived")
    service = dimension()
    model = dimension()


@with_live_view
class Execution(Costs):
    """The events that name an execution: which executions exist, and since when. The cost of an execution is that of
    its sessions."""

    execution_id = models.CharField(max_length=255, primary_key=True)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("organization", "-first_at", "execution_id"), name="execution_by_start"),)


@with_live_view
class GroupDay(Costs):
    """A generation group by day, model, agent and user."""

    pk = models.CompositePrimaryKey(
        "organization", "group_id", "day", "service", "model", "agent_id", "user_ref", "archived"
    )
    group_id = dimension()
    day = models.DateField()
    service = dimension()
    model = dimension()
    agent_id = dimension()
    user_ref = dimension()
    group_name = dimension()
    agent_name = dimension()
    session_id = dimension()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("organization", "day", "group_id"), name="group_by_day"),)


@with_live_view
class GenerationGroup(Costs):
    """A generation group over all time."""

    group_id = models.CharField(max_length=255, primary_key=True)
    group_name = dimension()
    session_id = dimension()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(
                models.F("organization"), models.F("last_at").desc(), models.F("group_id"), name="group_by_time"
            ),
            models.Index(models.F("organization"), COST.desc(), models.F("group_id"), name="group_by_cost"),
            models.Index(models.F("organization"), TOKENS.desc(), models.F("group_id"), name="group_by_tokens"),
            models.Index(
                models.F("organization"), models.F("requests").desc(), models.F("group_id"), name="group_by_runs"
            ),
        )


@with_live_view
class TagDay(Costs):
    """A call with two tags counts under both, one without tags under an empty text. `errors` are failed requests."""

    pk = models.CompositePrimaryKey("organization", "day", "tag", "archived")
    day = models.DateField()
    tag = dimension()
    errors = models.BigIntegerField(default=0, db_default=0)


class DetailCosts(Costs):
    """Usage by every dimension of reports (`billing.reports.usage.dimensions`).

    `key` is the digest of the dimensions: an index of all of them would exceed PostgreSQL's maximum size.
    """

    key = models.UUIDField()
    status = models.CharField(max_length=8)
    credential_id = models.BigIntegerField()
    capability = dimension()
    provider = dimension()
    service = dimension()
    model = dimension()
    agent_id = dimension()
    environment = dimension()
    user_ref = dimension()
    team = dimension()
    end_user = dimension()

    class Meta:
        abstract = True


@with_live_view
class DetailHour(DetailCosts):
    pk = models.CompositePrimaryKey("organization", "hour", "key", "status", "archived")
    hour = models.DateTimeField()


@with_live_view
class DetailDay(DetailCosts):
    pk = models.CompositePrimaryKey("organization", "day", "key", "status", "archived")
    day = models.DateField()


@with_live_view
class SpendDay(Costs):
    pk = models.CompositePrimaryKey("organization", "day", "credential_id", "user_ref", "model", "archived")
    day = models.DateField()
    credential_id = models.BigIntegerField()
    user_ref = dimension()
    model = dimension()


@with_live_view
class UserDay(Costs):
    pk = models.CompositePrimaryKey("organization", "day", "user_ref", "archived")
    day = models.DateField()
    user_ref = dimension()


@with_live_view
class UserTotal(Costs):
    pk = models.CompositePrimaryKey("organization", "user_ref", "archived")
    user_ref = dimension()


@with_live_view
class CustomerDay(Costs):
    """Usage of the callers' own customers."""

    pk = models.CompositePrimaryKey("organization", "day", "end_user", "credential_id", "model", "archived")
    day = models.DateField()
    end_user = dimension()
    credential_id = models.BigIntegerField()
    model = dimension()


class ScopeCosts(RollupRow):
    """`scope` is one of `billing.types.LimitScope`; `value` is the value of the scope (the id of a credential), and
    empty for the organization. A call counts under each of its scopes, and under each of its tags. The rows of a limit
    with several conditions or another unit have its id as `scope` (`#12`) and amounts in its unit.

    `charged_usd` excludes negative amounts, so it is an upper bound of the cost of any part of the hour.
    """

    scope = models.CharField(max_length=16)
    value = dimension()
    requests = count()
    unpriced = count()
    cost_usd = total_field()
    charged_usd = total_field()
    last_received_at = models.DateTimeField()

    class Meta:
        abstract = True


@with_live_view
class ScopeHour(ScopeCosts):
    pk = models.CompositePrimaryKey("organization", "scope", "value", "hour", "archived")
    hour = models.DateTimeField()


@with_live_view
class ScopeTotal(ScopeCosts):
    """Over all time."""

    pk = models.CompositePrimaryKey("organization", "value", "scope", "archived")

    class Meta:
        indexes = (models.Index(fields=("organization", "scope", "last_received_at"), name="scope_by_receipt"),)
