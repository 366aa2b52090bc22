"""The servers that everything needs, and whether the database is this release's. Details go to the log alone."""

import logging
from functools import lru_cache

import psycopg
import redis
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from costtrack import heartbeat
from costtrack.health.registry import Check

logger = logging.getLogger(__name__)

_SECTION = "Servers"
_CONNECT_SECONDS = 2
_STATEMENT_MILLISECONDS = 2000


def database_checks() -> list[Check]:
    try:
        version, applied = _ask_database()
    except psycopg.Error as error:
        logger.warning("database is not ready", extra={"reason": type(error).__name__})
        return [_server("database", "PostgreSQL", None), _migrations(ok=False, state="unknown")]
    missing = _latest_migrations() - applied
    return [
        _server("database", "PostgreSQL", version),
        _migrations(ok=False, state="pending") if missing else _migrations(ok=True, state="applied"),
    ]


def redis_checks() -> list[Check]:
    try:
        version = str(heartbeat.client().info("server")["redis_version"])
    except redis.RedisError as error:
        logger.warning("redis is not ready", extra={"reason": type(error).__name__})
        return [_server("redis", "Redis", None)]
    return [_server("redis", "Redis", version)]


def _server(name: str, title: str, version: str | None) -> Check:
    """Without a version it did not answer."""
    if version is None:
        advice = "It does not answer: see its log, and this server's."
        return Check(name, title, _SECTION, ok=False, state="unreachable", advice=advice)
    return Check(name, title, _SECTION, ok=True, state="reachable", facts={"Version": version})


def _migrations(*, ok: bool, state: str) -> Check:
    advice = "Run the management command migrate of this release." if state == "pending" else ""
    return Check("migrations", "Migrations", _SECTION, ok=ok, state=state, advice=advice)


def _ask_database() -> tuple[str, set[tuple[str, str]]]:
    """The server's version, and the migrations that were applied. Over a connection of its own: the pool would let us
    wait for as long as a request may. The time limit is the transaction's, because a pooler gives the connection to
    others afterwards."""
    parameters = {**connection.get_connection_params(), "connect_timeout": _CONNECT_SECONDS}
    with psycopg.connect(**parameters) as database:
        database.execute(f"SET LOCAL statement_timeout = {_STATEMENT_MILLISECONDS}")
        version = ".".join(map(str, divmod(database.info.server_version, 10_000)))
        if database.execute("SELECT to_regclass('django_migrations')").fetchone() == (None,):
            return version, set()
        rows = database.execute("SELECT app, name FROM django_migrations").fetchall()
    return version, {(app, name) for app, name in rows}


@lru_cache(maxsize=1)
def _latest_migrations() -> frozenset[tuple[str, str]]:
    """The last migration of each app in this release; the ones before it must have been applied first."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())
