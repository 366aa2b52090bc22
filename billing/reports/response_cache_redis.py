"""A cache of rendered answers, for each organization by itself.

An answer is kept with the state of the ledger that it is of, and is served only while that is the state: so it never
hides what was acknowledged. A question has one place, whose answer is replaced when the ledger has changed; had each
state a place of its own, a busy ledger would fill Redis with answers that nobody asks for any more.

Redis may be down: then nothing is kept, and for some seconds it is not even asked.
"""

import hashlib
import logging
import time
from dataclasses import dataclass

from django.core.cache import cache
from django.db import connection
from redis.exceptions import RedisError

from organizations.models import Organization

logger = logging.getLogger(__name__)

TTL_SECONDS = 300
_LARGEST = 1024 * 1024
_REST_SECONDS = 5.0

# billing/migrations/0012
_STATE = "SELECT billing_ledger_state(%s)"

_rests_until = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A rendered body, the headers that belong to it, and the state of the ledger that it is of."""

    state: str
    body: bytes
    headers: dict[str, str]


def ledger_state(*, organization: Organization) -> str:
    """Differs whenever answers may. To be read before the answer is made: what comes in between is then in the answer
    and not in the state, which nobody will see again."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE, [organization.pk])
        (state,) = cursor.fetchone()
    return str(state)


def cached_response(*, organization: Organization, query: str, state: str) -> Answer | None:
    """The answer to a question (its path and everything that was asked for), if the ledger is still in this state."""
    if _rests():
        return None
    try:
        answer = cache.get(_place(organization, query))
    except RedisError as error:
        _rest(error)
        return None
    return answer if isinstance(answer, Answer) and answer.state == state else None


def cache_response(*, organization: Organization, query: str, answer: Answer) -> None:
    if _rests() or len(answer.body) > _LARGEST:
        return
    try:
        cache.set(_place(organization, query), answer, TTL_SECONDS)
    except RedisError as error:
        _rest(error)


def _place(organization: Organization, query: str) -> str:
    return f"answer:{organization.pk}:{hashlib.sha256(query.encode()).hexdigest()}"


def _rests() -> bool:
    return time.monotonic() < _rests_until


def _rest(error: RedisError) -> None:
    global _rests_until
    _rests_until = time.monotonic() + _REST_SECONDS
    logger.warning("answers are not kept: %s", error)
