"""Clients that send half a request, or more than they may: the server answers all others, and ends them in time."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from statistics import median

import httpx
import pytest

from tests.concurrency.conftest import Server, StartServer
from tests.concurrency.raw_http import RawConnection, raw_connections
from tests.concurrency.workers import locked_ledger, wait_until
from tests.conftest import Key
from tests.plain_http import NO_TLS

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = 1 << 20
POST = ("POST /usage/events HTTP/1.1", "Host: localhost", "Content-Type: application/json")


def nothing(connection: RawConnection) -> None:
    del connection


def preface(connection: RawConnection) -> None:
    """The first letter of POST, and of HTTP/2."""
    connection.send(body=b"P")


def half_a_head(connection: RawConnection) -> None:
    connection.send(*POST)


def half_a_chunked_body(connection: RawConnection) -> None:
    connection.send(*POST, "Transfer-Encoding: chunked", "", body=b'5\r\n[{"a"\r\n')


def half_a_body(connection: RawConnection) -> None:
    connection.send(*POST, "Content-Length: 1000", "", body=b'[{"a"')


def trickle(connection: RawConnection) -> None:
    """The start of a body of which `trickling` sends the rest, byte by byte."""
    half_a_body(connection)


def idle_after_a_request(connection: RawConnection) -> None:
    connection.send("GET /healthz HTTP/1.1", "Host: localhost", "")
    assert connection.response()[0] == 200


KINDS: list[Callable[[RawConnection], None]] = [
    nothing,
    preface,
    half_a_head,
    half_a_chunked_body,
    half_a_body,
    trickle,
    idle_after_a_request,
]


HALF_SENT, HUGE_BODIES = 500, 20


@contextmanager
def besieging(port: int) -> Iterator[list[RawConnection]]:
    """500 half-sent requests of all kinds, which trickle on where that is their kind, and 20 bodies of 64 MiB."""
    with raw_connections(port, HALF_SENT + HUGE_BODIES) as connections:
        for number, connection in enumerate(connections[:HALF_SENT]):
            KINDS[number % len(KINDS)](connection)
        for connection in connections[HALF_SENT:]:
            connection.send(*POST, f"Content-Length: {64 * MEGABYTE}", "", body=b" " * MEGABYTE)
        with trickling(connections[KINDS.index(trickle) : HALF_SENT : len(KINDS)]):
            yield connections


@contextmanager
def trickling(connections: Sequence[RawConnection]) -> Iterator[None]:
    """Send a byte on each connection, several times a second."""
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(0.2):
            for connection in connections:
                with suppress(OSError):  # the server has closed it
                    connection.send(body=b" ")

    with ThreadPoolExecutor(1) as executor:
        sending = executor.submit(send)
        try:
            yield
        finally:
            ended.set()
        sending.result()


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """Half-sent requests stay open for as long as the tests need them."""
    limits = {"COSTTRACK_WEB_BODY_IDLE_TIMEOUT": "120", "COSTTRACK_WEB_HEADER_TIMEOUT": "60"}
    return start_server(**limits)


@pytest.fixture(scope="module")
def impatient_server(start_shared_server: StartServer) -> Server:
    limits = ("BODY_IDLE_TIMEOUT", "HEADER_TIMEOUT", "BODY_TIMEOUT")
    environment = dict.fromkeys((f"COSTTRACK_WEB_{limit}" for limit in limits), "1")
    # A test has to send requests more often than that, also on a busy machine.
    environment |= {"COSTTRACK_WEB_KEEP_ALIVE_TIMEOUT": "4", "COSTTRACK_STATEMENT_TIMEOUT": "0"}
    return start_shared_server(workers=1, **environment)


@pytest.fixture
def client(server: Server, key: Key) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {key.api_key}"}, timeout=60, verify=NO_TLS
    ) as client:
        yield client


def resident(server: Server) -> float:
    return sum(process.memory_info().rss for process in server.workers()) / MEGABYTE


def test_500_half_sent_requests_and_20_huge_bodies_do_not_delay_others(
    server: Server, impatient_server: Server, client: httpx.Client
) -> None:
    """All of them stay open while others are answered. Calls to a server without them alternate with calls to this one,
    so that other load of the machine slows down both."""
    for number in range(40):
        assert client.post("/usage/events", json=[{"id": f"quiet-{number}"}]).status_code == 200
    quiet_memory = resident(server)
    with (
        besieging(server.port) as connections,
        httpx.Client(base_url=impatient_server.url, headers=client.headers, timeout=60, verify=NO_TLS) as quiet_client,
    ):
        health = [httpx.get(f"{server.url}/healthz", timeout=60, verify=NO_TLS) for _ in range(10)]  # to both processes
        assert {response.status_code for response in health} == {200}
        assert max(response.elapsed.total_seconds() for response in health) < 1
        seconds, quiet_seconds = (list(times) for times in zip(*call_both(client, quiet_client), strict=True))
        assert median(seconds) < 2 * median(quiet_seconds)
        assert [connection.response()[0] for connection in connections[HALF_SENT:]] == [401] * HUGE_BODIES
        assert resident(server) < 1.5 * quiet_memory
        half_sent = [connection for number, connection in enumerate(connections[:HALF_SENT]) if number % len(KINDS) > 1]
        assert not any(connection.is_closed() for connection in half_sent), (
            "the test was slower than the server's limits"
        )
        wait_until(lambda: all(connection.is_closed() for connection in connections[HALF_SENT:]))


def call_both(*clients: httpx.Client) -> Iterator[tuple[float, ...]]:
    """Yield the seconds of a call by each client, one after the other."""
    for number in range(40):
        responses = [
            client.post("/usage/events", json=[{"id": f"call-{number}-{index}"}])
            for index, client in enumerate(clients)
        ]
        assert [response.status_code for response in responses] == [200] * len(clients)
        yield tuple(response.elapsed.total_seconds() for response in responses)


def test_a_request_that_takes_long_and_a_busy_connection_are_not_ended(impatient_server: Server, key: Key) -> None:
    """They last longer than the limits, which end half-sent requests meanwhile, twice in a row."""
    headers = {"Authorization": f"Bearer {key.api_key}"}
    with (
        httpx.Client(base_url=impatient_server.url, headers=headers, timeout=60, verify=NO_TLS) as slow,
        raw_connections(impatient_server.port, 1) as [busy],
        ThreadPoolExecutor(1) as executor,
    ):

        def all_are_closed(connections: list[RawConnection]) -> bool:
            idle_after_a_request(busy)
            return all(connection.is_closed() for connection in connections)

        with locked_ledger():
            answer = executor.submit(slow.post, "/usage/events", json={"id": "slow"})
            for _ in range(2):
                with raw_connections(impatient_server.port, 5) as connections:
                    half_a_head(connections[0])
                    idle_after_a_request(connections[1])
                    wait_until(partial(all_are_closed, connections))
        assert answer.result().status_code == 200


def test_half_sent_requests_are_ended_in_their_time(impatient_server: Server) -> None:
    with besieging(impatient_server.port) as connections:
        wait_until(lambda: all(connection.is_closed() for connection in connections[:HALF_SENT]))
    assert httpx.get(f"{impatient_server.url}/healthz", timeout=60, verify=NO_TLS).status_code == 200
