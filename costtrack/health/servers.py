"""Health checks of PostgreSQL, Redis and the schema. Details are only logged."""

import logging
import time
from dataclasses import dataclass
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import connection

from costtrack import heartbeat
from costtrack.database import catalog
from costtrack.database.declared import Migration, pending
from costtrack.database.first_schema import ADVICE, is_first_schema
from costtrack.database.inspection import Kind, Problem, describe, inspect
from costtrack.database.replica import WRITTEN, replica_parameters
from costtrack.health.measures import declare
from costtrack.health.registry import Check

logger = logging.getLogger(__name__)

_SECTION = "Servers"
_CONNECT_SECONDS = 2
_STATEMENT_MILLISECONDS = 2000
_MEGABYTE = 1024 * 1024
_NEARLY_ALL = 0.9
_USED_CONNECTIONS = declare("costtrack_database_connections", "Client connections of the PostgreSQL server.")
_MAX_CONNECTIONS = declare("costtrack_database_max_connections", "max_connections of the PostgreSQL server.")
_ARCHIVE_FAILS = declare(
    "costtrack_database_archive_failing", "1 if PostgreSQL cannot archive its write-ahead log at the moment."
)
_USED_MEMORY = declare("costtrack_redis_memory_bytes", "Memory that Redis uses.")
_MAX_MEMORY = declare("costtrack_redis_max_memory_bytes", "maxmemory of Redis; 0 is unlimited.")
_REPLICA_UP = declare("costtrack_replica_up", "1 if the replica is a standby that responds and keeps up.")
_REPLICA_LAG = declare("costtrack_replica_lag_seconds", "How far the replica is behind the primary.")
_REPLICA_LAG_BYTES = declare("costtrack_replica_lag_bytes", "Write-ahead log that the replica has not replayed yet.")
_CATCH_UP_SECONDS = 0.2
_REPLAYED = """
SELECT
    pg_is_in_recovery(),
    greatest(%s - (pg_last_wal_replay_lsn() - '0/0')::bigint, 0),
    coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 'infinity')
"""
_CONNECTIONS = """
SELECT
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    current_setting('max_connections')::int,
    (SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_stat_archiver)
"""


@dataclass(frozen=True, slots=True)
class _Database:
    version: str
    connections: int
    max_connections: int
    archive_fails: bool
    """Whether the last attempt to archive the write-ahead log has failed."""
    applied: frozenset[Migration]
    problems: list[Problem] | None
    """Differences from the migrations; None if they could not be read in time."""


def database_checks() -> list[Check]:
    try:
        database = _read_database()
    except psycopg.Error as error:
        logger.warning("database is not ready", extra={"reason": type(error).__name__})
        return [_unreachable("database", "PostgreSQL"), _migrations(ok=False, state="unknown"), _tenant_role(None)]
    state = _migration_state(database.applied)
    return [_postgres(database), _migrations(ok=state == "applied", state=state), _tenant_role(database.problems)]


def replica_checks() -> list[Check]:
    """Always ok, because the primary serves what the replica cannot."""
    try:
        lag = _replica_lag()
    except psycopg.Error as error:
        logger.warning("the replica is not ready", extra={"reason": type(error).__name__})
        return [_replica("unreachable", "The replica does not respond; reports read from the primary. See its log.")]
    if lag is None:
        advice = (
            "The server of DATABASE_REPLICA_URL is no standby; reports read from the primary. Let it name a standby."
        )
        return [_replica("promoted", advice)]
    if lag.seconds > settings.REPLICA_MAX_LAG:
        advice = "Reports read from the primary until the replica has caught up. See its log, and pg_stat_replication."
        return [_replica("lagging", advice, lag)]
    return [_replica("streaming", "", lag)]


def redis_checks() -> list[Check]:
    try:
        info = heartbeat.client().info()
    except redis.RedisError as error:
        logger.warning("redis is not ready", extra={"reason": type(error).__name__})
        return [_unreachable("redis", "Redis")]
    return [_redis(info)]


def _unreachable(name: str, title: str) -> Check:
    advice = "The server does not respond. See its log and the web server's."
    return Check(name, title, _SECTION, ok=False, state="unreachable", advice=advice)


def _postgres(database: _Database) -> Check:
    details = {"Version": database.version, "Connections": f"{database.connections:,} of {database.max_connections:,}"}
    is_near = database.connections >= _NEARLY_ALL * database.max_connections
    advice = []
    if database.archive_fails:
        advice.append("The write-ahead log cannot be archived, so backups end there. See PostgreSQL's log.")
    if is_near:
        advice.append("Few connections are left. Raise max_connections, or use PgBouncer.")
    return Check(
        "database",
        "PostgreSQL",
        _SECTION,
        ok=True,
        state="reachable",
        details=details,
        advice=" ".join(advice),
        measures=(
            _ARCHIVE_FAILS.measure(int(database.archive_fails)),
            _USED_CONNECTIONS.measure(database.connections),
            _MAX_CONNECTIONS.measure(database.max_connections),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Lag:
    seconds: float
    bytes: int


def _replica(state: str, advice: str, lag: _Lag | None = None) -> Check:
    measures = [_REPLICA_UP.measure(int(state == "streaming"))]
    if lag is not None:
        measures += [_REPLICA_LAG.measure(lag.seconds), _REPLICA_LAG_BYTES.measure(lag.bytes)]
    details = {} if lag is None else {"Behind the primary": f"{lag.seconds:,.1f} s, {lag.bytes:,} bytes"}
    return Check(
        "replica",
        "Read replica",
        _SECTION,
        ok=True,
        state=state,
        details=details,
        advice=advice,
        measures=tuple(measures),
    )


def _replica_lag() -> _Lag | None:
    """Return how far the replica is behind; None if it is no standby. It has a moment to replay what was written just
    now: without it, the time since the last commit would count, however long that is."""
    with _connect(connection.get_connection_params()) as primary:
        [(written,)] = primary.execute(WRITTEN).fetchall()
    with _connect(replica_parameters()) as replica:
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        while True:
            [(is_standby, bytes_behind, seconds)] = replica.execute(_REPLAYED, [written]).fetchall()
            if not is_standby:
                return None
            if not bytes_behind:
                return _Lag(0, 0)
            if time.monotonic() > deadline:
                return _Lag(float(seconds), bytes_behind)
            time.sleep(_CATCH_UP_SECONDS / 10)


def _connect(parameters: dict[str, Any]) -> psycopg.Connection[Any]:
    """Return a separate connection, because the pool may block for long. The timeout is local to the transaction,
    because a pooler reuses the connection."""
    database = psycopg.connect(**{**parameters, "connect_timeout": _CONNECT_SECONDS})
    database.execute(f"SET LOCAL statement_timeout = {_STATEMENT_MILLISECONDS}")
    return database


def _redis(info: dict[str, Any]) -> Check:
    used, limit = info["used_memory"], info.get("maxmemory", 0)
    memory = f"{used / _MEGABYTE:,.1f} MB"
    if limit:
        memory += f" of {limit / _MEGABYTE:,.1f} MB"
    is_full = heartbeat.is_full(info)
    return Check(
        "redis",
        "Redis",
        _SECTION,
        ok=not is_full,
        state="full" if is_full else "reachable",
        details={"Version": str(info["redis_version"]), "Memory": memory},
        advice=_redis_advice(info),
        measures=(_USED_MEMORY.measure(used), _MAX_MEMORY.measure(limit)),
    )


def _redis_advice(info: dict[str, Any]) -> str:
    used, limit = info["used_memory"], info.get("maxmemory", 0)
    if heartbeat.has_full_disk(info):
        return "Redis cannot write to its disk and refuses writes: tasks and heartbeats are lost. Free space there."
    if limit and info.get("maxmemory_policy") != "noeviction":
        return "Redis may drop queued messages when it is full. Set maxmemory-policy noeviction."
    if limit and used >= limit:
        return "Redis is out of memory and refuses writes: tasks and heartbeats are lost. Raise maxmemory."
    return "Redis is nearly full. Raise maxmemory." if limit and used >= _NEARLY_ALL * limit else ""


def _migration_state(applied: frozenset[Migration]) -> str:
    if is_first_schema(applied):
        return "too_old"
    return "pending" if pending(applied) else "applied"


def _migrations(*, ok: bool, state: str) -> Check:
    advice = {"pending": "Run the management command migrate of this release.", "too_old": ADVICE}.get(state, "")
    return Check("migrations", "Migrations", _SECTION, ok=ok, state=state, advice=advice)


def _tenant_role(problems: list[Problem] | None) -> Check:
    """The check of the tenant role, its grants and policies, and the functions of the schema."""
    name, title = "tenant_role", "Tenant role"
    if problems is None:
        return Check(name, title, _SECTION, ok=False, state="unknown")
    if not problems:
        return Check(name, title, _SECTION, ok=True, state="complete")
    state = "missing" if any(problem.kind == Kind.ROLE for problem in problems) else "incomplete"
    return Check(name, title, _SECTION, ok=False, state=state, advice=describe(problems))


def _read_database() -> _Database:
    with _connect(connection.get_connection_params()) as database:
        version = ".".join(map(str, divmod(database.info.server_version, 10_000)))
        [(used, max_connections, archive_fails)] = database.execute(_CONNECTIONS).fetchall()
        fetch = catalog.over(database)
        applied = catalog.read_applied(fetch)
        return _Database(version, used, max_connections, archive_fails, applied, _problems(fetch, applied))


def _problems(fetch: catalog.Fetch, applied: frozenset[Migration]) -> list[Problem] | None:
    try:
        return inspect(fetch, applied)
    except psycopg.Error as error:
        logger.warning("the database's roles and policies cannot be read", extra={"reason": type(error).__name__})
        return None
