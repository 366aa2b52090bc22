"""The Celery application: `celery -A costtrack.celery worker` and `... beat`.

A task has the `request_id` of the request that enqueued it, in its log lines and in the notices that it writes.
"""

import os
from functools import cached_property
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import (
    beat_init,
    before_task_publish,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES

from costtrack.logs import REQUEST_ID, current_request_id
from costtrack.settings import env
from costtrack.worker import Heartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costtrack.settings")

# By the scheme of the broker's URL. (The setting `broker_transport` has no effect on URLs of Unix sockets.)
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "costtrack.broker:Transport"))


class CosttrackCelery(Celery):
    @cached_property
    def Beat(self) -> Any:  # noqa: N802 - Celery's name
        from costtrack.beat import Beat  # only this process needs it

        return self.subclass_with_self(Beat)


app = CosttrackCelery("costtrack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["costtrack", "organizations", "billing"])
app.steps["consumer"].add(Heartbeat)


@worker_init.connect
@beat_init.connect
def refuse_wrong_settings(**_: Any) -> None:
    env.exit_if_wrong()


@worker_init.connect
def open_no_pool(**_: Any) -> None:
    """A worker process runs one task at a time: it needs a connection, not a pool of them."""
    from costtrack.database.base import use_no_pool  # beat imports this module, and needs no database

    use_no_pool()


@worker_process_init.connect
def start_worker_telemetry(**_: Any) -> None:
    _start_telemetry("worker")


@beat_init.connect
def start_beat_telemetry(**_: Any) -> None:
    _start_telemetry("beat")


def _start_telemetry(process: str) -> None:
    if settings.HAS_TELEMETRY:
        from costtrack import telemetry  # the SDK takes a moment to load

        stop = telemetry.start(process)
        worker_process_shutdown.connect(lambda **_: stop(), weak=False)


@before_task_publish.connect
def send_request_id(headers: dict[str, Any], **_: Any) -> None:
    if request_id := current_request_id():
        headers[REQUEST_ID] = request_id


@task_prerun.connect
def bind_request_id(task: "Task[..., Any]", **_: Any) -> None:
    structlog.contextvars.clear_contextvars()
    if request_id := task.request.get(REQUEST_ID):
        structlog.contextvars.bind_contextvars(**{REQUEST_ID: request_id})


@task_postrun.connect
def forget_request_id(**_: Any) -> None:
    structlog.contextvars.clear_contextvars()
