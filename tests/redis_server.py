"""A Redis server of one test alone, which the test may stop and start."""

from pathlib import Path

import redis
from kombu import Connection

from costtrack import embedded
from costtrack.celery import app
from costtrack.queues import Queue


class RedisServer:
    def __init__(self, folder: Path) -> None:
        self._folder, self._server = folder, embedded.Redis(folder)
        self.url = self._server.url()
        self.client = redis.Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        """Return when it answers. It has the data that it had when it was stopped."""
        self._process = self._server.start(self._folder / "redis.log")
        self._server.wait_until_ready()

    def stop(self) -> None:
        embedded.stop(self._process)

    def remove(self) -> None:
        self.stop()
        self.client.close()
        embedded.remove_sockets(self._folder)

    def connection(self) -> Connection:
        """Celery's connection to this broker."""
        return app.connection_for_write(self.url.replace("unix", "redis+socket", 1))

    def pending(self, queue: Queue) -> int:
        """How many messages no worker has taken."""
        return int(self.client.llen(queue.value))

    def unacknowledged(self) -> int:
        """How many messages workers have taken and not finished."""
        return int(self.client.hlen("unacked"))
