"""Rollups of workflow runs."""

from django.db import models

from billing.models.rollups.base import Costs, dimension
from organizations.querysets import OrganizationScopedQuerySet


class RunServiceDayColumns(Costs):
    """The cost of all runs by day, service and cost group."""

    pk = models.CompositePrimaryKey("organization", "day", "service", "cost_group", "archived")
    day = models.DateField()
    service = dimension()
    cost_group = dimension()

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
    run_id = dimension()
    day = models.DateField()
    service = dimension()
    cost_group = dimension()

    objects = OrganizationScopedQuerySet["RunDayColumns"].as_manager()

    class Meta:
        abstract = True


class RunDay(RunDayColumns):
    pass


class LiveRunDay(RunDayColumns):
    class Meta:
        managed = False
