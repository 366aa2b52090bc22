"""The cost of each scope of spend limits: organization, credential, user, tag, model, workflow, run and session."""

from django.db import models

from billing.models.rollups.base import RollupRow, count, dimension
from costtrack.fields import total_field
from organizations.querysets import OrganizationScopedQuerySet


class ScopeCosts(RollupRow):
    """`scope` is one of `billing.types.LimitScope`; `value` is the value of the scope (the id of a credential), and
    empty for the organization. A call counts under each of its scopes, and under each of its tags.

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


class ScopeHourColumns(ScopeCosts):
    pk = models.CompositePrimaryKey("organization", "scope", "value", "hour", "archived")
    hour = models.DateTimeField()

    objects = OrganizationScopedQuerySet["ScopeHourColumns"].as_manager()

    class Meta:
        abstract = True


class ScopeHour(ScopeHourColumns):
    pass


class LiveScopeHour(ScopeHourColumns):
    class Meta:
        managed = False


class ScopeTotalColumns(ScopeCosts):
    """Over all time."""

    pk = models.CompositePrimaryKey("organization", "value", "scope", "archived")

    objects = OrganizationScopedQuerySet["ScopeTotalColumns"].as_manager()

    class Meta:
        abstract = True


class ScopeTotal(ScopeTotalColumns):
    class Meta:
        indexes = (models.Index(fields=("organization", "scope", "last_received_at"), name="scope_by_receipt"),)


class LiveScopeTotal(ScopeTotalColumns):
    class Meta:
        managed = False
