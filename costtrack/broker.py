"""Celery's Redis transport: kombu's, with one bug fixed (registered in `costtrack.celery`)."""

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """A channel that remembers the address of its server.

    A worker that loses Redis closes the connection and its channels, each of which tries to return its unacknowledged
    messages: tasks that are running, and tasks with a countdown. Later a running task ends and is acknowledged on the
    closed channel. In both cases kombu (5.7) needs a new connection to Redis and reads the address from the connection
    that is gone. The result is an AttributeError, which is not one of the connection errors that Celery handles, and
    the worker exits. With the address at hand, the same calls succeed if Redis is back, and raise a connection error
    if it is not. (Messages are acknowledged by their tags, whichever connection is used.)
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._parameters: dict[bool, dict[str, Any]] = {}
        super().__init__(*args, **options)

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - kombu's signature
        if asynchronous not in self._parameters:
            self._parameters[asynchronous] = super()._connparams(asynchronous)  # type: ignore[misc]  # no stub has it
        return dict(self._parameters[asynchronous])


class Transport(redis.Transport):
    Channel = Channel
