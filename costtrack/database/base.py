"""Django's PostgreSQL backend, with a connection pool that checks the socket before it queries the server.

Every request takes a connection from the pool, and one that died with a restart of PostgreSQL must not fail it. A query
each time would cost a round trip, as much as many requests need.
"""

import select
from typing import Any

from django.db import connections
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg import Connection
from psycopg_pool import ConnectionPool

from costtrack.database.schema_editor import SchemaEditor


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = SchemaEditor

    @property
    def pool(self) -> "ConnectionPool | None":
        options = self.settings_dict["OPTIONS"].get("pool")
        if options and self.alias != NO_DB_ALIAS and self.alias not in self._connection_pools:  # type: ignore[attr-defined] # not in the stubs
            pool = ConnectionPool(
                kwargs={**self.get_connection_params(), "autocommit": True},
                configure=self._configure_connection,  # type: ignore[attr-defined]
                check=check_if_requested,
                open=False,
                **options,
            )
            self._connection_pools.setdefault(self.alias, pool)  # type: ignore[attr-defined]
        shared_pool: ConnectionPool | None = super().pool
        return shared_pool


def use_no_pool() -> None:
    """Let the connections that this process opens from now on have no pool."""
    for database in connections.settings.values():
        database["OPTIONS"]["pool"] = False


def check_if_requested(connection: Connection[Any]) -> None:
    """Check an idle connection only if its socket is readable, which usually means that the server closed it.
    Raises psycopg.OperationalError if it is closed."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)
