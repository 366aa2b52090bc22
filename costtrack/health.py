"""`/healthz`: this process answers. `/readyz`: all that a request or a task needs is there.

Both are open to everybody, so they say what is wrong in one word, and details go to the log alone.
"""

import logging
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

import psycopg
import redis
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from costtrack import heartbeat

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 2
_STATEMENT_MILLISECONDS = 2000


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one thing that must be there, in a word or two."""

    ok: bool
    state: str


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process is up. It asks nothing else, so an outage elsewhere does not get the web server restarted."""
    del request
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when everything is there, otherwise 503 with the same shape."""
    del request
    checks = {**_database_checks(), **_redis_checks()}
    ready = all(check.ok for check in checks.values())
    return JsonResponse(
        {
            "status": "ready" if ready else "not ready",
            "checks": {name: {"ok": check.ok, "state": check.state} for name, check in checks.items()},
        },
        status=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _database_checks() -> dict[str, Check]:
    try:
        applied = _applied_migrations()
    except psycopg.Error as error:
        logger.warning("database is not ready", extra={"reason": type(error).__name__})
        return {"database": Check(ok=False, state="unreachable"), "migrations": Check(ok=False, state="unknown")}
    missing = _latest_migrations() - applied
    return {
        "database": Check(ok=True, state="reachable"),
        "migrations": Check(ok=False, state="pending") if missing else Check(ok=True, state="applied"),
    }


def _applied_migrations() -> set[tuple[str, str]]:
    """Read over a connection of its own: the pool would let us wait for as long as a request may."""
    parameters = {**connection.get_connection_params(), "connect_timeout": _CONNECT_SECONDS}
    with psycopg.connect(**parameters, autocommit=True) as database:
        database.execute(f"SET statement_timeout = {_STATEMENT_MILLISECONDS}")
        if database.execute("SELECT to_regclass('django_migrations')").fetchone() == (None,):
            return set()
        rows = database.execute("SELECT app, name FROM django_migrations").fetchall()
    return {(app, name) for app, name in rows}


@lru_cache(maxsize=1)
def _latest_migrations() -> frozenset[tuple[str, str]]:
    """The last migration of each app in this release; the ones before it must have been applied first."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


def _redis_checks() -> dict[str, Check]:
    try:
        alive = heartbeat.is_alive()
    except redis.RedisError as error:
        logger.warning("redis is not ready", extra={"reason": type(error).__name__})
        return {"redis": Check(ok=False, state="unreachable"), "worker": Check(ok=False, state="unknown")}
    return {
        "redis": Check(ok=True, state="reachable"),
        "worker": Check(ok=True, state="running") if alive else Check(ok=False, state="not running"),
    }
