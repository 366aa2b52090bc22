"""How many requests a credential may make in a minute: as many as its organization's plan says.

Rate limits protect the servers; spend limits (`billing.limits`) protect the organization's money. They have nothing in
common but the status 429.

**The rule.** A request is let through while fewer than N of the credential's requests were let through in the last 60
seconds. So no 60 seconds, wherever they begin, see more than N; a fixed minute, or a bucket that refills (GCRA), lets
up to twice as many through. Refused requests do not count: who retries in vain is not kept out longer.

**How.** Requests are counted by the second in which they came, in one Redis hash of at most 61 numbers, whatever N is
(a log of single requests would hold N). A second leaves as a whole, when its last instant is 60 seconds old, so a place
may come back up to one second late and never early. One script counts, decides and takes the place, so concurrent
requests of any number of processes see each other; time is Redis' clock, because machines' clocks differ.

**Without Redis** requests go through: nobody is locked out of their costs because a counter is away. A short timeout
and a breaker bound what that costs: a quarter of a second, for one request in five seconds of each process.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import NoScriptError

from costtrack import heartbeat
from costtrack.breaker import Breaker
from costtrack.errors import DomainError
from costtrack.health.registry import Check
from organizations.models import APICredential, Organization

WINDOW_SECONDS = 60
TIMEOUT_SECONDS = 0.25

_KEY = "costtrack:requests:"
_SCRIPT = """
local now = tonumber(redis.call('TIME')[1])
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local taken, oldest = 0, now
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
    local second = tonumber(counts[i])
    if second < now - window then
        redis.call('HDEL', KEYS[1], counts[i])
    else
        taken = taken + tonumber(counts[i + 1])
        oldest = math.min(oldest, second)
    end
end
local granted = taken < limit and 1 or 0
if granted == 1 then
    taken = taken + 1
    redis.call('HINCRBY', KEYS[1], now, 1)
    redis.call('EXPIRE', KEYS[1], window + 1)
end
return {granted, taken, oldest + window + 1, now}
"""
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

breaker = Breaker("rate limits")
"""Of this process."""


class RateLimitExceededError(DomainError):
    """The credential has made as many requests in the last minute as its plan allows."""

    status = 429
    code = "too_many_requests"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a credential's rate limit, with the request that asked counted in."""

    granted: bool
    limit: int
    """Requests in any 60 seconds."""
    remaining: int
    resets_at: int
    """Epoch seconds, by Redis' clock: when the first of the places that are taken is free again."""
    resets_in: int
    """The same, in seconds from now."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The names of the IETF's draft, where a reset is in seconds, and the older ones, where it is an instant."""
        limit, remaining = str(self.limit), str(self.remaining)
        return {
            "RateLimit-Limit": limit,
            "RateLimit-Remaining": remaining,
            "RateLimit-Reset": str(self.resets_in),
            "X-RateLimit-Limit": limit,
            "X-RateLimit-Remaining": remaining,
            "X-RateLimit-Reset": str(self.resets_at),
        }


def take_slot(*, organization: Organization, credential: APICredential) -> Allowance | None:
    """Count a request, if it may go ahead. None if nothing limits it: the plan has no rate limit, or Redis is away."""
    limit = organization.plan.requests_per_minute
    if limit is None or not breaker.may_try():
        return None
    try:
        granted, taken, resets_at, now = _run(f"{_KEY}{credential.pk}", limit)
    except redis.RedisError as error:
        breaker.failed(error)
        return None
    breaker.worked()
    return Allowance(
        granted=bool(granted),
        limit=limit,
        remaining=max(limit - taken, 0),
        resets_at=resets_at,
        resets_in=resets_at - now,
    )


def refusal(allowance: Allowance) -> RateLimitExceededError:
    return RateLimitExceededError("Rate limit exceeded", headers={"Retry-After": str(allowance.resets_in)})


def _run(key: str, limit: int) -> Any:
    """One round trip; two when Redis does not know the script yet."""
    client = heartbeat.client(TIMEOUT_SECONDS)
    try:
        return client.evalsha(_SHA, 1, key, limit, WINDOW_SECONDS)
    except NoScriptError:
        return client.eval(_SCRIPT, 1, key, limit, WINDOW_SECONDS)


# --- Health ----------------------------------------------------------------------------------------------------


def rate_limit_checks() -> list[Check]:
    """Whether this process can limit requests now."""
    started = time.perf_counter()
    try:
        heartbeat.client(TIMEOUT_SECONDS).ping()
    except redis.RedisError:
        return [_check("not enforced", {})]
    facts = {"Redis answers in": f"{(time.perf_counter() - started) * 1000:.1f} ms"}
    return [_check("not enforced" if breaker.is_open else "enforced", facts)]


def _check(state: str, facts: Mapping[str, str]) -> Check:
    ok = state == "enforced"
    advice = (
        ""
        if ok
        else f"Redis fails, or takes more than {TIMEOUT_SECONDS} s: requests go through without being limited. "
        "Limits hold again within seconds of its being back."
    )
    return Check("rate_limits", "Requests per minute", "Rate limits", ok=ok, state=state, facts=facts, advice=advice)
