"""What each scope of a spend limit has cost: everything, and every credential, user, tag, model, workflow, run and
session."""

from django.db import models

from billing.models.rollups.base import RollupRow, count, dimension
from costtrack.fields import total_field
from organizations.querysets import OrganizationScopedQuerySet


class ScopeCosts(RollupRow):
    """`scope` is one of `billing.types.LimitScope`; `value` names which one (a credential by its number), and is empty
    for the organization as a whole. A call counts under each of its scopes, and under each of its tags.

    `charged_usd` leaves out what was taken back: no part of the hour's events costs more.
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
