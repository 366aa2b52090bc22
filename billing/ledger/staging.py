"""From Python to the database: entries are copied into a staging table of the connection, and one statement claims
their keys and moves those that are new into the ledger.

Only the columns that a batch uses are copied, the others keep their defaults: of about fifty, most events use twenty.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID
from zlib import crc32

from django.db import connection
from psycopg import sql
from psycopg.types.json import Jsonb

from billing.ledger.types import ENTRY_COLUMNS, ENTRY_DEFAULTS, LedgerEntry

_LEDGER_COLUMNS = ("id", "organization_id", "received_at", *ENTRY_COLUMNS)
_KEY_COLUMNS = ("key", "payload_hash")
# A pooler's connections outlive a deployment: a staging table of other columns has another name.
_STAGING = sql.Identifier(f"staged_usageevent_{crc32(','.join((*_LEDGER_COLUMNS, *_KEY_COLUMNS)).encode()):08x}")

_CREATE_STAGING = sql.SQL(
    "CREATE TEMP TABLE IF NOT EXISTS {} (LIKE billing_usageevent INCLUDING DEFAULTS, key uuid, payload_hash bigint)"
    " ON COMMIT DELETE ROWS"
).format(_STAGING)

# Keys are claimed in their order, so two transactions that bring the same events wait for each other and cannot
# deadlock. A transaction may bring several batches (and tests run in one): each takes its own rows.
_INSERT = sql.SQL("""
WITH claimed AS (
    INSERT INTO billing_eventkey (organization_id, key, event_id, payload_hash)
    SELECT organization_id, key, id, payload_hash FROM {staging}
    WHERE id BETWEEN %(first)s AND %(last)s AND key IS NOT NULL ORDER BY key
    ON CONFLICT DO NOTHING RETURNING event_id
)
INSERT INTO billing_usageevent ({columns}) SELECT {columns} FROM {staging}
WHERE id BETWEEN %(first)s AND %(last)s AND (key IS NULL OR id IN (SELECT event_id FROM claimed))
""").format(staging=_STAGING, columns=sql.SQL(", ").join(map(sql.Identifier, _LEDGER_COLUMNS)))

_COLLISIONS = sql.SQL("""
SELECT present.key, present.payload_hash FROM {staging} AS staged
JOIN billing_eventkey AS present
    ON present.organization_id = staged.organization_id AND present.key = staged.key AND present.event_id <> staged.id
WHERE staged.id BETWEEN %(first)s AND %(last)s
""").format(staging=_STAGING)


def prepare_staging() -> None:
    """Make the connection's staging table, unless it has one."""
    with connection.cursor() as cursor:
        cursor.execute(_CREATE_STAGING)


def write(
    *, organization_id: int, received_at: datetime, ids: Sequence[UUID], entries: Sequence[LedgerEntry]
) -> dict[UUID, int]:
    """Insert the entries whose keys are new (ids ascending, no key twice). Answers the keys that were there already,
    each with the hash of the payload it stands for."""
    columns: dict[str, Sequence[Any]] = {
        "id": ids,
        "organization_id": [organization_id] * len(ids),
        "received_at": [received_at] * len(ids),
        **_used_columns(entries),
    }
    bounds = {"first": ids[0], "last": ids[-1]}
    with connection.cursor() as cursor:
        with cursor.copy(_copy_of(columns)) as copy:
            for row in zip(*columns.values(), strict=True):
                copy.write_row(row)
        cursor.execute(_INSERT, bounds)
        if cursor.rowcount == len(ids):
            return {}
        cursor.execute(_COLLISIONS, bounds)
        return dict(cursor.fetchall())


def _used_columns(entries: Sequence[LedgerEntry]) -> dict[str, list[Any]]:
    used = {}
    for name, default in ENTRY_DEFAULTS.items():
        values = list(map(attrgetter(name), entries))
        if values.count(default) != len(values):
            used[name] = values
    if "metadata" in used:
        used["metadata"] = [value if value is None else Jsonb(value) for value in used["metadata"]]
    return used


def _copy_of(columns: Mapping[str, object]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(_STAGING, names)
