"""The columns of an archived event: those of the ledger's row, without the organization.

Amounts are decimals with 24 digits after the point, times are UTC with microseconds, ids are UUIDs, and JSON is text. A
change of the ledger's columns is a new version; files of earlier versions stay as they are, and what they lack is read
as the column's default.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from billing.models import UsageEvent

VERSION = 1
_DIGITS = 38
_VERSION_KEY = b"costtrack.schema_version"
ORDER = ("occurred_at", "id")
"""What the rows of a file are ordered by."""


def columns() -> tuple[str, ...]:
    """Return the names of the columns, which are those of the ledger."""
    return tuple(column for column, _ in _fields())


def json_columns() -> frozenset[str]:
    return frozenset(column for column, field in _fields() if isinstance(field, models.JSONField))


@cache
def schema() -> Any:
    """Return pyarrow's schema, whose metadata has the version."""
    import pyarrow as pa

    return pa.schema([(column, _type(field)) for column, field in _fields()], {_VERSION_KEY: str(VERSION).encode()})


def version_of(stored: Any) -> int:
    """Return the version of a file's schema."""
    return int((stored.metadata or {}).get(_VERSION_KEY, b"0"))


def array_of(values: Sequence[Any], type_: Any) -> Any:
    """Return the values of a column as pyarrow's array of a type."""
    import pyarrow as pa

    if type_ == pa.uuid():
        return pa.array([None if value is None else value.bytes for value in values], type_)
    return pa.array(values, type_)


def _fields() -> "list[tuple[str, models.Field[Any, Any]]]":
    fields = UsageEvent._meta.concrete_fields  # noqa: SLF001 - documented for such use
    return [(field.column, field) for field in fields if field.column not in (None, "organization_id")]


def _type(field: "models.Field[Any, Any]") -> Any:
    import pyarrow as pa

    if isinstance(field, models.DecimalField):
        return pa.decimal128(_DIGITS, field.decimal_places)
    types: dict[type[models.Field[Any, Any]], Any] = {
        models.ForeignKey: pa.int64(),
        models.BigIntegerField: pa.int64(),
        models.IntegerField: pa.int32(),
        models.DateTimeField: pa.timestamp("us", tz="UTC"),
        models.UUIDField: pa.uuid(),
        ArrayField: pa.list_(pa.string()),
    }
    # The first that fits: a BigIntegerField is an IntegerField. Texts and JSON are strings.
    return next((type_ for kind, type_ in types.items() if isinstance(field, kind)), pa.string())
