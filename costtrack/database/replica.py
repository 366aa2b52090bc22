"""The connection to the read replica, `DATABASE_REPLICA_URL` (docs/decisions/053-read-replica.md)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections

from costtrack.database.queries import fetch_rows

REPLICA = "replica"
"""The alias in `settings.DATABASES`; absent without a replica."""

WRITTEN = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"
_REPLAYED = "SELECT pg_is_in_recovery(), (pg_last_wal_replay_lsn() - '0/0')::bigint"


def is_configured() -> bool:
    return REPLICA in connections.settings


@contextmanager
def connected_to_replica() -> Iterator[None]:
    """Run the statements of this thread on the replica: of models, of cursors and of transactions alike, with the
    settings that are sent along with each of them (tenant, timeout). A write fails, because the replica is read-only.

    A database router would decide for models alone, and half of what a report reads is SQL of its own.
    """
    primary, replica = connections[DEFAULT_DB_ALIAS], connections[REPLICA]
    own_wrappers, replica.execute_wrappers = replica.execute_wrappers, primary.execute_wrappers
    connections[DEFAULT_DB_ALIAS] = replica
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = primary
        replica.execute_wrappers = own_wrappers


def read_written_position() -> int:
    """Return the position in the write-ahead log (bytes) before which everything is that the primary has committed
    until now."""
    [(position,)] = fetch_rows(WRITTEN)
    return int(position)


def read_replayed_position() -> int:
    """Inside `connected_to_replica`: return the position up to which the replica shows the log.

    Raises OperationalError if the server is no standby, for example since it was promoted. The connection is closed, so
    that the next one may find another server.
    """
    [(is_standby, position)] = fetch_rows(_REPLAYED)
    if is_standby and position is not None:
        return int(position)
    connection.connection.close()  # not only returned to the pool
    connection.close()
    raise OperationalError("The server of DATABASE_REPLICA_URL is no standby.")


def replica_parameters() -> dict[str, Any]:
    """Return the parameters of psycopg for a separate connection."""
    parameters: dict[str, Any] = connections[REPLICA].get_connection_params()
    return parameters
