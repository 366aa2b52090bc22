"""Read archived events by SQL: DuckDB reads the columns of the files as far as a statement needs them.

Statements are composed like those for PostgreSQL (`psycopg.sql`). The table `archive` has the columns of the ledger.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from psycopg import sql

from billing.archives.archive_schema import array_of, schema
from billing.archives.storage import StorageError, storage_errors, storage_of
from billing.models import EventArchive
from organizations.models import Organization

_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": "2",
    "memory_limit": "1GB",
    "enable_external_access": "false",
}
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
_STORED, _GIVEN = "stored", "given"
_TABLE = sql.SQL("CREATE OR REPLACE TEMP TABLE {} AS SELECT * FROM given")
_VIEW = sql.SQL("CREATE TEMP VIEW archive AS SELECT {}::BIGINT AS organization_id, {} FROM stored")


class Reader:
    """A connection to DuckDB. It lives as long as a page or a file needs it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def add_table(self, name: str, columns: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table, in place of an earlier one. `columns` are types of pyarrow, or their names."""
        import pyarrow as pa

        values: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) or [()] * len(columns)
        arrays = [
            array_of(column, pa.lib.ensure_type(type_)) for column, type_ in zip(values, columns.values(), strict=True)
        ]
        self._connection.register(_GIVEN, pa.table(arrays, names=list(columns)))
        self._connection.execute(_TABLE.format(sql.Identifier(name)).as_string(None))
        self._connection.unregister(_GIVEN)

    def fetch(self, statement: sql.Composable, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a query. Raises StorageError if a file cannot be read."""
        import duckdb

        composed = statement.as_string(None)
        text = _PLACEHOLDER.sub(r"$\1", composed)
        used = {name: parameters[name] for name in _PLACEHOLDER.findall(composed)}
        try:
            with storage_errors("archive"):
                cursor = self._connection.execute(text, used)
                floats = [column[0] for column in cursor.description if str(column[1]) in _FLOATS]
                if floats:
                    raise TypeError(f"{floats} are not exact")
                return list(cursor.fetchall())
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            raise StorageError(f"The archive cannot be read: {' '.join(str(error).split())}") from error


def archives_between(organization: Organization, start: datetime | None, end: datetime | None) -> list[EventArchive]:
    """Return the files that have events of the window, or adjustments of such events: these have the event's time."""
    archives = EventArchive.objects.of(organization).complete()
    if start is not None:
        archives = archives.filter(last_occurred_at__gte=start)
    if end is not None:
        archives = archives.filter(first_occurred_at__lt=end)
    return list(archives.order_by("month", "pk"))


@contextmanager
def opened(organization: Organization, archives: Sequence[EventArchive]) -> Iterator[Reader]:
    """Open the files. Raises StorageError."""
    try:
        import duckdb
        from pyarrow import ArrowInvalid, dataset
    except ImportError as error:
        message = (
            f"The package {error.name} is not installed, which reads archived events: pip install costtrack[archive]"
        )
        raise StorageError(message) from error
    parts = []
    for archive in archives:
        storage = storage_of(archive.location)
        path = storage.path(archive.file_name)
        if storage.size(archive.file_name) is None:
            raise StorageError(f"{archive.location}/{archive.file_name} does not exist.")
        with storage_errors(archive.file_name):
            parts.append(
                dataset.FileSystemDataset.from_paths(
                    [path], schema=_readable(), format=dataset.ParquetFileFormat(), filesystem=storage.filesystem()
                )
            )
    stored = dataset.dataset(parts) if parts else _readable().empty_table()
    connection = duckdb.connect(":memory:", config=_SETTINGS)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register(_STORED, stored)
        connection.execute(_view(organization))
        yield Reader(connection)
    except ArrowInvalid as error:
        raise StorageError(f"The archive cannot be read: {' '.join(str(error).split())}") from error
    finally:
        connection.close()


def _readable() -> Any:
    """Return the schema as the files are opened: pyarrow cannot compare UUIDs, which conditions would ask it to do."""
    import pyarrow as pa

    return pa.schema([(field.name, pa.binary(16) if field.type == pa.uuid() else field.type) for field in schema()])


def _view(organization: Organization) -> str:
    """Return the statement that creates `archive`."""
    import pyarrow as pa

    columns = []
    for field in schema():
        template = sql.SQL("hex({0})::UUID AS {0}" if field.type == pa.uuid() else "{0}")
        columns.append(template.format(sql.Identifier(field.name)))
    return _VIEW.format(organization.pk, sql.SQL(", ").join(columns)).as_string(None)
