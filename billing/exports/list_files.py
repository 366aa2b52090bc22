"""The files of the admin's lists: all rows of a list with its filters, search and order, with the fields of its model.

Any list has a file; a model admin declares columns that are no fields in `file_columns`. A list is read as the user who
requests the file sees it, by the model admin itself, so its filters, roles and the plan's history apply as on the page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import msgspec
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone

from billing.exports.table_files import FileTable, Part, Row
from costtrack.errors import InvalidError, NotFoundError
from costtrack.file_columns import ComputedColumn, FileColumn, Kind
from costtrack.money import plain
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout
from organizations.admin_base import OrganizationScopedAdmin
from organizations.models import Organization, User
from organizations.permissions import Resource

_PAGE = 2_000
_SECRETS = ("secret", "password", "hash", "pepper")
"""Parts of the names of fields that no file has."""
_OF_PAGES = ("after", "p", "e", "all", "format")
"""Parameters of a list's URL that do not choose rows."""
_KINDS: dict[Any, Kind] = {
    models.BooleanField: Kind.BOOLEAN,
    models.IntegerField: Kind.COUNT,
    models.DecimalField: Kind.AMOUNT,
    models.DateTimeField: Kind.TIME,
    ArrayField: Kind.TEXTS,
    models.ForeignKey: Kind.COUNT,
}


class ListFile(msgspec.Struct, frozen=True, tag="list", kw_only=True):
    """`name` is that of a list (`list_names`), `parameters` the query of its URL."""

    name: str
    parameters: str = ""

    @property
    def resource(self) -> Resource:
        return self._admin.resource

    @property
    def title(self) -> str:
        return self.name.replace("-", " ").capitalize()

    @property
    def _admin(self) -> OrganizationScopedAdmin:
        model_admin = _lists().get(self.name)
        if model_admin is None:
            raise NotFoundError("No such list.")
        return model_admin

    def table(self, organization: Organization, user: User) -> FileTable:
        """Reading raises InvalidError for filters that the list does not have."""
        return _ListReader(self._admin, organization, user, self.parameters).table()

    def file_name(self, organization: Organization) -> str:
        return f"{self.name}-{organization.slug}"


def list_names() -> list[str]:
    """Return the names of all lists of organizations' rows, such as `limits`."""
    return sorted(_lists())


def _lists() -> dict[str, OrganizationScopedAdmin]:
    admins = admin.site._registry.values()  # noqa: SLF001 - as its `get_model_admin`, for all models
    scoped = [model_admin for model_admin in admins if isinstance(model_admin, OrganizationScopedAdmin)]
    return {model_admin.file_name: model_admin for model_admin in scoped if model_admin.file_name}


@runtime_checkable
class CompletedList(Protocol):
    """A list whose rows have more than their fields."""

    def complete_rows(self, request: HttpRequest, rows: list[Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class _FieldColumn:
    """A field of the model."""

    name: str
    kind: Kind
    attribute: str
    is_json: bool = False

    def value(self, row: Any) -> object:
        value = getattr(row, self.attribute)
        if value is None or self.kind is not Kind.TEXT:
            return list(map(str, value)) if self.kind is Kind.TEXTS and value is not None else value
        if self.is_json:
            return msgspec.json.encode(value).decode()
        return value.isoformat() if isinstance(value, date) else str(value)


class _ListReader:
    def __init__(
        self, model_admin: OrganizationScopedAdmin, organization: Organization, user: User, parameters: str
    ) -> None:
        self.admin, self.organization = model_admin, organization
        self.request = HttpRequest()
        self.request.method = "GET"
        self.request.user = user
        self.request.organization = organization  # type: ignore[attr-defined] # as the middleware sets it
        given = QueryDict(parameters, mutable=True)
        for name in _OF_PAGES:
            given.pop(name, None)
        self.request.GET = given  # type: ignore[assignment] # Django's own are mutable copies too

    def table(self) -> FileTable:
        columns = self._columns()
        return FileTable(
            [FileColumn(column.name, column.kind) for column in columns],
            lambda position: self._read(columns, position),
            self._count,
            self.organization.calendar.zone,
            reads_first=True,
        )

    def _columns(self) -> list[_FieldColumn | ComputedColumn]:
        computed = self.admin.file_columns
        named = {column.name for column in computed}
        fields = [column for column in _field_columns(self.admin) if column.name not in named]
        return [*fields, *computed]

    def _read(self, columns: Sequence[_FieldColumn | ComputedColumn], position: str) -> Part:
        zone = timezone.override(self.organization.calendar.zone)
        with zone, statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(self.organization.pk):
            ordering = _Ordering(self._list.queryset)
            rows = list(self._list.queryset.filter(ordering.after(position)).order_by(*ordering.names)[: _PAGE + 1])
            shown = rows[:_PAGE]
            if isinstance(self._list, CompletedList):
                self._list.complete_rows(self.request, shown)
            values: list[Row] = [[column.value(row) for column in columns] for row in shown]
        return Part(values, ordering.position(shown[-1]) if len(rows) > _PAGE else None)

    def _count(self, limit: int) -> int:
        zone = timezone.override(self.organization.calendar.zone)
        with zone, statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(self.organization.pk):
            rows = self._list.queryset.order_by().values("pk")
            return int(rows[:limit].count())

    @cached_property
    def _list(self) -> Any:
        try:
            return self.admin.get_changelist_instance(self.request)
        except (IncorrectLookupParameters, DisallowedModelAdminLookup) as error:
            raise InvalidError("The list does not have these filters.", param="parameters") from error


class _Ordering:
    """The order of a list, and positions in it: the values of its columns in a row, as JSON. As in PostgreSQL, rows
    without a value come last, or first in descending order."""

    def __init__(self, rows: QuerySet[Any]) -> None:
        ordered = [_column_name(column) for column in rows.query.order_by or rows.model._meta.ordering]  # noqa: SLF001
        self.names = [name for name in ordered if name.removeprefix("-") not in ("", "organization")]
        key = rows.model._meta.pk.name  # noqa: SLF001 - documented for such use
        if not {key, f"-{key}", "pk", "-pk"}.intersection(self.names):
            self.names.append("-pk")
        self._columns = [(name.removeprefix("-").replace("__", "."), name.startswith("-")) for name in self.names]

    def position(self, row: Any) -> str:
        return msgspec.json.encode([_attribute(row, name) for name, _ in self._columns]).decode()

    def after(self, position: str) -> Q:
        """Build the condition that a row comes after a position."""
        condition, equal = Q(pk__in=()), Q()
        if not position:
            return Q()
        for (name, is_descending), value in zip(self._columns, msgspec.json.decode(position), strict=True):
            lookup = name.replace(".", "__")
            if value is None:
                later = Q(**{f"{lookup}__isnull": False}) if is_descending else Q(pk__in=())
                same = Q(**{f"{lookup}__isnull": True})
            else:
                later = Q(**{f"{lookup}__{'lt' if is_descending else 'gt'}": value})
                later |= Q() if is_descending else Q(**{f"{lookup}__isnull": True})
                same = Q(**{lookup: value})
            condition |= equal & later
            equal &= same
        return condition


def _column_name(ordered: Any) -> str:
    """Return a column of an ordering with its sign; Django orders some by expressions."""
    if isinstance(ordered, str):
        return ordered
    expression = getattr(ordered, "expression", ordered)
    name = str(getattr(expression, "name", ""))
    return f"-{name}" if getattr(ordered, "descending", False) else name


def _attribute(row: Any, path: str) -> Any:
    value = row
    for name in path.split("."):
        value = getattr(value, name)
    if isinstance(value, models.Model):
        return value.pk
    return plain(value) if hasattr(value, "as_tuple") else value


def _field_columns(model_admin: OrganizationScopedAdmin) -> Iterator[_FieldColumn]:
    """Yield the fields of a list's model without secrets."""
    for field in model_admin.opts.concrete_fields:
        if model_admin.file_fields and field.name not in model_admin.file_fields:
            continue
        is_secret = any(part in field.name for part in _SECRETS) or isinstance(field, models.BinaryField)
        if is_secret or field.name == "organization":
            continue
        kind = next((kind for base, kind in _KINDS.items() if isinstance(field, base)), Kind.TEXT)
        if isinstance(field, models.ForeignKey) and not isinstance(field.target_field, models.IntegerField):
            kind = Kind.TEXT
        yield _FieldColumn(field.attname, kind, field.attname, isinstance(field, models.JSONField))
