"""The servers that everything needs, and whether the database is this release's. Details go to the log alone."""

import logging
from dataclasses import dataclass
from typing import Any

import psycopg
import redis
from django.db import connection

from costtrack import heartbeat
from costtrack.database import catalog
from costtrack.database.declared import Migration, pending
from costtrack.database.inspection import Kind, Problem, describe, inspect
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
    applied: frozenset[Migration]
    problems: list[Problem] | None
    """What is not as the migrations made it. None: it could not be read in time."""


def database_checks() -> list[Check]:
    try:
        found = _ask_database()
    except psycopg.Error as error:
        logger.warning("database is not ready", extra={"reason": type(error).__name__})
        return [_unreachable("database", "PostgreSQL"), _migrations(ok=False, state="unknown"), _tenant_role(None)]
    is_pending = bool(pending(found.applied))
    migrations = _migrations(ok=not is_pending, state="pending" if is_pending else "applied")
    return [_postgres(found), migrations, _tenant_role(found.problems)]


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


def _tenant_role(problems: list[Problem] | None) -> Check:
    """The role that tenants' rows are read with, its grants and policies, and the database's own functions."""
    name, title = "tenant_role", "Tenants' role"
    if problems is None:
        return Check(name, title, _SECTION, ok=False, state="unknown")
    if not problems:
        return Check(name, title, _SECTION, ok=True, state="complete")
    state = "missing" if any(problem.kind == Kind.ROLE for problem in problems) else "incomplete"
    return Check(name, title, _SECTION, ok=False, state=state, advice=describe(problems))


def _ask_database() -> _Database:
    """Over a connection of its own: the pool would let us wait for as long as a request may. The time limit is the
    transaction's, because a pooler gives the connection to others afterwards."""
    parameters = {**connection.get_connection_params(), "connect_timeout": _CONNECT_SECONDS}
    with psycopg.connect(**parameters) as database:
        database.execute(f"SET LOCAL statement_timeout = {_STATEMENT_MILLISECONDS}")
        version = ".".join(map(str, divmod(database.info.server_version, 10_000)))
        [(used, most)] = database.execute(_CONNECTIONS).fetchall()
        fetch = catalog.over(database)
        applied = catalog.read_applied(fetch)
        return _Database(version, used, most, applied, _problems(fetch, applied))


def _problems(fetch: catalog.Fetch, applied: frozenset[Migration]) -> list[Problem] | None:
    try:
        return inspect(fetch, applied)
    except psycopg.Error as error:
        logger.warning("the database's roles and policies cannot be read", extra={"reason": type(error).__name__})
        return None
