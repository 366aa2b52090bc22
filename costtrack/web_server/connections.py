"""The connections of this process: how long each has been idle, and the end of those that are for too long.

granian has time limits for the header of a request, but none for connections on which nothing has ever arrived, that
wait for another request, or that speak HTTP/2; each counts against the maximum. It does not show its
connections either, so they are found among the file descriptors of the process. A duplicate of a descriptor refers to
the same connection even if the descriptor is closed and used again meanwhile.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from costtrack.web_server.balance import Balance
from costtrack.web_server.web_limits import WebLimits

logger = logging.getLogger(__name__)

Client = tuple[str, int]

_DESCRIPTORS = "/dev/fd"
_MAX_SWEEP_SECONDS = 1.0
_ACTIVE_SECONDS = 5.0
"""A connection is served by this process for this long after each request."""
# Above the first part of the maximum, connections without a request are closed, the longest idle ones first, until the
# second part is left.
_CROWDED, _RELAXED = 0.9, 0.8
# Linux: unread data ends a connection after this time, also while the client announces that it has no room.
_TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)


class Connections:
    """Use `begin` and `end` around each request. Thread-safe."""

    def __init__(self, limits: WebLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._running: dict[Client, int] = {}
        self._idle_since: dict[Client, float] = {}
        """Since the last request ended."""
        self._seen_since: dict[Client, float] = {}
        """Connections without a request so far."""
        self._balance = Balance.open()
        self._surplus = 0

    def begin(self, client: Client) -> bool:
        """Note the beginning of a request. Returns whether its connection should end with it, because another process
        serves fewer."""
        with self._lock:
            self._running[client] = self._running.get(client, 0) + 1
            if not self._surplus or client not in self._idle_since:  # a new connection may end anyway
                return False
            self._surplus -= 1
            return True

    def end(self, client: Client) -> None:
        with self._lock:
            self._running[client] -= 1
            if not self._running[client]:
                del self._running[client]
                self._idle_since[client] = time.monotonic()

    def abort(self, client: Client) -> None:
        """Close a connection in the middle of a response."""
        with _open_connections() as connections:
            if (connection := connections.get(client)) is not None:
                _shut_down(connection)

    def start_sweeping(self) -> None:
        shortest = min(self._limits.keep_alive_timeout, self._limits.header_timeout)
        interval = min(shortest / 4, _MAX_SWEEP_SECONDS)
        threading.Thread(target=self._sweep_forever, args=(interval,), name="connections", daemon=True).start()

    def _sweep_forever(self, interval: float) -> None:
        while True:
            time.sleep(interval)
            try:
                self.sweep(time.monotonic())
            except Exception:
                logger.exception("idle connections were not closed")

    def sweep(self, now: float) -> None:
        """Close connections that have been idle for too long."""
        with _open_connections() as connections:
            idle = self._idle(connections, now)
            if self._balance is not None:
                self._surplus = self._balance.publish(self._active(now))
            excess = self._excess(len(connections))
            for number, (since, client, is_new) in enumerate(sorted(idle)):
                limit = self._limits.header_timeout if is_new else self._limits.keep_alive_timeout
                if number < excess or now - since > limit:
                    _shut_down(connections[client])

    def _idle(self, connections: dict[Client, socket.socket], now: float) -> list[tuple[float, Client, bool]]:
        """Return the connections without a running request: since when, and whether they never had one."""
        with self._lock:
            # Forget those that are gone.
            self._idle_since = {client: at for client, at in self._idle_since.items() if client in connections}
            seen = self._seen_since
            self._seen_since = {client: seen.get(client, now) for client in connections}
            idle = [client for client in connections if client not in self._running]
            found = [
                (self._idle_since.get(client, self._seen_since[client]), client, client not in self._idle_since)
                for client in idle
            ]
        for client in connections.keys() - seen.keys():
            self._set_user_timeout(connections[client])
        return found

    def _active(self, now: float) -> int:
        with self._lock:
            recent = {client for client, since in self._idle_since.items() if now - since < _ACTIVE_SECONDS}
            return len(recent | self._running.keys())

    def _excess(self, count: int) -> int:
        maximum = self._limits.max_connections
        return count - round(maximum * _RELAXED) if count > maximum * _CROWDED else 0

    def _set_user_timeout(self, connection: socket.socket) -> None:
        if _TCP_USER_TIMEOUT is not None:
            with suppress(OSError):
                milliseconds = round(self._limits.response_timeout * 1000)
                connection.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, milliseconds)


@contextmanager
def _open_connections() -> Iterator[dict[Client, socket.socket]]:
    """Yield duplicates of the connections that clients have opened to this process."""
    sockets = list(_sockets())
    try:
        listening = {connection.getsockname()[1] for connection in sockets if _is_listening(connection)}
        accepted: dict[Client, socket.socket] = {}
        for connection in sockets:
            with suppress(OSError):
                if connection.getsockname()[1] in listening:
                    accepted[connection.getpeername()[:2]] = connection
        yield accepted
    finally:
        for connection in sockets:
            connection.close()


def _sockets() -> Iterator[socket.socket]:
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - names only
        with suppress(OSError):
            descriptor = os.dup(int(name))
            try:
                connection = socket.socket(fileno=descriptor)
            except OSError:  # it is not a socket
                os.close(descriptor)
                continue
            if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM:
                yield connection
            else:
                connection.close()


def _is_listening(connection: socket.socket) -> bool:
    try:
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError:
        return False


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
