"""Rollups: sums of the ledger, by what people ask for. `billing.rollups.definitions` says how each is made.

Each rollup is a table and a view with the same columns. The table (`UsageHour`) has what has been folded; the view
(`LiveUsageHour`) adds the events of batches that are not folded yet, row by row, and is what reports read: whatever was
acknowledged before is in it. So a view may hold several rows for one key: always sum them up.

`archived` rows are what dropped events once added up to. `credential_id` 0 stands for no credential.
"""

from django.db import models

from costtrack.fields import total_field
from organizations.querysets import OrganizationScopedQuerySet


def _dimension() -> "models.CharField[str, str]":
    return models.CharField(max_length=255)


def _count() -> "models.BigIntegerField[int, int]":
    return models.BigIntegerField()


class RollupRow(models.Model):
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    archived = models.BooleanField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)


class Costs(RollupRow):
    """What nearly every question is about."""

    requests = _count()
    unpriced = _count()
    input_tokens = _count()
    output_tokens = _count()
    cache_read_tokens = _count()
    cache_creation_tokens = _count()
    token_cost_usd = total_field()
    compute_cost_usd = total_field()

    class Meta:
        abstract = True


class DetailedCosts(Costs):
    """With everything else that the ledger counts."""

    tool_calls = _count()
    turns = _count()
    cache_creation_1h_tokens = _count()
    reasoning_tokens = _count()
    audio_input_tokens = _count()
    audio_output_tokens = _count()
    tool_use_tokens = _count()
    tool_result_tokens = _count()
    duration_ms = models.DecimalField(max_digits=36, decimal_places=3)

    class Meta:
        abstract = True


class UsageHourColumns(DetailedCosts):
    pk = models.CompositePrimaryKey(
        "organization", "hour", "credential_id", "capability", "service", "model", "agent_id", "status", "archived"
    )
    hour = models.DateTimeField()
    credential_id = models.BigIntegerField()
    capability = _dimension()
    service = _dimension()
    model = _dimension()
    agent_id = _dimension()
    status = models.CharField(max_length=8)
    agent_name = _dimension()

    objects = OrganizationScopedQuerySet["UsageHourColumns"].as_manager()

    class Meta:
        abstract = True


class UsageHour(UsageHourColumns):
    pass


class LiveUsageHour(UsageHourColumns):
    class Meta:
        managed = False


class RunServiceDayColumns(Costs):
    """What belongs to runs, whichever run it is."""

    pk = models.CompositePrimaryKey("organization", "day", "service", "cost_group", "archived")
    day = models.DateField()
    service = _dimension()
    cost_group = _dimension()

    objects = OrganizationScopedQuerySet["RunServiceDayColumns"].as_manager()

    class Meta:
        abstract = True


class RunServiceDay(RunServiceDayColumns):
    pass


class LiveRunServiceDay(RunServiceDayColumns):
    class Meta:
        managed = False


class RunDayColumns(Costs):
    pk = models.CompositePrimaryKey("organization", "run_id", "day", "service", "cost_group", "archived")
    run_id = _dimension()
    day = models.DateField()
    service = _dimension()
    cost_group = _dimension()

    objects = OrganizationScopedQuerySet["RunDayColumns"].as_manager()

    class Meta:
        abstract = True


class RunDay(RunDayColumns):
    pass


class LiveRunDay(RunDayColumns):
    class Meta:
        managed = False


class SessionTotalColumns(DetailedCosts):
    """`summaries` above zero: the session is finalized, at `completed_at`."""

    pk = models.CompositePrimaryKey("organization", "session_id", "archived")
    session_id = _dimension()
    execution_id = _dimension()
    workflow_id = _dimension()
    phase_id = _dimension()
    workspace_id = _dimension()
    agent_id = _dimension()
    summaries = _count()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    objects = OrganizationScopedQuerySet["SessionTotalColumns"].as_manager()

    class Meta:
        abstract = True


class SessionTotal(SessionTotalColumns):
    class Meta:
        indexes = (
            models.Index(fields=("organization", "first_at", "session_id"), name="session_by_start"),
            models.Index(
                fields=("organization", "execution_id"),
                name="session_of_execution",
                condition=~models.Q(execution_id=""),
            ),
        )


class LiveSessionTotal(SessionTotalColumns):
    class Meta:
        managed = False


class SessionCostColumns(DetailedCosts):
    pk = models.CompositePrimaryKey("organization", "session_id", "phase_id", "service", "model", "tool", "archived")
    session_id = _dimension()
    phase_id = _dimension()
    service = _dimension()
    model = _dimension()
    tool = _dimension()

    objects = OrganizationScopedQuerySet["SessionCostColumns"].as_manager()

    class Meta:
        abstract = True


class SessionCost(SessionCostColumns):
    pass


class LiveSessionCost(SessionCostColumns):
    class Meta:
        managed = False


class GroupDayColumns(Costs):
    """A generation group's calls."""

    pk = models.CompositePrimaryKey(
        "organization", "group_id", "day", "service", "model", "agent_id", "user_ref", "archived"
    )
    group_id = _dimension()
    day = models.DateField()
    service = _dimension()
    model = _dimension()
    agent_id = _dimension()
    user_ref = _dimension()
    group_name = _dimension()
    agent_name = _dimension()
    session_id = _dimension()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = OrganizationScopedQuerySet["GroupDayColumns"].as_manager()

    class Meta:
        abstract = True


class GroupDay(GroupDayColumns):
    class Meta:
        indexes = (models.Index(fields=("organization", "day", "group_id"), name="group_by_day"),)


class LiveGroupDay(GroupDayColumns):
    class Meta:
        managed = False


class TagDayColumns(Costs):
    """A call with two tags counts under both."""

    pk = models.CompositePrimaryKey("organization", "day", "tag", "archived")
    day = models.DateField()
    tag = _dimension()

    objects = OrganizationScopedQuerySet["TagDayColumns"].as_manager()

    class Meta:
        abstract = True


class TagDay(TagDayColumns):
    pass


class LiveTagDay(TagDayColumns):
    class Meta:
        managed = False


class SpendDayColumns(Costs):
    pk = models.CompositePrimaryKey("organization", "day", "credential_id", "user_ref", "model", "archived")
    day = models.DateField()
    credential_id = models.BigIntegerField()
    user_ref = _dimension()
    model = _dimension()

    objects = OrganizationScopedQuerySet["SpendDayColumns"].as_manager()

    class Meta:
        abstract = True


class SpendDay(SpendDayColumns):
    pass


class LiveSpendDay(SpendDayColumns):
    class Meta:
        managed = False
