"""A request as a call of the WSGI application, and its response."""

import asyncio
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse

from costtrack.web_server.bridge import Exchange, Message, build_environ

SCOPE: dict[str, Any] = {
    "method": "POST",
    "path": "/usage/events/é",
    "query_string": b"a=1",
    "http_version": "1.1",
    "scheme": "http",
    "server": ("127.0.0.1", "8000"),
    "client": ("127.0.0.1", "50000"),
    "headers": [(b"host", b"localhost"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x_forged", b"1")],
}


def test_headers_become_variables_and_forged_ones_do_not() -> None:
    environ = build_environ({**SCOPE, "headers": [*SCOPE["headers"], (b"transfer-encoding", b"chunked")]}, b"body")
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/usage/events/é"
    assert (environ["CONTENT_LENGTH"], environ["wsgi.input"].read()) == ("4", b"body")
    assert "HTTP_X_FORGED" not in environ
    assert "HTTP_TRANSFER_ENCODING" not in environ


class Client:
    """Reads a response, as far as `reads` allows, and may go away."""

    def __init__(self, *, reads: int = 1000) -> None:
        self.messages: list[Message] = []
        self.leaves = asyncio.Event()
        self._reads = reads

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    def send(self, message: Message) -> "Client":
        """As granian's: it takes the message at once; who sends more awaits that it was read."""
        self.messages.append(message)
        return self

    def __await__(self) -> Generator[Any, None, None]:
        if len(self.messages) > self._reads:
            yield from asyncio.Event().wait().__await__()


def exchange_with(
    client: Client, application: Callable[..., Iterable[bytes]], *, streams: int = 1, timeout: float = 60
) -> Exchange:
    """Run the application in a thread, as the server does."""

    async def run() -> Exchange:
        exchange = Exchange(build_environ(SCOPE), client.receive, client.send, timeout=timeout, closes_connection=False)
        semaphore = threading.Semaphore(streams)
        await asyncio.to_thread(exchange.run, application, semaphore, lambda: [{"type": "refused"}])
        assert semaphore.acquire(blocking=False) == bool(streams), "it is given back"
        return exchange

    return asyncio.run(run())


class Endless:
    """A download without an end, which notes when it is closed."""

    def __init__(self, before_part: Callable[[int], object] = lambda _: None) -> None:
        self.is_closed = False
        self._before_part = before_part

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> StreamingHttpResponse:
        start_response("200 OK", [("Content-Type", "text/csv")])
        return StreamingHttpResponse(self._parts())

    def _parts(self) -> Iterator[bytes]:
        try:
            number = 0
            while True:
                self._before_part(number)
                number += 1
                yield b"row"
        finally:
            self.is_closed = True


def test_a_client_that_does_not_read_gives_the_thread_back_and_gets_no_end() -> None:
    client, download = Client(reads=5), Endless()
    assert exchange_with(client, download, timeout=1).is_broken
    assert download.is_closed
    assert all(message.get("more_body", True) for message in client.messages)


def test_a_client_that_goes_away_ends_its_download() -> None:
    client = Client()
    download = Endless(lambda number: client.leaves.set() if number == 3 else None)
    exchange_with(client, download)
    assert download.is_closed
    assert len(client.messages) < 1000


def test_an_error_in_the_middle_does_not_look_like_the_end() -> None:
    client = Client()
    download = Endless(lambda number: 1 / (3 - number))
    assert exchange_with(client, download).is_broken
    assert all(message.get("more_body", True) for message in client.messages)


def test_more_long_responses_than_may_occupy_threads_are_refused() -> None:
    client, download = Client(), Endless()
    exchange_with(client, download, streams=0)
    assert client.messages == [{"type": "refused"}]


def test_a_short_response_is_sent_at_once() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., object]) -> HttpResponse:
        start_response("201 Created", [("Content-Length", "2")])
        return HttpResponse(b"{}")

    client = Client(reads=0)
    assert not exchange_with(client, application).is_broken
    assert [message["type"] for message in client.messages] == ["http.response.start", "http.response.body"]
    assert (client.messages[0]["status"], client.messages[1]["body"]) == (201, b"{}")
