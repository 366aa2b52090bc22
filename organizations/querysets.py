"""Querysets with shared filters."""

from typing import TYPE_CHECKING, Self, TypeVar

from django.db import models

if TYPE_CHECKING:
    from organizations.models import Organization, User

M = TypeVar("M", bound=models.Model)


class OrganizationScopedQuerySet(models.QuerySet[M]):
    """For every model with an `organization` column."""

    def of(self, organization: "Organization") -> Self:
        """The organization's own rows."""
        return self.filter(organization=organization)

    def row(self, instance: M) -> Self:
        """The row of a model instance, for an update of it alone."""
        return self.filter(organization=instance.organization_id, pk=instance.pk)  # type: ignore[attr-defined] # see above


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def visible_to(self, user: "User") -> "OrganizationQuerySet":
        """All organizations for an operator, otherwise those the user is a member of."""
        if user.is_superuser:
            return self
        return self.filter(pk__in=list(user.roles))
