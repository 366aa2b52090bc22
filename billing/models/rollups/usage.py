"""Usage by time, credential, model, agent and status."""

from django.db import models

from billing.models.rollups.base import Costs, DetailedCosts, dimension
from organizations.querysets import OrganizationScopedQuerySet


class UsageHourColumns(DetailedCosts):
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

    objects = OrganizationScopedQuerySet["UsageHourColumns"].as_manager()

    class Meta:
        abstract = True


class UsageHour(UsageHourColumns):
    pass


class LiveUsageHour(UsageHourColumns):
    class Meta:
        managed = False


class OrganizationHourColumns(Costs):
    """All usage by hour and status."""

    pk = models.CompositePrimaryKey("organization", "hour", "status", "archived")
    hour = models.DateTimeField()
    status = models.CharField(max_length=8)

    objects = OrganizationScopedQuerySet["OrganizationHourColumns"].as_manager()

    class Meta:
        abstract = True


class OrganizationHour(OrganizationHourColumns):
    pass


class LiveOrganizationHour(OrganizationHourColumns):
    class Meta:
        managed = False


class UsageDayColumns(Costs):
    pk = models.CompositePrimaryKey(
        "organization", "day", "credential_id", "capability", "service", "model", "status", "archived"
    )
    day = models.DateField()
    credential_id = models.BigIntegerField()
    capability = dimension()
    service = dimension()
    model = dimension()
    status = models.CharField(max_length=8)

    objects = OrganizationScopedQuerySet["UsageDayColumns"].as_manager()

    class Meta:
        abstract = True


class UsageDay(UsageDayColumns):
    pass


class LiveUsageDay(UsageDayColumns):
    class Meta:
        managed = False


class ModelDayColumns(Costs):
    pk = models.CompositePrimaryKey("organization", "day", "service", "model", "agent_id", "archived")
    day = models.DateField()
    service = dimension()
    model = dimension()
    agent_id = dimension()
    agent_name = dimension()

    objects = OrganizationScopedQuerySet["ModelDayColumns"].as_manager()

    class Meta:
        abstract = True


class ModelDay(ModelDayColumns):
    pass


class LiveModelDay(ModelDayColumns):
    class Meta:
        managed = False
