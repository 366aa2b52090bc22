"""Clients that send half a request, or more than they may: the server answers all others, and ends them in time."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

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


def idle_after_a_request(connection: RawConnection) -> None:
    connection.send("GET /healthz HTTP/1.1", "Host: localhost", "")
    assert connection.response()[0] == 200


KINDS: list[Callable[[RawConnection], None]] = [
    nothing,
    preface,
    half_a_head,
    half_a_chunked_body,
    half_a_body,
    idle_after_a_request,
]


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """Half-sent requests stay open for as long as the tests need them."""
    limits = {"COSTTRACK_WEB_BODY_IDLE_TIMEOUT": "120", "COSTTRACK_WEB_HEADER_TIMEOUT": "60"}
    return start_server(COSTTRACK_DATABASE_POOL="true", **limits)


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


def test_500_half_sent_requests_and_20_huge_bodies_do_not_delay_others(server: Server, client: httpx.Client) -> None:
    """All of them stay open while others are answered."""
    for number in range(40):
        assert client.post("/usage/events", json=[{"id": f"quiet-{number}"}]).status_code == 200
    quiet = resident(server)
    with raw_connections(server.port, 520) as connections:
        for number, connection in enumerate(connections[:500]):
            KINDS[number % len(KINDS)](connection)
        for connection in connections[500:]:
            connection.send(*POST, f"Content-Length: {64 * MEGABYTE}", "", body=b" " * MEGABYTE)
        for _ in range(10):  # on new connections, to both processes
            assert httpx.get(f"{server.url}/healthz", timeout=60, verify=NO_TLS).status_code == 200
        for number in range(40):
            assert client.post("/usage/events", json=[{"id": f"busy-{number}"}]).status_code == 200
        assert [connection.response()[0] for connection in connections[500:]] == [401] * 20
        assert resident(server) < 1.5 * quiet
        half_sent = [connection for number, connection in enumerate(connections[:500]) if number % len(KINDS) > 1]
        assert not any(connection.is_closed() for connection in half_sent), (
            "the test was slower than the server's limits"
        )


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


@pytest.mark.parametrize("send", KINDS)
def test_a_half_sent_request_is_ended(impatient_server: Server, send: Callable[[RawConnection], None]) -> None:
    with raw_connections(impatient_server.port, 20) as connections:
        for connection in connections:
            send(connection)
        wait_until(lambda: all(connection.is_closed() for connection in connections))
    assert httpx.get(f"{impatient_server.url}/healthz", timeout=60, verify=NO_TLS).status_code == 200
