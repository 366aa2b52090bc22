"""costtrack-litellm in a real LiteLLM proxy at full load, while a real costtrack and the proxy are restarted.

`COSTTRACK_TEST_LITELLM_CALLS=100000 pytest -n0 --timeout=0 tests/examples/test_litellm_restarts.py` makes more calls.
"""

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from pathlib import Path

import psycopg
import pytest

from costtrack.embedded import postgres_url, remove_sockets
from tests.examples.litellm_proxy import MASTER_KEY, REQUEST_BODY, Proxy
from tests.stack.running import Running

CALLS = int(os.environ.get("COSTTRACK_TEST_LITELLM_CALLS", "2000"))
# Each restart comes once, and again after each 25,000 calls more.
RESTARTS = 5
PARTS = (RESTARTS + 1) * max(1, CALLS // 25_000)
CLIENTS = 8

pytestmark = pytest.mark.timeout(480 + CALLS // 10)


@pytest.fixture
def costtrack(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "data")
    running.up()
    yield running
    running.end()
    remove_sockets(running.data)


class Load:
    """Clients that call the proxy without a pause until a number of calls was answered, and repeat calls that were
    not."""

    def __init__(self, proxy: Proxy, calls: int) -> None:
        self.ids: list[str] = []
        self._proxy, self._calls = proxy, calls
        self._changed = threading.Condition()
        self._clients = [threading.Thread(target=self._send, daemon=True) for _ in range(CLIENTS)]
        for client in self._clients:
            client.start()

    def wait_for(self, calls: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self.ids) >= calls)

    def wait(self) -> None:
        for client in self._clients:
            client.join()

    def _send(self) -> None:
        with closing(HTTPConnection(self._proxy.url.removeprefix("http://"), timeout=60)) as connection:
            self._send_by(connection)

    def _send_by(self, connection: HTTPConnection) -> None:
        headers = {"Authorization": f"Bearer {MASTER_KEY}", "Content-Type": "application/json"}
        body = json.dumps({"model": "mock", **REQUEST_BODY})
        while len(self.ids) < self._calls:
            try:
                connection.request("POST", "/v1/chat/completions", body, headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, HTTPException, ValueError):
                connection.close()
                time.sleep(0.2)  # the proxy is being restarted
                continue
            if response.status == HTTPStatus.OK:
                with self._changed:
                    self.ids.append(answer["id"])
                    self._changed.notify_all()


def test_no_call_is_lost_through_restarts_of_costtrack_and_of_the_proxy(
    costtrack: Running, gateway_python: Path, tmp_path: Path
) -> None:
    queue = tmp_path / "queue"
    environment = {
        "COSTTRACK_URL": costtrack.url,
        "COSTTRACK_TOKEN": create_key(costtrack),
        "COSTTRACK_MODE": "report",
        "COSTTRACK_QUEUE": str(queue),
    }
    proxy = Proxy(gateway_python, tmp_path, environment)
    try:
        proxy.wait_until_ready()
        load = Load(proxy, CALLS)
        for part, restart in zip(range(1, PARTS), cycle(restarts(costtrack, proxy)), strict=False):
            load.wait_for(part * CALLS // PARTS)
            restart()
        load.wait()
        if not costtrack.is_up:
            costtrack.up()
        wait_until_sent(queue)
    finally:
        proxy.end()
    with psycopg.connect(postgres_url(costtrack.data)) as database:
        stored = [event_id for (event_id,) in database.execute("SELECT event_id FROM billing_usageevent")]
    assert len(set(load.ids)) == len(load.ids) >= CALLS
    assert set(load.ids) <= set(stored)
    assert len(set(stored)) == len(stored)


def restarts(costtrack: Running, proxy: Proxy) -> tuple[Callable[[], object], ...]:
    """What happens after each part of the calls."""

    def restart_proxy() -> None:
        proxy.end()
        proxy.begin()

    def kill_the_web_server() -> None:
        os.kill(costtrack.pid_of("web"), signal.SIGKILL)  # its supervisor starts another one

    return (
        kill_the_web_server,
        lambda: costtrack.stop(signal.SIGTERM),
        restart_proxy,  # during the outage
        costtrack.up,
        restart_proxy,
    )


def create_key(costtrack: Running) -> str:
    """Return the API key of a new organization, with a price for the calls."""
    with costtrack.client() as client:
        client.post("/organizations", json={"name": "Acme", "slug": "acme"}).raise_for_status()
        price = {"model": "fine", "provider": "openai", "input_usd_per_million": "1", "output_usd_per_million": "2"}
        client.post("/organizations/acme/prices", json=price).raise_for_status()
        key = client.post("/organizations/acme/credentials", json={"name": "proxy", "scopes": ["usage:write"]})
        return str(key.raise_for_status().json()["api_key"])


def wait_until_sent(queue: Path) -> None:
    """Wait until costtrack has everything that the callback has stored on disk."""
    with closing(sqlite3.connect(queue / "queue.sqlite3")) as database:
        while database.execute("SELECT count(*) FROM item").fetchone() != (0,):
            time.sleep(0.5)  # another program's process, which has no signal for it
