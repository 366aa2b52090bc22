"""Connections of clients that no HTTP library would open: half-sent requests, and responses that are not read."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_PIECE = 1 << 16


@dataclass
class RawConnection:
    """One connection to a server."""

    socket: socket.socket

    def send(self, *lines: str, body: bytes = b"") -> None:
        """Send lines of a request's head and what follows them. An empty line ends the head."""
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode() + body)

    def response(self) -> tuple[int, bytes]:
        """Return the status and the head of the next response, and read its body."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.socket.recv(_PIECE)
            assert piece, f"closed after {received!r}"
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(_PIECE)
        return int(head.split()[1]), head.lower() + b"\r\n\r\n" + body

    def response_if_any(self) -> bytes:
        """Return the next response, in lower case, if it has come; does not wait for its beginning."""
        return self.response()[1] if select.select([self.socket], [], [], 0)[0] else b""

    def is_closed(self) -> bool:
        """Whether the server has closed it; does not wait."""
        while select.select([self.socket], [], [], 0)[0]:
            try:
                if not self.socket.recv(_PIECE):
                    return True
            except ConnectionError:
                return True
        return False


@contextmanager
def raw_connections(port: int, count: int) -> Iterator[list[RawConnection]]:
    """Open connections, and close them after the block."""
    opened: list[RawConnection] = []
    try:
        while len(opened) < count:
            opened.append(RawConnection(socket.create_connection(("127.0.0.1", port), timeout=30)))
        yield opened
    finally:
        for connection in opened:
            connection.socket.close()
