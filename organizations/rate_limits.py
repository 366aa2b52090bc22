"""Rate limits: the requests that a credential, and all credentials of an organization together, may make in a minute,
by the organization's plan.

Rate limits protect the servers; spend limits (`billing.limits`) protect the organization's money. They share
only the status 429.

**The rule.** A request is accepted if fewer than N of the credential's requests were accepted in the last 60 seconds.
So no 60-second window contains more than N; fixed minutes, or a refilling bucket (GCRA), would allow up to twice as
many. Refused requests do not count, so retrying does not prolong the wait. An organization may make
`CREDENTIALS` times N, because it can create any number of credentials.

**How.** Requests are counted per second, in one Redis hash of up to 61 numbers, whatever N is (a log of single requests
would contain N). A second expires as a whole, when its last instant is 60 seconds old, so a slot becomes free up to one
second late and never early. One script counts, decides and takes the slot atomically; time is Redis' clock, because
the clocks of machines differ. If it is set back, what was counted later than now counts as of now.

**Without Redis** requests are not limited: an outage of the counter must not lock users out. A short timeout and a
circuit breaker bound the delay: a quarter of a second, for one request every five seconds per process.
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
CREDENTIALS = 10
"""How many credentials of an organization can make all their requests at the same time."""
TIMEOUT_SECONDS = 0.25

_KEY = "costtrack:requests:"
_SCRIPT = """
local now, window, granted = tonumber(redis.call('TIME')[1]), tonumber(ARGV[1]), 1
local states = {}
for number, key in ipairs(KEYS) do
    local limit, taken, oldest = tonumber(ARGV[number + 1]), 0, now
    local counts = redis.call('HGETALL', key)
    for i = 1, #counts, 2 do
        local second = tonumber(counts[i])
        if second > now then
            redis.call('HDEL', key, counts[i])
            redis.call('HINCRBY', key, now, counts[i + 1])
            second = now
        end
        if second <= now - window then
            redis.call('HDEL', key, counts[i])
        else
            taken = taken + tonumber(counts[i + 1])
            oldest = math.min(oldest, second)
        end
    end
    if taken >= limit then
        granted = 0
    end
    states[number] = {limit, taken, oldest + window}
end
for number, key in ipairs(KEYS) do
    if granted == 1 then
        states[number][2] = states[number][2] + 1
        redis.call('HINCRBY', key, now, 1)
        redis.call('EXPIRE', key, window)
    end
end
return {granted, now, states}
"""
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

breaker = Breaker("rate limits")
"""One per process."""


class RateLimitExceededError(DomainError):
    """The credential, or its organization, has exceeded the rate limit of the plan."""

    status = 429
    code = "too_many_requests"


@dataclass(frozen=True, slots=True)
class Allowance:
    """The state of a credential's rate limit, or of its organization's if fewer requests are left there, including the
    current request."""

    granted: bool
    limit: int
    """Requests in any 60 seconds."""
    remaining: int
    resets_at: int
    """When the oldest request leaves the window, in epoch seconds by Redis' clock."""
    resets_in: int
    """The same in seconds from now."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the IETF draft, where a reset is in seconds, and the older ones, where it is a timestamp."""
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
    """Count a request if it is allowed. None if it is not limited: the plan has no rate limit, or Redis is
    unavailable."""
    limit = organization.plan.requests_per_minute
    if limit is None or not breaker.may_try():
        return None
    limits = {
        f"{_KEY}{credential.pk}": limit,
        f"{_KEY}organization:{organization.pk}": limit * CREDENTIALS,
    }
    try:
        granted, now, states = _run(limits)
    except redis.RedisError as error:
        breaker.failed(error)
        return None
    breaker.worked()
    limit, taken, resets_at = min(states, key=lambda state: (max(state[0] - state[1], 0), -state[2]))
    return Allowance(
        granted=bool(granted),
        limit=limit,
        remaining=max(limit - taken, 0),
        resets_at=resets_at,
        resets_in=resets_at - now,
    )


def refusal(allowance: Allowance) -> RateLimitExceededError:
    return RateLimitExceededError("Rate limit exceeded", headers={"Retry-After": str(allowance.resets_in)})


def _run(limits: Mapping[str, int]) -> Any:
    """One round trip; two if Redis does not know the script yet."""
    client = heartbeat.client(TIMEOUT_SECONDS)
    keys_and_limits: list[str | int] = [*limits, WINDOW_SECONDS, *limits.values()]
    try:
        return client.evalsha(_SHA, len(limits), *keys_and_limits)
    except NoScriptError:
        return client.eval(_SCRIPT, len(limits), *keys_and_limits)


# --- Health ----------------------------------------------------------------------------------------------------


def rate_limit_checks() -> list[Check]:
    """Check whether this process can enforce rate limits now."""
    started = time.perf_counter()
    try:
        heartbeat.client(TIMEOUT_SECONDS).ping()
    except redis.RedisError:
        return [_check("not enforced", {})]
    details = {"Redis response time": f"{(time.perf_counter() - started) * 1000:.1f} ms"}
    return [_check("not enforced" if breaker.is_open else "enforced", details)]


def _check(state: str, details: Mapping[str, str]) -> Check:
    ok = state == "enforced"
    advice = (
        ""
        if ok
        else f"Redis is unavailable or slower than {TIMEOUT_SECONDS} s, so requests are not limited. "
        "Limits apply again seconds after Redis recovers."
    )
    return Check(
        "rate_limits", "Requests per minute", "Rate limits", ok=ok, state=state, details=details, advice=advice
    )
