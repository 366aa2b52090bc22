"""Django's PostgreSQL backend, whose pool looks at a connection's socket before it asks the server.

Every request takes a connection from the pool, and one that died with a restart of PostgreSQL must not fail it. Asking
the server each time would cost a round trip, about as much as many a question that follows.
"""

import select
from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg import Connection
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
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
        found: ConnectionPool | None = super().pool
        return found


def check_if_requested(connection: Connection[Any]) -> None:
    """An idle connection with something to read has been told something, in most cases that it is over: then ask.
    Raises psycopg.OperationalError when it is."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)
