"""Spend by tag, credential, user and customer."""

from django.db import models

from billing.models.rollups.base import Costs, dimension
from organizations.querysets import OrganizationScopedQuerySet


class TagDayColumns(Costs):
    """A call with two tags counts under both."""

    pk = models.CompositePrimaryKey("organization", "day", "tag", "archived")
    day = models.DateField()
    tag = dimension()

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
    user_ref = dimension()
    model = dimension()

    objects = OrganizationScopedQuerySet["SpendDayColumns"].as_manager()

    class Meta:
        abstract = True


class SpendDay(SpendDayColumns):
    pass


class LiveSpendDay(SpendDayColumns):
    class Meta:
        managed = False


class UserDayColumns(Costs):
    pk = models.CompositePrimaryKey("organization", "day", "user_ref", "archived")
    day = models.DateField()
    user_ref = dimension()

    objects = OrganizationScopedQuerySet["UserDayColumns"].as_manager()

    class Meta:
        abstract = True


class UserDay(UserDayColumns):
    pass


class LiveUserDay(UserDayColumns):
    class Meta:
        managed = False


class UserTotalColumns(Costs):
    pk = models.CompositePrimaryKey("organization", "user_ref", "archived")
    user_ref = dimension()

    objects = OrganizationScopedQuerySet["UserTotalColumns"].as_manager()

    class Meta:
        abstract = True


class UserTotal(UserTotalColumns):
    pass


class LiveUserTotal(UserTotalColumns):
    class Meta:
        managed = False


class CustomerDayColumns(Costs):
    """Usage of the callers' own customers."""

    pk = models.CompositePrimaryKey("organization", "day", "end_user", "credential_id", "model", "archived")
    day = models.DateField()
    end_user = dimension()
    credential_id = models.BigIntegerField()
    model = dimension()

    objects = OrganizationScopedQuerySet["CustomerDayColumns"].as_manager()

    class Meta:
        abstract = True


class CustomerDay(CustomerDayColumns):
    pass


class LiveCustomerDay(CustomerDayColumns):
    class Meta:
        managed = False
