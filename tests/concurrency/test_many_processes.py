"""Four web and four worker processes behind PgBouncer in transaction mode: what one of them changes is what each shows
next, and together they do everything once."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection

from billing.models import Authorization, Notice, ThresholdEvent, UsageEvent
from billing.rollups.verify import verify
from costtrack.celery import app
from costtrack.clock import utc_now
from costtrack.queues import Queue
from costtrack.supervisor.forking import Process
from costtrack.supervisor.services import worker_command
from organizations.models import Organization, Plan
from tests.concurrency.conftest import StartServer, run_concurrently
from tests.concurrency.pgbouncer import PgBouncer
from tests.concurrency.workers import wait_until
from tests.conftest import Key
from tests.plain_http import NO_TLS
from tests.preloaded import Preloaded, environment_of_servers, preloading
from tests.redis_server import RedisServer
from tests.usage import set_price

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

CONNECTIONS = 6
"""To each server: the kernel gives a new connection to one of its processes by chance."""
SENDERS = 4
FOLDS = 8

Json = Callable[[int], Any]
"""The body of a request by its number."""


class Site:
    """Two web servers of two processes each, and a Celery worker of four processes for all queues."""

    def __init__(self, urls: list[str], broker: RedisServer, worker: Process) -> None:
        self.urls, self._broker, self._worker = urls, broker, worker

    def request(self, number: int, key: Key, method: str, path: str, json: Any = None) -> httpx.Response:
        """A request on a connection of its own, to the servers in turn."""
        url = self.urls[number % len(self.urls)]
        headers = {"Authorization": f"Bearer {key.api_key}"}
        return httpx.request(method, url + path, json=json, headers=headers, timeout=60, verify=NO_TLS)

    def everywhere(
        self, key: Key, method: str, path: str, json: Callable[[int], Any] = lambda _: None
    ) -> list[httpx.Response]:
        return [self.request(number, key, method, path, json(number)) for number in range(CONNECTIONS * len(self.urls))]

    def together(
        self, key: Key, method: str, path: str, json: Callable[[int], Any], times: int
    ) -> list[httpx.Response]:
        def send(sender: int) -> list[httpx.Response]:
            numbers = range(sender, times, SENDERS)
            return [self.request(number // SENDERS, key, method, path, json(number)) for number in numbers]

        return [response for answers in run_concurrently(send, range(SENDERS)) for response in answers]

    def enqueue(self, task: str) -> None:
        with self._broker.connection() as broker:
            app.send_task(task, connection=broker)

    def is_idle(self) -> bool:
        assert self._worker.poll() is None
        return not self._broker.unacknowledged() and not any(map(self._broker.pending, Queue))


@pytest.fixture(scope="module")
def site(start_shared_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    broker = RedisServer(folder)
    try:
        with PgBouncer(connection.get_connection_params(), 4) as pooler:
            environment = {"DATABASE_URL": pooler.url, "REDIS_URL": broker.url}
            with (
                preloading(environment_of_servers() | environment, folder) as preloaded,
                _worker(preloaded, folder / "worker.log") as worker,
            ):
                urls = [start_shared_server(of=preloaded, **environment).url for _ in range(2)]
                yield Site(urls, broker, worker)
    finally:
        broker.remove()


@contextmanager
def _worker(preloaded: Preloaded, log: Path) -> Iterator[Process]:
    worker = preloaded.start(worker_command("many", Queue, processes=4), log)
    try:
        yield worker
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)


@pytest.fixture(autouse=True)
def _no_rate_limit(organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")


def test_what_one_process_changes_is_what_each_shows_next(
    site: Site, organization: Organization, key: Key, other_key: Key
) -> None:
    def event(number: int, run: str) -> dict[str, Any]:
        return {"id": f"{run}-{number}", "model": "small", "input_tokens": 1_000_000, "run_id": run}

    # A price, and the sums that processes keep.
    unpriced = site.everywhere(key, "POST", "/usage/events", lambda number: [event(number, "unpriced")])
    before = {requests_of(response) for response in site.everywhere(key, "GET", "/usage/summary")}
    set_price("small", organization=organization, input="3")
    priced = site.everywhere(key, "POST", "/usage/events", lambda number: [event(number, "priced")])
    assert {response.status_code for response in (*unpriced, *priced)} == {200}
    costs = UsageEvent.objects.of(organization).values_list("run_id", "token_cost_usd")
    assert Counter(costs) == {("unpriced", None): len(unpriced), ("priced", Decimal(3)): len(priced)}
    after = {requests_of(response) for response in site.everywhere(key, "GET", "/usage/summary")}
    assert (before, after) == ({len(unpriced)}, {len(unpriced) + len(priced)})

    # A limit, which is raised.
    limit = {"scope": "user", "window": "lifetime", "amount_usd": "5"}
    created = site.request(0, key, "POST", "/organizations/acme/limits", limit).json()

    def granted() -> int:
        call = {"user_id": "ann", "estimated_cost_usd": "1"}
        answers = site.together(key, "POST", "/usage/authorizations", lambda _: call, times=12)
        assert {answer.status_code for answer in answers} <= {201, 429}
        return sum(answer.status_code == 201 for answer in answers)

    assert granted() == 5
    assert granted() == 0
    raised = site.request(1, key, "PATCH", f"/organizations/acme/limits/{created['id']}", {"amount_usd": "8"})
    assert raised.status_code == 200, raised.text
    assert granted() == 3
    assert Authorization.objects.of(organization).count() == 8

    # A key that is revoked.
    assert {response.status_code for response in site.everywhere(other_key, "GET", "/usage/summary")} == {200}
    path = f"/organizations/globex/credentials/{other_key.credential.client_id}/revoke"
    assert site.request(0, other_key, "POST", path).status_code == 200
    assert {response.status_code for response in site.everywhere(other_key, "GET", "/usage/summary")} == {401}


def requests_of(response: httpx.Response) -> int:
    number: int = response.json()["requests"]
    return number


def test_all_processes_together_count_requests_fold_and_notify_once(
    site: Site, organization: Organization, key: Key, other_key: Key
) -> None:
    plan = Plan.objects.get(pk="pay_as_you_go")
    Plan.objects.filter(pk=plan.pk).update(requests_per_minute=6)
    answers = site.together(other_key, "GET", "/usage/summary", lambda _: None, times=12)
    assert Counter(answer.status_code for answer in answers) == {200: 6, 429: 6}

    limit = {"scope": "organization", "window": "lifetime", "amount_usd": "100", "thresholds": [80]}
    assert site.request(0, key, "POST", "/organizations/acme/limits", limit).status_code == 201

    def events(number: int) -> list[dict[str, Any]]:
        if number % 2:
            site.enqueue("billing.fold")
        return [{"id": f"{number}-{index}", "cost_usd": "0.9", "run_id": f"r{index}"} for index in range(5)]

    answers = site.together(key, "POST", "/usage/events", events, times=20)
    assert sum(answer.json()["accepted"] for answer in answers) == 100
    for _ in range(FOLDS):
        site.enqueue("billing.fold")
        site.enqueue("billing.enforce_limits")
    wait_until(lambda: Notice.objects.of(organization).exists() and site.is_idle())
    assert [check for check in verify(organization_id=organization.pk, now=utc_now()) if check.count] == []
    assert site.request(0, key, "GET", "/costs/runs/r1").json()["total_cost"] == 18
    assert (ThresholdEvent.objects.count(), Notice.objects.of(organization).count()) == (1, 1)
