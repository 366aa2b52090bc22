"""Rollups of sessions and executions."""

from django.db import models

from billing.models.rollups.base import COST, Costs, DetailedCosts, count, dimension
from organizations.querysets import OrganizationScopedQuerySet


class SessionColumns(DetailedCosts):
    """A session. If `summaries` is above zero, the session was completed at `completed_at`."""

    pk = models.CompositePrimaryKey("organization", "session_id", "archived")
    session_id = dimension()
    execution_id = dimension()
    workflow_id = dimension()
    phase_id = dimension()
    workspace_id = dimension()
    agent_id = dimension()
    summaries = count()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    objects = OrganizationScopedQuerySet["SessionColumns"].as_manager()

    class Meta:
        abstract = True


class Session(SessionColumns):
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


class LiveSession(SessionColumns):
    class Meta:
        managed = False


class SessionCostColumns(DetailedCosts):
    pk = models.CompositePrimaryKey("organization", "session_id", "phase_id", "service", "model", "tool", "archived")
    session_id = dimension()
    phase_id = dimension()
    service = dimension()
    model = dimension()
    tool = dimension()

    objects = OrganizationScopedQuerySet["SessionCostColumns"].as_manager()

    class Meta:
        abstract = True


class SessionCost(SessionCostColumns):
    pass


class LiveSessionCost(SessionCostColumns):
    class Meta:
        managed = False


class SessionModelColumns(DetailedCosts):
    """The cost of all sessions by service and model."""

    pk = models.CompositePrimaryKey("organization", "service", "model", "archived")
    service = dimension()
    model = dimension()

    objects = OrganizationScopedQuerySet["SessionModelColumns"].as_manager()

    class Meta:
        abstract = True


class SessionModel(SessionModelColumns):
    pass


class LiveSessionModel(SessionModelColumns):
    class Meta:
        managed = False


class ExecutionColumns(Costs):
    """The events that name an execution: which executions exist, and since when. The cost of an execution is that of
    its sessions."""

    pk = models.CompositePrimaryKey("organization", "execution_id", "archived")
    execution_id = dimension()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = OrganizationScopedQuerySet["ExecutionColumns"].as_manager()

    class Meta:
        abstract = True


class Execution(ExecutionColumns):
    class Meta:
        indexes = (models.Index(fields=("organization", "-first_at", "execution_id"), name="execution_by_start"),)


class LiveExecution(ExecutionColumns):
    class Meta:
        managed = False
