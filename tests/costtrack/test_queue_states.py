"""When a queue counts as unattended, stuck or busy."""

import pytest

from costtrack.health.queues import state_of
from costtrack.heartbeat import Beat, HeartbeatSnapshot, RunningTask
from costtrack.queues import Queue
from tests.costtrack.heartbeats import snapshot, worker

INTAKE = Queue.INTAKE
PRICING = RunningTask("billing.price_unpriced", 200)  # of at most 300 seconds


def state(seen: HeartbeatSnapshot) -> str:
    return state_of(INTAKE, seen)


def test_a_queue_whose_probes_are_executed_is_running() -> None:
    assert state(snapshot(worker(INTAKE), intake=4)) == "running"


def test_a_queue_that_no_worker_consumes_is_unattended() -> None:
    assert state(snapshot()) == "unattended"
    assert state(snapshot(worker(Queue.EXPORTS, Queue.ROLLUPS), intake=1)) == "unattended"


@pytest.mark.parametrize("intake", [31.0, None])
def test_a_worker_that_is_there_and_executes_no_probe_is_stuck(intake: float | None) -> None:
    assert state(snapshot(worker(INTAKE), intake=intake)) == "stuck"


def test_one_worker_that_takes_messages_is_enough() -> None:
    stuck, fine = worker(INTAKE), worker(INTAKE, name="other@here", idle_for=1.0)
    assert state(snapshot(stuck, fine, intake=31)) == "running"


def test_probes_that_wait_behind_other_messages_are_no_alarm() -> None:
    assert state(snapshot(worker(INTAKE, idle_for=2.0), intake=600)) == "running"


def test_a_long_task_within_its_time_is_no_alarm() -> None:
    assert state(snapshot(worker(INTAKE, tasks=[PRICING]), intake=200)) == "busy"


def test_a_worker_with_a_process_to_spare_has_no_excuse() -> None:
    assert state(snapshot(worker(INTAKE, slots=2, tasks=[PRICING]), intake=200)) == "stuck"
    assert state(snapshot(worker(INTAKE, slots=2, tasks=[PRICING, PRICING]), intake=200)) == "busy"


def test_a_task_that_should_have_been_killed_is_no_excuse() -> None:
    hanging = RunningTask("billing.price_unpriced", 331)
    assert state(snapshot(worker(INTAKE, tasks=[hanging]), intake=331)) == "stuck"


def test_a_worker_that_has_just_started_is_given_time() -> None:
    assert state(snapshot(worker(INTAKE, up_for=10.0, idle_for=10.0))) == "running"


def test_after_beat_was_away_the_queues_are_given_time() -> None:
    assert state(snapshot(worker(INTAKE), beat=Beat(3), intake=900)) == "running"


def test_without_beat_a_stuck_queue_cannot_be_detected() -> None:
    assert state(snapshot(worker(INTAKE), beat=None, intake=900)) == "running"
    assert state(snapshot(beat=None, intake=900)) == "unattended"
