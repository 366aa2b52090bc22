"""Clients and servers die at any point between reserving, calling and settling: nothing stays reserved beyond its time
to live, and nothing is charged twice."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from billing.limits.authorize import expire
from billing.limits.verify import verify_limits
from billing.models import Authorization, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Organization
from tests.concurrency import gateway_client
from tests.concurrency.conftest import Server, StartServer, wait_until_disconnected
from tests.conftest import Key
from tests.limits import set_limit, take
from tests.usage import total_cost

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

LIMIT = Decimal(1)
TTL = timedelta(seconds=3600)
STEPS = ("authorize", "call", "settle")


class Client:
    """A gateway that makes its calls one by one, however often it has to be started."""

    def __init__(self, key: Key, journal: Path, calls: list[tuple[str, str]]) -> None:
        self.calls = calls
        self._key = key
        self._journal = journal
        self._process: subprocess.Popen[str] | None = None

    def start(self, server: Server) -> None:
        arguments = [server.url, self._key.api_key, str(self._journal), json.dumps(self.calls)]
        self._process = subprocess.Popen(
            [sys.executable, gateway_client.__file__, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
            start_new_session=True,
        )

    def until(self, step: str, times: int = 1) -> None:
        """Wait until it is about to take the step for so many times, or is done."""
        for line in self._lines():
            times -= line.startswith(step)
            if not times or line.startswith("done"):
                return

    def kill(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._end()

    def finish(self) -> None:
        *_, last = self._lines()
        assert last == "done \n"
        self._end()

    @property
    def made(self) -> list[str]:
        """The calls that have taken place, by its journal; a line that was cut off is none."""
        text = self._journal.read_text() if self._journal.exists() else ""
        return text[: text.rfind("\n") + 1].split()

    def spent(self) -> Decimal:
        costs = dict(self.calls)
        return sum((Decimal(costs[name]) for name in set(self.made)), Decimal(0))

    def _lines(self) -> Iterator[str]:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            yield line

    def _end(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.wait()
        self._process.stdout.close()
        self._process = None


@pytest.fixture
def clients(organization: Organization, key: Key, tmp_path: Path) -> Iterator[list[Client]]:
    """Four, who want more together than the limit has. They are gone after the test."""
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")  # without a rate limit
    set_limit(organization, LIMIT)
    source = random.Random(5)
    clients = [
        Client(
            key, tmp_path / f"{number}", [(f"{number}-{call}", f"0.{source.randint(1, 50):03}") for call in range(16)]
        )
        for number in range(4)
    ]
    yield clients
    for client in clients:
        client.kill()


def assert_nothing_leaks(organization: Organization, spent: Decimal) -> None:
    """Once the time to live is over nothing is held, all that is left can be taken, and limits rest on the ledger."""
    later, left = utc_now() + TTL, LIMIT - spent
    assert not left or take(organization, left, now=later).is_new
    expire(now=later)
    open_ones = Authorization.objects.of(organization).filter(status="reserved")
    assert sum((authorization.amount_usd for authorization in open_ones), Decimal(0)) == left
    assert verify_limits(organization=organization, now=later).count == 0


def test_clients_that_die_and_come_back_are_charged_once_and_pass_no_limit(
    organization: Organization, clients: list[Client], start_server: StartServer
) -> None:
    """Each is killed at each of its steps in turn, and does everything again when it is back."""
    server = start_server(workers=1)
    source = random.Random(11)
    for round_ in range(3):
        for client in clients:
            client.start(server)
        for number, client in enumerate(clients):
            client.until(STEPS[(number + round_) % 3], times=source.randint(1, 3) + 2 * round_)
            client.kill()
    for client in clients:
        client.start(server)
    for client in clients:
        client.finish()

    made = [name for client in clients for name in client.made]
    spent = sum((client.spent() for client in clients), Decimal(0))
    events = UsageEvent.objects.of(organization)
    assert sorted(events.values_list("event_id", flat=True)) == sorted(set(made))
    assert total_cost(events) == spent
    assert Decimal("0.9") < spent <= LIMIT
    assert not Authorization.objects.of(organization).filter(status="reserved").exists(), "all came to their end"
    assert_nothing_leaks(organization, spent)


def test_clients_that_never_come_back_leave_nothing_behind(
    organization: Organization, clients: list[Client], start_server: StartServer
) -> None:
    server = start_server(workers=1)
    for client in clients:
        client.start(server)
    for number, client in enumerate(clients):
        client.until(STEPS[number % 3], times=2 + number)
        client.kill()
    server.kill()
    wait_until_disconnected()  # a statement that has arrived commits, whether its sender lives or not

    # Calls with an event are spent. Those without one are reserved until they expire.
    spent = total_cost(UsageEvent.objects.of(organization))
    settled = UsageEvent.objects.of(organization).count()
    authorizations = Authorization.objects.of(organization)
    assert authorizations.filter(status="settled").count() == settled
    assert (
        spent
        + sum((authorization.amount_usd for authorization in authorizations.filter(status="reserved")), Decimal(0))
        <= LIMIT
    )
    assert_nothing_leaks(organization, spent)


def test_web_servers_that_are_killed_in_the_middle_lose_and_double_nothing(
    organization: Organization, clients: list[Client], start_server: StartServer
) -> None:
    """The clients retry until a server is back, so they send some requests twice."""
    server = start_server()
    for client in clients:
        client.start(server)

    for times in (2, 3):
        for client in clients:
            client.until(STEPS[times % 3], times=times)
        server.kill()
        server = start_server(port=server.port, workers=1)
    for client in clients:
        client.finish()

    spent = sum((client.spent() for client in clients), Decimal(0))
    events = UsageEvent.objects.of(organization)
    assert sorted(events.values_list("event_id", flat=True)) == sorted(
        name for client in clients for name in client.made
    )
    assert total_cost(events) == spent
    assert Decimal("0.9") < spent <= LIMIT
    assert_nothing_leaks(organization, spent)
