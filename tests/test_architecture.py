"""Rules about the code itself that no linter knows."""

import re
from collections import Counter
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


_ROLES = """
address apps base cache catalog checks clock conditions context doctor filters folder health locks mapping middleware
pagination queries query selectors serializers services sql tasks types urls verify views
"""
"""What modules of several packages are."""
_SUBJECTS = """
agreements allocation anomalies audit authorizations breakdown cloudevents commitments corrections cost_entries coverage
credentials credits deliveries estimate events exports figures forecast forecasts langfuse limits members meters
metric_senders months notifications organization_archive organizations outcomes preferences prices provider_bills
quarantine queues report_subscriptions repricings runs saved_views spend_logs summary table_files teams totals
uploads usage_issues webhooks workflows
"""
"""What several layers are about: models, rules, reports, endpoints, pages."""


def test_a_name_of_a_module_stands_for_one_subject() -> None:
    """A name that two modules have is a role or a subject of both. Name others by what is only in them:
    `increase_requests` and `request_bodies`, not `requests` twice."""
    packages = ("billing/management", "costtrack/client", "benchmarks")
    paths = [path.relative_to(ROOT) for path in SOURCES if path.stem not in ("__init__", "__main__")]
    names = Counter(path.stem for path in paths if not str(path).startswith(packages))
    known = {*_ROLES.split(), *_SUBJECTS.split()}
    assert sorted(name for name, number in names.items() if number > 1 and name not in known) == []


def test_every_enqueued_or_scheduled_task_is_registered(all_tasks: None) -> None:
    enqueued = {name for path in SOURCES for name in _ENQUEUE.findall(path.read_text(encoding="utf-8"))}
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    assert enqueued
    assert scheduled
    assert enqueued | scheduled <= set(app.tasks)


def test_every_task_has_its_queue_in_the_table(all_tasks: None) -> None:
    registered = {name for name in app.tasks if not name.startswith("celery.")}
    assert registered == set(TASKS), "costtrack/queues.py names the queue of every task, and no task that is not there."


def test_each_fixed_key_of_an_advisory_lock_is_used_once() -> None:
    fixed = re.compile(r"^_\w+ = (7_301_\d{3}|0x[0-9A-F]{6} << 36)$", re.MULTILINE)
    keys = [key for path in SOURCES for key in fixed.findall(path.read_text(encoding="utf-8"))]
    assert len(keys) >= 6
    assert sorted(keys) == sorted(set(keys))


def test_only_the_deletion_of_an_organization_keeps_rows_that_refer_to_it_from_being_added() -> None:
    """A foreign key locks the key of the organization's row, so FOR UPDATE of that row would stop its intake."""
    locked = re.compile(r"\bOrganization\.objects(?:\.\w+\([^()]*\))*?\.select_for_update\(([^()]*)\)")
    with_key = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        for options in locked.findall(path.read_text(encoding="utf-8"))
        if "no_key=True" not in options
    ]
    assert with_key == ["billing/deletion.py"]
