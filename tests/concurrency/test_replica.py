"""Reports of a real web server from a real standby, whose replay is paused, and which is killed."""

import time
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from costtrack import heartbeat
from costtrack.clock import utc_now
from organizations.types import Scope
from tests.concurrency.conftest import Server, StartServer
from tests.concurrency.standby import Standby
from tests.conftest import Key, make_key
from tests.plain_http import NO_TLS

pytestmark = pytest.mark.django_db(transaction=True)

MAX_LAG = 15
TOKEN = "read-by-prometheus"
DEADLINE_SECONDS = 30
REPLICA, OWN_WRITE, UNAVAILABLE, FAILED = "replica", "own_write", "unavailable", "failed"


@pytest.fixture(scope="module")
def standby(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Standby]:
    with django_db_blocker.unblock(), Standby() as running:
        yield running


@pytest.fixture(scope="module")
def server(standby: Standby, start_shared_server: StartServer) -> Server:
    # Writes from before the start of Redis would not be known.
    while heartbeat.client().info("server")["uptime_in_seconds"] <= MAX_LAG:
        time.sleep(0.1)
    return start_shared_server(
        DATABASE_REPLICA_URL=standby.url,
        COSTTRACK_REPLICA_MAX_LAG=str(MAX_LAG),
        COSTTRACK_DATABASE_POOL="true",
        COSTTRACK_METRICS_TOKEN=TOKEN,
    )


class Caller:
    """A key, and what the installation answers it."""

    def __init__(self, server: Server, key: Key) -> None:
        self._url, self._headers = server.url, {"Authorization": f"Bearer {key.api_key}"}

    def send(self, event: str) -> datetime:
        """Send an event that costs a dollar; return when it was acknowledged."""
        body = [{"id": event, "cost_usd": "1", "run_id": event}]
        response = httpx.post(f"{self._url}/usage/events", json=body, headers=self._headers, verify=NO_TLS)
        assert response.json()["accepted"] == 1, response.text
        return utc_now()

    def get(self, path: str) -> httpx.Response:
        """From whichever process the connection ends up at."""
        return httpx.get(f"{self._url}{path}", headers=self._headers, verify=NO_TLS, timeout=30)

    def total(self) -> tuple[int, datetime]:
        """Return the dollars of all runs, and what they are complete to."""
        response = self.get("/costs/runs")
        assert response.status_code == HTTPStatus.OK, response.text
        return round(response.json()["total_cost"]), datetime.fromisoformat(response.headers["X-Costtrack-As-Of"])


def reads(server: Server, outcome: str) -> int:
    """How many requests the processes have counted."""
    metrics = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, verify=NO_TLS).text
    lines = [
        line for line in metrics.splitlines() if line.startswith(f'costtrack_replica_reads_total{{outcome="{outcome}"')
    ]
    return sum(int(float(line.split()[-1])) for line in lines)


def read_until_counted(server: Server, caller: Caller, outcome: str) -> tuple[int, datetime]:
    """Read until one more request of this outcome is counted; return what that request was answered."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        before = reads(server, outcome)
        answer = caller.total()
        if reads(server, outcome) > before:
            return answer
    raise AssertionError(f"no read was counted as {outcome}")


def test_a_caller_reads_the_own_write_and_others_an_earlier_state_that_says_its_time(
    server: Server, standby: Standby, key: Key
) -> None:
    assert key.credential.organization is not None
    writer, reader = Caller(server, key), Caller(server, make_key(key.credential.organization, *Scope))
    writer.send("first")
    while writer.total()[0] != 1 or read_until_counted(server, reader, REPLICA)[0] != 1:
        pass

    with standby.paused():
        acknowledged_at = writer.send("second")
        own_writes = reads(server, OWN_WRITE)
        assert {writer.total()[0] for _ in range(8)} == {2}
        assert reads(server, OWN_WRITE) == own_writes + 8
        total, as_of = read_until_counted(server, reader, REPLICA)
        assert total == 1
        assert as_of < acknowledged_at

    total, as_of = read_until_counted(server, writer, REPLICA)
    assert total == 2
    assert as_of > acknowledged_at


def test_a_row_that_the_replica_does_not_have_yet_is_found_on_the_primary(
    server: Server, standby: Standby, key: Key
) -> None:
    assert key.credential.organization is not None
    reader = Caller(server, make_key(key.credential.organization, *Scope))
    read_until_counted(server, reader, REPLICA)

    with standby.paused():
        Caller(server, key).send("new")
        assert reader.get("/costs/runs/new").json()["total_cost"] == 1


def test_row_security_holds_on_the_replica(server: Server, standby: Standby, key: Key, other_key: Key) -> None:
    acme, globex = Caller(server, key), Caller(server, other_key)
    acme.send("mine")
    globex.send("theirs")
    globex.send("theirs too")

    assert read_until_counted(server, acme, REPLICA)[0] == 1
    assert read_until_counted(server, globex, REPLICA)[0] == 2
    assert acme.get("/costs/runs/theirs").status_code == HTTPStatus.NOT_FOUND
    # Without the filters of the reports, too: as the role that they read with.
    rows = "SELECT count(*) FROM billing_usageevent"
    scope = f"SET LOCAL costtrack.organizations = '{key.credential.organization_id}'; SET LOCAL role = costtrack_tenant"
    assert standby.execute(rows) == 3
    assert standby.execute(f"{scope}; {rows}") == 1


def test_without_the_replica_every_report_reads_from_the_primary(server: Server, standby: Standby, key: Key) -> None:
    caller = Caller(server, key)
    caller.send("one")
    read_until_counted(server, caller, REPLICA)

    standby.kill()
    assert [caller.total()[0] for _ in range(10)] == [1] * 10
    caller.send("two")
    assert read_until_counted(server, caller, UNAVAILABLE)[0] == 2
    assert caller.get("/readyz").json()["checks"]["replica"] == {"ok": True, "state": "unreachable"}

    standby.start()
    assert read_until_counted(server, caller, REPLICA)[0] == 2
    assert caller.get("/readyz").json()["checks"]["replica"] == {"ok": True, "state": "streaming"}
