"""Folding by several processes that may die at any instant, while events come in."""

import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from django.db import connection, transaction
from django.db.models import Sum

from billing.models import EventKey, IngestBatch, Run, UsageEvent
from billing.models.rollups import RunDay, SpendDay
from billing.reports.runs import get_total_run_costs
from billing.rollups.fold import fold
from billing.rollups.locks import lock_rollups
from billing.rollups.verify import verify
from costtrack.calendar import ALWAYS
from costtrack.clock import utc_now
from organizations.models import Organization
from tests.concurrency.conftest import StartServer, run_concurrently
from tests.concurrency.workers import Workers, wait_until, workers_of
from tests.conftest import Key
from tests.plain_http import NO_TLS
from tests.preloaded import Preloaded
from tests.profiles import choose
from tests.usage import Send

KILLS = choose(5, long=25)
BATCHES = 7
"""Of each connection."""
EVENTS = 250
"""Of each batch."""
WORKFLOWS = ("workflow-1", "workflow-2")


@pytest.fixture
def folders(transactional_db: None, preloaded: Preloaded, tmp_path: Path) -> Iterator[Workers]:
    """Processes that do nothing but fold."""
    with workers_of(preloaded, "fold", tmp_path / "workers.log") as workers:
        yield workers


def events(name: str, count: int) -> list[dict[str, object]]:
    """Calls of the last days in runs, sessions and groups that batches share: folds meet in the same rows. Runs change
    their workflows and parents."""
    source = random.Random(name)
    now = utc_now()
    return [
        {
            "id": f"{name}-{number}",
            "occurred_at": (now - timedelta(hours=source.randrange(72))).isoformat(),
            "model": source.choice(("small", "large", "unknown")),
            "cost_usd": f"0.{source.randrange(10**6):06}",
            "input_tokens": source.randrange(5000),
            "run_id": f"run-{source.randrange(20)}",
            "workflow_id": source.choice(("", "", "", *WORKFLOWS)),
            "parent_run_id": source.choice(("", "", "", f"run-{source.randrange(20)}")),
            "session_id": f"session-{source.randrange(20)}",
            "group_id": f"group-{source.randrange(20)}",
            "user_id": f"user-{source.randrange(5)}",
            "tags": [f"team:{source.randrange(3)}"],
        }
        for number in range(count)
    ]


def wait_until_nobody_folds(organization: Organization) -> None:
    """PostgreSQL ends what a killed process has begun; until it has, others leave the organization to it."""
    with transaction.atomic(), connection.cursor() as cursor:
        lock_rollups(cursor, organization.pk)


def assert_nothing_lost_or_doubled(organization: Organization, sent: int) -> None:
    assert not IngestBatch.objects.filter(folded_at=None).exists()
    assert UsageEvent.objects.of(organization).count() == EventKey.objects.of(organization).count() == sent
    assert SpendDay.objects.filter(organization=organization).aggregate(Sum("requests")) == {"requests__sum": sent}
    assert [checked for checked in verify(organization_id=organization.pk, now=utc_now()) if checked.count] == []
    for workflow_id in WORKFLOWS:
        costs = get_total_run_costs(
            organization=organization, workflow_id=workflow_id, window=ALWAYS, include_children=True, now=utc_now()
        )
        assert costs.total == cost_of_trees(organization, workflow_id)


def cost_of_trees(organization: Organization, workflow_id: str) -> Decimal:
    """The costs of the runs of a workflow and of all runs below them."""
    runs = Run.objects.of(organization)
    tree: set[str] = set()
    found = set(runs.filter(workflow_id=workflow_id).values_list("run_id", flat=True))
    while found - tree:
        tree |= found
        found = set(runs.filter(parent_run_id__in=tree).values_list("run_id", flat=True))
    days = RunDay.objects.of(organization).filter(run_id__in=tree)
    return sum(days.values_list("token_cost_usd", flat=True), Decimal())


@pytest.mark.django_db(transaction=True)
def test_threads_that_fold_at_once_fold_each_batch_once(organization: Organization, send: Send) -> None:
    for number in range(40):
        send(*events(f"b{number}", 25), now=datetime.now(UTC))

    folded = run_concurrently(lambda _: fold(now=utc_now()), range(4))

    assert sum(result.batches for result in folded) == 40
    assert_nothing_lost_or_doubled(organization, 1000)


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(180)
def test_folding_processes_that_are_killed_again_and_again_lose_nothing(
    organization: Organization, send: Send, folders: Workers
) -> None:
    source = random.Random(7)
    sent = 0
    for number in range(KILLS):
        folders.start()
        # Between the first event and the kill the process is somewhere in its folding, each time somewhere else.
        until = time.monotonic() + source.uniform(0.0, 0.15)
        while sent <= number * 100 or time.monotonic() < until:
            send(*events(f"k{number}-{sent}", 100), now=datetime.now(UTC))
            sent += 100
        folders.kill()

    wait_until_nobody_folds(organization)
    fold(now=utc_now())
    assert_nothing_lost_or_doubled(organization, sent)


def test_four_processes_fold_what_four_connections_send_meanwhile(
    organization: Organization, key: Key, start_server: StartServer, folders: Workers
) -> None:
    """`python -m benchmarks fold` measures how far behind they are."""
    server = start_server(workers=1)

    def send_all(connection: int) -> int:
        with httpx.Client(headers={"Authorization": f"Bearer {key.api_key}"}, timeout=60, verify=NO_TLS) as client:
            for number in range(BATCHES):
                body = json.dumps(events(f"c{connection}-{number}", EVENTS))
                # Every third batch is sent twice, as a client does that has not seen the answer.
                for _ in range(2 if number % 3 == 0 else 1):
                    answer = client.post(f"{server.url}/usage/events", content=body)
                    assert answer.status_code == 200, answer.text
        return BATCHES * EVENTS

    for _ in range(4):
        folders.start()
    sent = sum(run_concurrently(send_all, range(4)))
    assert SpendDay.live().objects.filter(organization=organization).aggregate(Sum("requests")) == {
        "requests__sum": sent
    }
    wait_until(lambda: not IngestBatch.objects.of(organization).filter(folded_at=None).exists(), seconds=30)
    folders.assert_alive()
    assert_nothing_lost_or_doubled(organization, sent)
