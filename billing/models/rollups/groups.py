"""Rollups of generation groups."""

from django.db import models

from billing.models.rollups.base import COST, TOKENS, Costs, dimension
from organizations.querysets import OrganizationScopedQuerySet


class GroupDayColumns(Costs):
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

    objects = OrganizationScopedQuerySet["GroupDayColumns"].as_manager()

    class Meta:
        abstract = True


class GroupDay(GroupDayColumns):
    class Meta:
        indexes = (models.Index(fields=("organization", "day", "group_id"), name="group_by_day"),)


class LiveGroupDay(GroupDayColumns):
    class Meta:
        managed = False


class GenerationGroupColumns(Costs):
    """A generation group over all time."""

    pk = models.CompositePrimaryKey("organization", "group_id", "archived")
    group_id = dimension()
    group_name = dimension()
    session_id = dimension()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = OrganizationScopedQuerySet["GenerationGroupColumns"].as_manager()

    class Meta:
        abstract = True


class GenerationGroup(GenerationGroupColumns):
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


class LiveGenerationGroup(GenerationGroupColumns):
    class Meta:
        managed = False
