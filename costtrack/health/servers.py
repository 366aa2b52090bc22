"""The servers that everything needs, and whether the database is this release's. Details go to the log alone."""

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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
_MEGABYTE = 1024 * 1024
_NEARLY_ALL = 0.9
_CONNECTIONS = """
SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True)
class _Database:
    version: str
    connections: int
    most_connections: int
    applied: frozenset[tuple[str, str]]
    """The migrations that were applied, by app and name."""


def database_checks() -> list[Check]:
    try:
        found = _ask_database()
    except psycopg.Error as error:
        logger.warning("database is not ready", extra={"reason": type(error).__name__})
        return [_unreachable("database", "PostgreSQL"), _migrations(ok=False, state="unknown")]
    missing = _latest_migrations() - found.applied
    return [_postgres(found), _migrations(ok=not missing, state="pending" if missing else "applied")]


def redis_checks() -> list[Check]:
    try:
        info = heartbeat.client().info()
    except redis.RedisError as error:
        logger.warning("redis is not ready", extra={"reason": type(error).__name__})
        return [_unreachable("redis", "Redis")]
    return [_redis(info)]


def _unreachable(name: str, title: str) -> Check:
    advice = "It does not answer: see its log, and this server's."
    return Check(name, title, _SECTION, ok=False, state="unreachable", advice=advice)


def _postgres(found: _Database) -> Check:
    facts = {"Version": found.version, "Connections": f"{found.connections:,} of {found.most_connections:,}"}
    is_near = found.connections >= _NEARLY_ALL * found.most_connections
    advice = "Soon nobody can connect: raise max_connections, or put PgBouncer between." if is_near else ""
    return Check("database", "PostgreSQL", _SECTION, ok=True, state="reachable", facts=facts, advice=advice)


def _redis(info: dict[str, Any]) -> Check:
    facts = {"Version": str(info["redis_version"]), "Memory": f"{info['used_memory'] / _MEGABYTE:,.1f} MB"}
    may_lose = info.get("maxmemory", 0) and info.get("maxmemory_policy") != "noeviction"
    advice = "It may drop queued messages when its memory is full: set maxmemory-policy noeviction." if may_lose else ""
    return Check("redis", "Redis", _SECTION, ok=True, state="reachable", facts=facts, advice=advice)


def _migrations(*, ok: bool, state: str) -> Check:
    advice = "Run the management command migrate of this release." if state == "pending" else ""
    return Check("migrations", "Migrations", _SECTION, ok=ok, state=state, advice=advice)


def _ask_database() -> _Database:
    """Over a connection of its own: the pool would let us wait for as long as a request may. The time limit is the
    transaction's, because a pooler gives the connection to others afterwards."""
    parameters = {**connection.get_connection_params(), "connect_timeout": _CONNECT_SECONDS}
    with psycopg.connect(**parameters) as database:
        database.execute(f"SET LOCAL statement_timeout = {_STATEMENT_MILLISECONDS}")
        version = ".".join(map(str, divmod(database.info.server_version, 10_000)))
        [(used, most)] = database.execute(_CONNECTIONS).fetchall()
        if database.execute("SELECT to_regclass('django_migrations')").fetchone() == (None,):
            return _Database(version, used, most, frozenset())
        rows = database.execute("SELECT app, name FROM django_migrations").fetchall()
    return _Database(version, used, most, frozenset((app, name) for app, name in rows))


@lru_cache(maxsize=1)
def _latest_migrations() -> frozenset[tuple[str, str]]:
    """The last migration of each app in this release; the ones before it must have been applied first."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())
