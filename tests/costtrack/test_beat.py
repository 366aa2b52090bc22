"""The scheduler tells that it lives, and stops filling a queue that nobody empties."""

import errno
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from celery.beat import ScheduleEntry, SchedulingError
from pytest_django import Settings

from costtrack import heartbeat
from costtrack.beat import Beat, Scheduler
from costtrack.beat_schedule import SCHEDULE
from costtrack.celery import app
from costtrack.queues import TASKS, TICK, Queue


@pytest.fixture(autouse=True)
def _empty_redis() -> Iterator[None]:
    heartbeat.client.cache_clear()
    heartbeat.client().flushdb()
    yield
    heartbeat.client.cache_clear()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Scheduler]:
    scheduler = Scheduler(app=app, schedule_filename=str(tmp_path / "schedule"))
    yield scheduler
    scheduler.close()


def entry(scheduler: Scheduler, name: str) -> ScheduleEntry:
    scheduled = scheduler.schedule[name]
    assert isinstance(scheduled, ScheduleEntry)
    return scheduled


def test_beat_is_the_projects_own(scheduler: Scheduler) -> None:
    assert issubclass(app.Beat, Beat)
    assert app.conf.beat_scheduler == "costtrack.beat:Scheduler"
    assert set(scheduler.schedule) == set(SCHEDULE)


def test_it_is_there_from_its_first_round_on(scheduler: Scheduler) -> None:
    assert heartbeat.read().beat is None
    scheduler.tick()
    beat = heartbeat.read().beat
    assert beat is not None
    assert 0 <= beat.up_for < 60


def test_a_heartbeat_expires(scheduler: Scheduler) -> None:
    scheduler.tick()
    assert 0 < int(heartbeat.client().ttl("costtrack:beat")) <= heartbeat.LIFETIME_SECONDS


def test_every_queue_is_probed_and_the_probe_goes_to_that_queue(scheduler: Scheduler) -> None:
    for queue in Queue:
        scheduler.apply_entry(entry(scheduler, f"tick-{queue}"), producer=scheduler.producer)
    assert heartbeat.read().pending == dict.fromkeys(Queue, 1)


def test_what_comes_every_few_seconds_does_not_pile_up_while_no_worker_runs(scheduler: Scheduler) -> None:
    for _ in range(300):
        scheduler.apply_entry(entry(scheduler, "tick-intake"), producer=scheduler.producer)
    assert heartbeat.read().pending["intake"] == 100


def test_what_comes_seldom_is_sent_however_many_wait(scheduler: Scheduler) -> None:
    for _ in range(300):
        scheduler.apply_entry(entry(scheduler, "tick-intake"), producer=scheduler.producer)
    scheduler.apply_entry(entry(scheduler, "price-unpriced"), producer=scheduler.producer)
    assert heartbeat.read().pending["intake"] == 101


def test_the_scheduler_continues_without_redis(scheduler: Scheduler, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    heartbeat.client.cache_clear()
    assert scheduler.tick() >= 0


@pytest.mark.parametrize("name", SCHEDULE)
def test_each_scheduled_message_expires_soon(name: str) -> None:
    options = SCHEDULE[name]["options"]
    assert 0 < options["expires"] <= timedelta(days=1).total_seconds()


def test_probes_are_frequent_enough_to_detect_a_stuck_queue() -> None:
    probes = [entry for entry in SCHEDULE.values() if entry["task"] == TICK]
    assert {probe["kwargs"]["queue"] for probe in probes} == set(Queue)
    assert all(probe["schedule"] <= 10 for probe in probes)


def test_every_task_is_also_sent_by_the_clock_so_that_none_is_lost_while_the_broker_is_down() -> None:
    assert set(TASKS) == {entry["task"] for entry in SCHEDULE.values()}


def test_a_clock_that_is_set_back_does_not_stop_the_schedule(scheduler: Scheduler) -> None:
    scheduler.tick()
    for each in scheduler.schedule.values():
        each.last_run_at = each.default_now() + timedelta(hours=1)  # as if an hour had been taken back since
    assert 0 <= scheduler.tick() <= 1, "folding is due every second"
    fold = entry(scheduler, "fold")
    assert fold.last_run_at is not None
    assert fold.last_run_at <= fold.default_now()


def test_the_scheduler_continues_on_a_full_disk(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Scheduler) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("celery.beat.PersistentScheduler.sync", refuse)
        scheduler.apply_entry(entry(scheduler, "tick-intake"), producer=scheduler.producer)
        scheduler.sync()
    assert "the schedule could not be saved" in caplog.text
    assert heartbeat.read().pending["intake"] == 1


def test_an_outage_of_the_broker_is_two_lines_in_the_log(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise SchedulingError("Redis is away")

    with monkeypatch.context() as outage:
        outage.setattr(Scheduler, "apply_async", refuse)
        for name in ("tick-intake", "price-unpriced", "tick-intake"):
            scheduler.apply_entry(entry(scheduler, name), producer=scheduler.producer)
    for _ in range(2):
        scheduler.apply_entry(entry(scheduler, "tick-intake"), producer=scheduler.producer)
    lines = [(record.getMessage(), record.exc_info) for record in caplog.records if record.name == "costtrack.beat"]
    assert lines == [("scheduled tasks cannot be sent", None), ("scheduled tasks are sent again", None)]
    assert heartbeat.read().pending["intake"] == 2
