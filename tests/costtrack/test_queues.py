"""Queues: nothing is sent to one that does not exist, and who consumes one tells so."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery.exceptions import QueueNotFound

from costtrack import heartbeat
from costtrack.celery import app
from costtrack.queues import GRACE_SECONDS, REDELIVERED_AFTER_SECONDS, TASKS, TICK, TIME_LIMITS, Queue, time_limit_of
from costtrack.supervisor.forking import Process
from tests.preloaded import Preloaded

Start = Callable[..., Process]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Of the workers."""
    return tmp_path / "worker.log"


@pytest.fixture
def start_worker(preloaded: Preloaded, log: Path) -> Iterator[Start]:
    """Real workers on the tests' Redis, with one process each."""
    heartbeat.client.cache_clear()
    heartbeat.client().flushdb()
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        command = ["celery", "--app", "costtrack.celery", "--skip-checks", "--quiet", "worker"]
        command += ["--concurrency", "1", "--without-mingle", "--without-gossip", *arguments]
        process = preloaded.start(command, log)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_undeclared_task_or_queue_cannot_be_sent() -> None:
    with pytest.raises(QueueNotFound):
        app.send_task("billing.no_such_task")
    with pytest.raises(QueueNotFound):
        app.send_task("billing.price_unpriced", queue="no-such-queue")


def test_tasks_go_to_the_queue_that_the_table_names() -> None:
    heartbeat.client().flushdb()
    app.send_task("billing.price_unpriced")
    assert heartbeat.read().pending == {**dict.fromkeys(Queue, 0), Queue.INTAKE: 1}


def test_no_task_may_run_longer_than_the_visibility_timeout() -> None:
    assert set(TIME_LIMITS) == set(Queue)
    assert max(TIME_LIMITS.values()) + GRACE_SECONDS < REDELIVERED_AFTER_SECONDS
    for name in TASKS:
        assert app.conf.task_annotations[name]["time_limit"] == time_limit_of(name)
        assert app.conf.task_annotations[name]["soft_time_limit"] < time_limit_of(name)


def test_only_json_is_read_and_tasks_are_acknowledged_when_they_are_done() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == app.conf.result_serializer == "json"
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost


def test_a_worker_reports_its_queues_until_it_stops(start_worker: Start) -> None:
    process = start_worker("--queues", "rollups,exports", "--hostname", "quick@here")
    until(lambda: bool(heartbeat.read().workers))
    (worker,) = heartbeat.read().workers
    assert (worker.name, worker.queues, worker.slots) == ("quick@here", ["exports", "rollups"], 1)

    app.send_task(TICK, kwargs={"queue": "exports"}, queue="exports")
    app.send_task(TICK, kwargs={"queue": "intake"}, queue="intake")
    until(lambda: "exports" in heartbeat.read().ticks)
    assert heartbeat.read().ticks["exports"] < 60
    assert heartbeat.read().pending["intake"] == 1
    assert "intake" not in heartbeat.read().ticks

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert heartbeat.read().workers == []


def test_without_a_choice_a_worker_consumes_every_queue(start_worker: Start) -> None:
    start_worker()
    until(lambda: bool(heartbeat.read().workers))
    assert heartbeat.read().workers[0].queues == sorted(Queue)


def test_a_worker_for_a_queue_that_does_not_exist_does_not_start(start_worker: Start, log: Path) -> None:
    assert start_worker("--queues", "rolups").wait(60) != 0
    assert "rolups" in log.read_text()
