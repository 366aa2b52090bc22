"""A channel that was closed while messages were unacknowledged."""

from typing import Any

import pytest
import redis
from kombu import Connection, Message

from costtrack import broker
from costtrack.celery import app
from costtrack.queues import Queue
from tests.redis_server import RedisServer

QUEUE = Queue.EXPORTS


def take_message(server: RedisServer, connection: Connection) -> Message:
    app.send_task("costtrack.tick", kwargs={"queue": QUEUE.value}, queue=QUEUE.value, connection=connection)
    message = connection.SimpleQueue(QUEUE.value, channel=connection.default_channel).get(timeout=10)
    assert (server.pending(QUEUE), server.unacknowledged()) == (0, 1)
    return message


def lose(server: RedisServer, connection: Connection) -> None:
    """What a worker does when Redis is gone and another channel of the connection has failed to close first."""
    server.stop()
    connection._do_close_transport()
    connection.close()


def test_a_lost_channel_closes_and_its_message_is_acknowledged_once_redis_is_back(redis_server: RedisServer) -> None:
    connection = redis_server.connection()
    message = take_message(redis_server, connection)
    lose(redis_server, connection)
    redis_server.start()
    message.ack()
    assert (redis_server.pending(QUEUE), redis_server.unacknowledged()) == (0, 0)


def test_while_redis_is_away_acknowledging_is_a_connection_error_which_workers_handle(
    redis_server: RedisServer,
) -> None:
    connection = redis_server.connection()
    message = take_message(redis_server, connection)
    lose(redis_server, connection)
    with pytest.raises(redis.ConnectionError) as error:
        message.ack()
    assert isinstance(error.value, connection.connection_errors)


def test_a_write_that_redis_refuses_is_an_error_that_workers_survive(redis_server: RedisServer) -> None:
    """As when its disk or its memory is full. By default a worker ends on errors of this kind."""
    redis_server.client.config_set("min-replicas-to-write", 1)
    connection = redis_server.connection()
    channel: Any = connection.default_channel
    with pytest.raises(redis.ResponseError) as error:
        channel.client.rpush(QUEUE.value, "message")
    assert isinstance(error.value, connection.channel_errors)
    assert app.conf.broker_channel_error_retry


@pytest.mark.parametrize("url", ["redis://localhost/0", "rediss://localhost/0", "redis+socket:///tmp/redis.sock"])
def test_every_kind_of_url_leads_to_this_transport(url: str) -> None:
    assert app.connection_for_read(url).get_transport_cls() is broker.Transport
