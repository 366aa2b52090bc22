"""A Redis cache of rendered responses, separate for each organization.

A response is stored with the ledger state that it was computed from, and served only while the ledger is in that state,
so the cache never hides acknowledged usage. The key does not contain the state: a new response replaces the old one, so
a busy ledger does not fill Redis with stale responses.

If Redis is down, nothing is cached, and Redis is not contacted for a few seconds.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from django.core.cache import cache
from redis.exceptions import RedisError

from costtrack.breaker import Breaker
from costtrack.database.queries import fetch_rows
from organizations.models import Organization

TTL_SECONDS = 300
_MAX_BODY_BYTES = 1024 * 1024

# billing/migrations/sql/0004_ledger_state.sql
_STATE = "SELECT billing_ledger_state(%s)"

breaker = Breaker("response cache")


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A rendered body, its headers, and the ledger state that it was computed from."""

    state: str
    body: bytes
    headers: dict[str, str]


def ledger_state(*, organization: Organization) -> str:
    """Return a text that changes whenever responses may change. Read it before building the response: usage that
    arrives in between is then in a response that is cached under an outdated state and never served."""
    [(state,)] = fetch_rows(_STATE, [organization.pk])
    return str(state)


def get_cached_response(*, organization: Organization, query: str, state: str) -> CachedResponse | None:
    """Return the cached response of a query (its path and parameters) if the ledger is still in this state."""
    stored = _try(lambda: cache.get(_cache_key(organization, query)))
    try:
        response = msgspec.convert(stored, CachedResponse)
    except msgspec.ValidationError:  # nothing, or of another release
        return None
    return response if response.state == state else None


def cache_response(*, organization: Organization, query: str, response: CachedResponse) -> None:
    if len(response.body) <= _MAX_BODY_BYTES:
        _try(lambda: cache.set(_cache_key(organization, query), response, TTL_SECONDS))


def _cache_key(organization: Organization, query: str) -> str:
    return f"answer:{organization.pk}:{hashlib.sha256(query.encode()).hexdigest()}"


def _try(use_redis: Callable[[], object]) -> object:
    """Return the result of a Redis command, or None if Redis is unavailable."""
    if not breaker.may_try():
        return None
    try:
        result = use_redis()
    except RedisError as error:
        breaker.failed(error)
        return None
    breaker.worked()
    return result
