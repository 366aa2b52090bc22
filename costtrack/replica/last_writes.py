"""The position in the write-ahead log after each caller's last write, in Redis, for all processes.

Only the positions of the last seconds count: what is older than `COSTTRACK_REPLICA_MAX_LAG` has been replayed by each
replica that is used. So a Redis that has lost its data is trusted again after that time.
"""

from hashlib import blake2b

from django.conf import settings
from django.db import Error, connection
from redis.exceptions import RedisError

from costtrack import heartbeat
from costtrack.breaker import Breaker
from costtrack.database.replica import read_written_position

_PREFIX = "costtrack:written:"
_PROBE = "costtrack:written"
_NEVER_REPLAYED = 2**53 - 1  # Lua's numbers are exact up to here
_MARGIN_SECONDS = 60
# Processes of one caller may store their positions in another order than they have read them.
_STORE_IF_LATER = """
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or '0') then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
"""

# A short pause: other processes may reach Redis already, and read from the replica.
breaker = Breaker("last writes", pause_seconds=0.5)


class UnknownWritesError(Exception):
    """It is not known what a caller has written last."""


def remember_write(caller: str) -> None:
    """Store the current position as that of the caller's last write. Call it after the commit, and before the
    response."""
    try:
        position = read_written_position()
    except Error:
        connection.close()
        position = _NEVER_REPLAYED
    if not breaker.may_try():
        return
    try:
        expires_after = settings.REPLICA_MAX_LAG + _MARGIN_SECONDS
        heartbeat.client().eval(_STORE_IF_LATER, 1, _key(caller), position, expires_after)
    except RedisError as error:
        breaker.failed(error)
    else:
        breaker.worked()


def last_write(caller: str) -> int:
    """Return the position after the caller's last write, 0 if there was none lately. Raises UnknownWritesError if
    Redis is unavailable, refuses writes, or was so lately."""
    if not breaker.may_try():
        raise UnknownWritesError
    try:
        with heartbeat.client().pipeline(transaction=False) as commands:
            commands.get(_key(caller))
            commands.set(_PROBE, 1, ex=_MARGIN_SECONDS)
            commands.info("server")
            position, _, server = commands.execute()
    except RedisError as error:
        breaker.failed(error)
        raise UnknownWritesError from error
    breaker.worked()
    if server["uptime_in_seconds"] <= settings.REPLICA_MAX_LAG:
        raise UnknownWritesError
    return int(position or 0)


def _key(caller: str) -> str:
    return _PREFIX + blake2b(caller.encode(), digest_size=16).hexdigest()
