"""The worker of the queue `limits` while Redis is restarted again and again."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core import mail

from billing.models import Notice
from billing.notifications.emails import deliver_emails
from costtrack.celery import app
from costtrack.clock import utc_now
from costtrack.queues import Queue
from costtrack.supervisor.services import worker_command
from organizations.models import Organization, User
from tests.database import database_url
from tests.limits import set_limit
from tests.profiles import choose
from tests.redis_server import RedisServer
from tests.usage import Send

pytestmark = pytest.mark.django_db(transaction=True)

RESTARTS = choose(3, long=10)
MESSAGES = 20
CELERY = [sys.executable, "-m", "celery", "--app", "costtrack.celery"]


class Worker:
    """The limits worker, with the arguments that `costtrack up` gives it."""

    def __init__(self, server: RedisServer, log: Path) -> None:
        self.environment = {**os.environ, "DATABASE_URL": database_url(), "REDIS_URL": server.url}
        self._server, self._log = server, log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *worker_command("limits", [Queue.LIMITS], processes=1)],
                env=self.environment,
                stdout=output,
                stderr=output,
            )

    def wait_until_reserved(self, messages: int) -> None:
        server = self._server
        self.wait_until(lambda: not server.pending(Queue.LIMITS) and server.unacknowledged() >= messages)

    def wait_until_disconnected(self, *, times: int) -> None:
        self.wait_until(lambda: self._log.read_text().count("Connection to broker lost") >= times)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Fails when the worker exits, or after some seconds, and shows the end of its log."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            time.sleep(0.01)


@pytest.fixture
def worker(redis_server: RedisServer, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(redis_server, tmp_path / "worker.log")
    yield worker
    worker.process.kill()
    worker.process.wait()


def send_enforcements(server: RedisServer, organization: Organization, countdowns: list[int | None]) -> None:
    with server.connection() as connection:
        for countdown in countdowns:
            app.send_task(
                "billing.enforce_limits",
                kwargs={"organization_id": organization.pk},
                countdown=countdown,
                connection=connection,
            )


@pytest.mark.timeout(300)  # each time Celery waits two seconds before it connects again
def test_it_survives_restarts_of_redis_while_it_holds_messages_and_then_sends_a_warning(
    organization: Organization, owner: User, send: Send, redis_server: RedisServer, worker: Worker
) -> None:
    set_limit(organization, "10", thresholds=[80])
    for restart in range(1, RESTARTS + 1):
        send_enforcements(redis_server, organization, [3600] * MESSAGES)
        worker.wait_until_reserved(MESSAGES * restart)
        redis_server.stop()
        worker.wait_until_disconnected(times=restart)
        redis_server.start()

    send({"id": "1", "model": "small", "cost_usd": "9"})
    send_enforcements(redis_server, organization, [None])
    worker.wait_until(Notice.objects.of(organization).exists)
    deliver_emails(now=utc_now())
    assert [message.to for message in mail.outbox] == [[owner.email]]
    assert mail.outbox[0].subject == "Limit nearly reached: acme (90% of $10.00)"
    assert "Acme Research has passed 80% of the limit" in mail.outbox[0].body
    inspect = [*CELERY, "inspect", "--timeout", "30", "--destination", f"limits@{os.uname().nodename}", "ping"]
    pong = subprocess.run(inspect, env=worker.environment, capture_output=True, text=True, check=False, timeout=60)
    assert "pong" in pong.stdout, pong
