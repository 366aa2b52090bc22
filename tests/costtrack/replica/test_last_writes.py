"""What Redis knows about the last writes of callers, and when it does not."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from costtrack import heartbeat
from costtrack.breaker import Breaker
from costtrack.database.replica import read_written_position
from costtrack.replica import last_writes
from costtrack.replica.last_writes import UnknownWritesError, last_write, remember_write
from tests.redis_server import RedisServer

pytestmark = pytest.mark.django_db

IN_ANY_CASE = -1
"""Seconds that Redis has to run before it is trusted."""


@pytest.fixture(autouse=True)
def redis(redis_server: RedisServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    settings.REDIS_URL, settings.REPLICA_MAX_LAG = redis_server.url, IN_ANY_CASE
    monkeypatch.setattr(last_writes, "breaker", Breaker("last writes", pause_seconds=0))
    heartbeat.client.cache_clear()
    yield redis_server
    heartbeat.client.cache_clear()


def test_the_last_write_of_each_caller_is_known() -> None:
    before = read_written_position()
    remember_write("writer")

    assert last_write("writer") >= before
    assert last_write("reader") == 0


def test_a_position_that_is_stored_late_does_not_replace_a_later_one() -> None:
    remember_write("writer")
    (key,) = heartbeat.client().keys("costtrack:written:*")
    heartbeat.client().set(key, 2**52)

    remember_write("writer")

    assert last_write("writer") == 2**52


def test_without_redis_writes_succeed_and_are_unknown_until_it_has_run_for_a_while(
    redis: RedisServer, settings: Settings
) -> None:
    redis.stop()
    remember_write("writer")
    with pytest.raises(UnknownWritesError):
        last_write("writer")

    redis.start()
    settings.REPLICA_MAX_LAG = 3600
    with pytest.raises(UnknownWritesError):
        last_write("writer")
    settings.REPLICA_MAX_LAG = IN_ANY_CASE
    assert last_write("writer") == 0


def test_a_full_redis_does_not_know_the_last_write(redis: RedisServer) -> None:
    redis.client.config_set("maxmemory", "1")
    remember_write("writer")
    with pytest.raises(UnknownWritesError):
        last_write("writer")
