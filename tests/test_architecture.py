"""Rules about the code itself that no linter knows."""

import re
from pathlib import Path

from django.conf import settings

from costtrack.celery import app
from costtrack.queues import TASKS

ROOT = Path(__file__).parent.parent
PACKAGES = ("costtrack", "organizations", "billing", "benchmarks")
SOURCES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts
)
_ENQUEUE = re.compile(r"enqueue_on_commit\(\s*\"([^\"]+)\"")


def test_the_sources_are_found() -> None:
    assert len(SOURCES) > 100


def test_a_file_is_named_by_what_is_in_it() -> None:
    vague = {"utils.py", "helpers.py", "signals.py", "common.py", "misc.py"}
    assert [str(path.relative_to(ROOT)) for path in SOURCES if path.name in vague] == []


def test_every_enqueued_or_scheduled_task_is_registered(all_tasks: None) -> None:
    enqueued = {name for path in SOURCES for name in _ENQUEUE.findall(path.read_text(encoding="utf-8"))}
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    assert enqueued
    assert scheduled
    assert enqueued | scheduled <= set(app.tasks)


def test_every_task_has_its_queue_in_the_table(all_tasks: None) -> None:
    registered = {name for name in app.tasks if not name.startswith("celery.")}
    assert registered == set(TASKS), "costtrack/queues.py names the queue of every task, and no task that is not there."
