"""Bulk insert: entries are copied into a temporary staging table, and one statement claims their keys and moves the
new ones into the ledger.

This is fast (docs/performance.md) because only the columns that a batch uses are copied, about twenty of fifty, and
because the copy is in PostgreSQL's binary format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID
from zlib import crc32

from django.db import connection
from django.db.models import NOT_PROVIDED
from psycopg import sql
from psycopg.types.json import Jsonb

from billing.ledger.types import LedgerEntry
from billing.models import EventKey, UsageEvent

# PostgreSQL's types of Django's fields.
_TYPES = {
    "BigIntegerField": "int8",
    "CharField": "text",
    "DateTimeField": "timestamptz",
    "DecimalField": "numeric",
    "ForeignKey": "int8",
    "IntegerField": "int4",
    "JSONField": "jsonb",
    "PositiveSmallIntegerField": "int2",
    "UUIDField": "uuid",
}
# Writing a literal is several times faster than writing an array.
_TAGS = "tags_literal"
_BATCH_FIELDS = ("id", "organization_id", "received_at")


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the copy. `default` is its value when it is omitted; with NOT_PROVIDED it never is."""

    name: str
    type: str
    default: Any

    @classmethod
    def of(cls, field: Any) -> "_Column":
        default = None if field.null and field.db_default is NOT_PROVIDED else field.db_default
        return cls(field.column, _TYPES[field.get_internal_type()], default)

    def values(self, entries: Sequence[LedgerEntry]) -> list[Any] | None:
        """Return a value for each entry; None if the column can be omitted."""
        values = list(map(attrgetter(self.name), entries))
        empty = values.count(None)
        if empty + (values.count(self.default) if self.default is not None else 0) == len(values):
            return None
        if empty and self.default is not None:
            return [self.default if value is None else value for value in values]
        if self.type == "jsonb":
            return [None if value is None else Jsonb(value) for value in values]
        return values


_FIELDS = {field.column: field for field in UsageEvent._meta.concrete_fields}  # noqa: SLF001 - documented for this
_KEY_FIELDS = {field.column: field for field in EventKey._meta.concrete_fields if field.column}  # noqa: SLF001
_BATCH_COLUMNS = [_Column.of(_FIELDS[name]) for name in _BATCH_FIELDS]
_ENTRY_COLUMNS = [_Column.of(field) for name, field in _FIELDS.items() if name not in (*_BATCH_FIELDS, "tags")]
_KEY_COLUMNS = [_Column(name, _TYPES[_KEY_FIELDS[name].get_internal_type()], None) for name in ("key", "payload_hash")]

# Connections of a pooler outlive deployments, so the name depends on the columns.
_STAGING = sql.Identifier(
    f"staged_usageevent_{crc32(repr([_BATCH_COLUMNS, _ENTRY_COLUMNS, _KEY_COLUMNS]).encode()):08x}"
)
_CREATE_STAGING = sql.SQL(
    "CREATE TEMP TABLE IF NOT EXISTS {} (LIKE billing_usageevent INCLUDING DEFAULTS,"
    " key uuid, payload_hash bigint, tags_literal text) ON COMMIT DELETE ROWS"
).format(_STAGING)

# Keys are claimed in order, so transactions with the same events cannot deadlock. A transaction may write several
# batches (tests do); each takes its own rows.
_INSERT = sql.SQL("""
WITH claimed AS (
    INSERT INTO billing_eventkey (organization_id, key, event_id, payload_hash)
    SELECT organization_id, key, id, payload_hash FROM {staging}
    WHERE id BETWEEN %(first)s AND %(last)s AND key IS NOT NULL ORDER BY key
    ON CONFLICT DO NOTHING RETURNING event_id
)
INSERT INTO billing_usageevent ({columns}, tags)
SELECT {columns}, coalesce(tags_literal::text[], tags) FROM {staging}
WHERE id BETWEEN %(first)s AND %(last)s AND (key IS NULL OR id IN (SELECT event_id FROM claimed))
""").format(
    staging=_STAGING,
    columns=sql.SQL(", ").join(sql.Identifier(column.name) for column in (*_BATCH_COLUMNS, *_ENTRY_COLUMNS)),
)
_COLLISIONS = sql.SQL("""
SELECT present.key, present.payload_hash FROM {staging} AS staged
JOIN billing_eventkey AS present
    ON present.organization_id = staged.organization_id AND present.key = staged.key AND present.event_id <> staged.id
WHERE staged.id BETWEEN %(first)s AND %(last)s
""").format(staging=_STAGING)


def prepare_staging() -> None:
    """Create the connection's staging table, unless it exists."""
    with connection.cursor() as cursor:
        cursor.execute(_CREATE_STAGING)


def write(
    *, organization_id: int, received_at: datetime, ids: Sequence[UUID], entries: Sequence[LedgerEntry]
) -> dict[UUID, int]:
    """Insert the entries whose keys are new (ids ascending, keys unique). Return the keys that already existed, with
    the hashes of their payloads."""
    bounds = {"first": ids[0], "last": ids[-1]}
    with connection.cursor() as cursor:
        _copy(cursor, [ids, [organization_id] * len(ids), [received_at] * len(ids)], entries)
        cursor.execute(_INSERT, bounds)
        if cursor.rowcount == len(ids):
            return {}
        cursor.execute(_COLLISIONS, bounds)
        return dict(cursor.fetchall())


def _copy(cursor: Any, batch_values: list[Sequence[Any]], entries: Sequence[LedgerEntry]) -> None:
    names = list(_BATCH_FIELDS)
    types = [column.type for column in _BATCH_COLUMNS]
    columns = batch_values
    for column in (*_KEY_COLUMNS, *_ENTRY_COLUMNS):
        values = column.values(entries)
        if values is not None:
            names.append(column.name)
            types.append(column.type)
            columns.append(values)
    if any(entry.tags for entry in entries):
        names.append(_TAGS)
        types.append("text")
        columns.append([_array_literal(tuple(entry.tags)) if entry.tags else None for entry in entries])
    copied = sql.SQL(", ").join(map(sql.Identifier, names))
    with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(_STAGING, copied)) as copy:
        copy.set_types(types)
        for row in zip(*columns, strict=True):
            copy.write_row(row)


@lru_cache(maxsize=1024)
def _array_literal(texts: tuple[str, ...]) -> str:
    """Return an array literal of PostgreSQL: `{"a","b"}`, with escaped quotes and backslashes."""
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"
