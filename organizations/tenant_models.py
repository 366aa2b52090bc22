"""Base class and foreign key of tenants' tables, which name the organization in every statement about a row.

Ids are unique, so Django's primary key is `id` alone. In the database the keys begin with the organization
(docs/decisions/021-distribution-by-organization.md): a row is found by both, and two rows are joined by both.
"""

from typing import Any, Self, TypeVar

from django.db import models
from django.db.models.lookups import Exact
from django.db.models.sql.where import WhereNode

from costtrack.errors import NotFoundError

_Set = TypeVar("_Set")
_Get = TypeVar("_Get")


_Row = TypeVar("_Row", bound=models.Model)


class OrganizationScopedQuerySet(models.QuerySet[_Row]):
    """The base class of querysets of models with an `organization` column."""

    def of(self, organization: models.Model) -> Self:
        """The organization's own rows."""
        return self.filter(organization=organization)

    def get_or_not_found(self, name: str, **lookups: Any) -> _Row:
        """Return the only row. Raises NotFoundError that names it (`No such <name>.`)."""
        row = self.filter(**lookups).first()
        if row is None:
            raise NotFoundError(f"No such {name}.")
        return row

    def row(self, instance: _Row) -> Self:
        """Return a queryset with only the row of a model instance, for an update."""
        return self.filter(organization=instance.organization_id, pk=instance.pk)  # type: ignore[attr-defined] # see above


class TenantModel(models.Model):
    """A row of one organization, which never changes."""

    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False
    )

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)

    def _do_update(self, base_qs: Any, using: Any, pk_val: Any, values: Any, *options: Any) -> Any:
        """Update the row that `save` is about, without writing its organization again."""
        changes = [value for value in values if value[0].name != "organization"]
        row = base_qs.filter(organization_id=self.organization_id)
        return super()._do_update(row, using, pk_val, changes, *options)

    def delete(self, using: Any = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:  # noqa: FBT001, FBT002 - Django's signature
        rows: models.QuerySet[Any] = type(self)._base_manager.using(using)  # noqa: SLF001 - documented for such use
        return rows.filter(organization=self.organization_id, pk=self.pk).delete()


class TenantForeignKey(models.ForeignKey[_Set, _Get]):
    """A foreign key from one tenants' table to another. Joins and lookups compare the organization too.

    Its constraint in the database is on both columns, so a migration writes it (`sql/0002_foreign_keys.sql`).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"db_constraint": False, "db_index": False, **options})

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> WhereNode | None:
        if alias is None or related_alias is None:  # of a subquery, which cannot refer to the other table
            return None
        own: Any = self.model._meta.get_field("organization")  # noqa: SLF001 - documented for such use
        theirs: Any = self.related_model._meta.get_field("organization")  # noqa: SLF001
        same: Any = Exact(own.get_col(related_alias), theirs.get_col(alias))
        return WhereNode([same])

    def get_extra_descriptor_filter(self, instance: Any) -> dict[str, Any]:
        return {"organization_id": instance.organization_id}

    def deconstruct(self) -> Any:
        """Return a plain foreign key, which is all that migrations need to know."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, kwargs
