"""Nudges: at most one in an interval, and one that gathers what the interval brings."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog
from celery.signals import task_postrun, task_prerun
from django.conf import settings
from kombu.exceptions import OperationalError
from pytest_django import DjangoCaptureOnCommitCallbacks

from costtrack import heartbeat
from costtrack.celery import app
from costtrack.jobs import enqueue_debounced_on_commit, enqueue_on_commit, enqueue_throttled_on_commit, forget_marks
from costtrack.logs import current_request_id
from costtrack.queues import Queue

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)

Sent = list[tuple[str, dict[str, Any], float | None]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    heartbeat.client().flushdb()
    sent_tasks: Sent = []

    def send_task(name: str, *, kwargs: dict[str, Any], countdown: float | None, **_: Any) -> None:
        sent_tasks.append((name, kwargs, countdown))

    monkeypatch.setattr(app, "send_task", send_task)
    return sent_tasks


def test_a_throttled_task_is_sent_once_per_interval(
    sent: Sent, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        enqueue_throttled_on_commit("billing.fold", interval=HOUR)
        enqueue_throttled_on_commit("billing.fold", interval=HOUR)
        enqueue_throttled_on_commit("billing.deliver_email", interval=HOUR)
        assert sent == []
    assert sent == [("billing.fold", {}, None), ("billing.deliver_email", {}, None)]


def test_a_debounced_task_is_sent_once_per_interval_and_arguments(
    sent: Sent, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        for organization_id in (1, 2, 1):
            enqueue_debounced_on_commit("billing.enforce_limits", within=HOUR, organization_id=organization_id)
    assert sent == [
        ("billing.enforce_limits", {"organization_id": 1}, 3600.0),
        ("billing.enforce_limits", {"organization_id": 2}, 3600.0),
    ]


def test_a_broker_that_is_down_is_logged(
    sent: Sent,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(app, "send_task", failing)
    with django_capture_on_commit_callbacks(execute=True):
        enqueue_throttled_on_commit("billing.fold", interval=HOUR)
    assert "task could not be queued" in caplog.text


def test_a_mark_of_before_the_clock_of_redis_was_set_back_delays_no_task(
    sent: Sent, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    heartbeat.client().set("costtrack:enqueued:billing.fold", "1", px=3 * HOUR)
    for _ in range(2):
        forget_marks()
        with django_capture_on_commit_callbacks(execute=True):
            enqueue_throttled_on_commit("billing.fold", interval=HOUR)
    assert sent == [("billing.fold", {}, None)]
    assert heartbeat.client().pttl("costtrack:enqueued:billing.fold") <= HOUR.total_seconds() * 1000


@pytest.mark.parametrize("enqueue", [enqueue_throttled_on_commit, enqueue_debounced_on_commit])
def test_redis_that_is_down_is_logged(
    enqueue: Callable[..., None],
    sent: Sent,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    heartbeat.client.cache_clear()
    monkeypatch.setattr(settings, "REDIS_URL", "redis://127.0.0.1:1/0")
    interval = {"within": HOUR} if enqueue is enqueue_debounced_on_commit else {"interval": HOUR}
    with django_capture_on_commit_callbacks(execute=True):
        enqueue("billing.fold", **interval)
    heartbeat.client.cache_clear()
    assert sent == []
    assert "task could not be queued" in caplog.text


def test_a_task_has_the_id_of_the_request_that_enqueued_it(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    heartbeat.client().flushdb()
    with (
        structlog.contextvars.bound_contextvars(request_id="from-the-edge"),
        django_capture_on_commit_callbacks(execute=True),
    ):
        enqueue_on_commit("billing.fold")
    [message] = heartbeat.client().lrange(str(Queue.ROLLUPS), 0, -1)
    assert json.loads(message)["headers"]["request_id"] == "from-the-edge"

    seen: list[str] = []

    @app.task(name="tests.see", bind=True)
    def see(self: Any) -> None:
        del self
        seen.append(current_request_id())

    # As a worker does it: the headers of a message are the request of its task.
    see.push_request(json.loads(message)["headers"])
    task_prerun.send(sender=see, task=see)
    see.run()
    task_postrun.send(sender=see, task=see)
    see.run()
    assert seen == ["from-the-edge", ""]
    app.tasks.pop("tests.see")
