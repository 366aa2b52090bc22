"""Reports of a real web server from a real standby, whose replay is paused, and which is killed."""

import time
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus

import httpx
import pytest
from django.db import connection, connections
from pytest_django import DjangoDbBlocker

from costtrack.clock import utc_now
from costtrack.database.replica import read_written_position
from costtrack.env import parse_database_url
from costtrack.metrics.instruments import REPLICA_READS
from costtrack.replica import reads as replica_reads
from costtrack.replica.reads import Outcome
from organizations.models import Organization, User
from organizations.types import Scope
from tests.concurrency.conftest import Server, StartServer
from tests.concurrency.standby import Standby
from tests.conftest import Key, make_key
from tests.example_requests import Examples, endpoints
from tests.pages import pages_of, signed_in
from tests.plain_http import NO_TLS
from tests.usage import Send

pytestmark = pytest.mark.django_db(transaction=True)

MAX_LAG = 15
TOKEN = "read-by-prometheus"
DEADLINE_SECONDS = 30


@pytest.fixture(scope="module")
def standby(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Standby]:
    with django_db_blocker.unblock(), Standby() as running:
        yield running

    # Writes from before the start of Redis would not be known.


@pytest.fixture(scope="module")
def server(standby: Standby, start_shared_server: StartServer) -> Server:
    return start_shared_server(
        DATABASE_REPLICA_URL=standby.url,
        COSTTRACK_REPLICA_MAX_LAG=str(MAX_LAG),
        COSTTRACK_METRICS_TOKEN=TOKEN,
    )


@pytest.fixture(scope="module")
def replica(standby: Standby) -> Iterator[None]:
    """Reads of this process may be of the standby. To Django's tests it is the same database."""
    same = {"TEST": {**connection.settings_dict["TEST"], "MIRROR": "default"}}
    connections.settings["replica"] = {**connection.settings_dict, **parse_database_url(standby.url), **same}
    yield
    connections["replica"].close()
    del connections["replica"], connections.settings["replica"]


class Caller:
    """A key, and what the installation answers it."""

    def __init__(self, server: Server, key: Key) -> None:
        self._url, self._headers = server.url, {"Authorization": f"Bearer {key.api_key}"}

    def send(self, event: str) -> datetime:
        """Send an event that costs a dollar; return when it was acknowledged."""
        body = [{"id": event, "cost_usd": "1", "run_id": event}]
        response = httpx.post(f"{self._url}/usage/events", json=body, headers=self._headers, verify=NO_TLS, timeout=30)
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


def reads(server: Server, outcome: Outcome) -> int:
    """How many requests the processes have counted."""
    authorized = {"Authorization": f"Bearer {TOKEN}"}
    metrics = httpx.get(f"{server.url}/metrics", headers=authorized, verify=NO_TLS, timeout=30).text
    lines = [
        line for line in metrics.splitlines() if line.startswith(f'costtrack_replica_reads_total{{outcome="{outcome}"')
    ]
    return sum(int(float(line.split()[-1])) for line in lines)


def read_until_counted(server: Server, caller: Caller, outcome: Outcome) -> tuple[int, datetime]:
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
    while writer.total()[0] != 1 or read_until_counted(server, reader, Outcome.REPLICA)[0] != 1:
        pass

    with standby.paused():
        acknowledged_at = writer.send("second")
        own_writes = reads(server, Outcome.OWN_WRITE)
        assert {writer.total()[0] for _ in range(8)} == {2}
        assert reads(server, Outcome.OWN_WRITE) == own_writes + 8
        total, as_of = read_until_counted(server, reader, Outcome.REPLICA)
        assert total == 1
        assert as_of < acknowledged_at

    while as_of <= acknowledged_at:  # the latest position that is known may be an earlier one
        total, as_of = read_until_counted(server, writer, Outcome.REPLICA)
        assert total == 2


def test_a_row_that_the_replica_does_not_have_yet_is_found_on_the_primary(
    server: Server, standby: Standby, key: Key
) -> None:
    assert key.credential.organization is not None
    reader = Caller(server, make_key(key.credential.organization, *Scope))
    read_until_counted(server, reader, Outcome.REPLICA)

    with standby.paused():
        Caller(server, key).send("new")
        assert reader.get("/costs/runs/new").json()["total_cost"] == 1


def test_row_security_holds_on_the_replica(server: Server, standby: Standby, key: Key, other_key: Key) -> None:
    acme, globex = Caller(server, key), Caller(server, other_key)
    acme.send("mine")
    globex.send("theirs")
    globex.send("theirs too")

    assert read_until_counted(server, acme, Outcome.REPLICA)[0] == 1
    assert read_until_counted(server, globex, Outcome.REPLICA)[0] == 2
    assert acme.get("/costs/runs/theirs").status_code == HTTPStatus.NOT_FOUND
    # Without the filters of the reports, too: as the role that they read with.
    rows = "SELECT count(*) FROM billing_usageevent"
    scope = f"SET LOCAL costtrack.organizations = '{key.credential.organization_id}'; SET LOCAL role = costtrack_tenant"
    assert standby.execute(rows) == 3
    assert standby.execute(f"{scope}; {rows}") == 1


@pytest.mark.django_db(transaction=True, databases=["default", "replica"])
def test_no_report_and_no_page_needs_the_primary(
    standby: Standby,
    replica: None,
    organization: Organization,
    owner: User,
    key: Key,
    operator_key: Key,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A busy machine may replay late, which is no reason to read elsewhere here.
    monkeypatch.setattr(replica_reads, "_CATCH_UP_SECONDS", 30)
    Organization.objects.update(plan="enterprise")  # which has exports
    examples = Examples(organization, key, operator_key, send)
    examples.grow(1)
    reports = [
        each
        for each in endpoints()
        if each.method == "get" and getattr(getattr(each.pattern.callback, "cls", None), "reads_replica", False)
    ]
    requests = [(str(report), *examples.request(report)) for report in reports]
    browser = signed_in(owner)
    pages = [page for page in pages_of(browser) if not page.endswith("/notices/")]  # those of the examples lack data
    standby.wait_for(read_written_position())

    before = {outcome: counted(outcome) for outcome in Outcome}
    for name, client, arguments in requests:
        assert client.generic(**arguments).status_code == HTTPStatus.OK, name
    for page in pages:
        assert browser.get(page).status_code == HTTPStatus.OK, page
    read = {outcome: counted(outcome) - before[outcome] for outcome in Outcome}

    assert len(reports) > 40
    assert read[Outcome.REPLICA] > len(reports) + 15
    assert read == {**dict.fromkeys(Outcome, 0), Outcome.REPLICA: read[Outcome.REPLICA]}


def counted(outcome: Outcome) -> int:
    """By this process."""
    return int(REPLICA_READS.labels(outcome)._value.get())


def test_without_the_replica_every_report_reads_from_the_primary(server: Server, standby: Standby, key: Key) -> None:
    caller = Caller(server, key)
    caller.send("one")
    read_until_counted(server, caller, Outcome.REPLICA)

    standby.kill()
    assert [caller.total()[0] for _ in range(10)] == [1] * 10
    caller.send("two")
    assert read_until_counted(server, caller, Outcome.UNAVAILABLE)[0] == 2
    assert caller.get("/readyz").json()["checks"]["replica"] == {"ok": True, "state": "unreachable"}

    standby.start()
    assert read_until_counted(server, caller, Outcome.REPLICA)[0] == 2
    assert caller.get("/readyz").json()["checks"]["replica"] == {"ok": True, "state": "streaming"}
