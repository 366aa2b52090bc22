"""`manage doctor`: what it says of settings, servers and the isolation of organizations."""

import re
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from costtrack import heartbeat
from costtrack.clock import utc_now
from costtrack.env import Problem
from costtrack.management.commands import doctor
from costtrack.settings import env
from organizations.isolation import try_isolation
from organizations.models import Organization
from tests.conftest import Key
from tests.costtrack.heartbeats import all_well
from tests.usage import Send


@pytest.fixture(autouse=True)
def _all_well(db: None) -> Iterator[None]:
    heartbeat.client.cache_clear()
    all_well()
    yield
    heartbeat.client.cache_clear()


def run() -> tuple[dict[str, str], str]:
    """The lines by their subject, each with its result; and the error at the end."""
    output = StringIO()
    error = ""
    try:
        call_command("doctor", stdout=output)
    except CommandError as failure:
        error = str(failure)
    lines: dict[str, str] = {}
    for line in output.getvalue().splitlines():
        subject = line[9:31].strip()
        lines[subject] = f"{line[:9].strip()} {line[32:]}" + (f"\n{lines[subject]}" if subject in lines else "")
    return lines, error


def test_every_subject_is_one_line(key: Key, other_key: Key, send: Send) -> None:
    send({"id": "a", "model": "gpt-4o", "input_tokens": 10}, now=utc_now())
    lines, error = run()
    assert {subject: line for subject, line in lines.items() if line.startswith("failed")} == {}
    assert error == ""
    assert lines["settings"] == "warning COSTTRACK_HTTPS is false. Serve costtrack through HTTPS. (costtrack.W001)"
    assert lines["versions"].startswith("ok costtrack ")
    assert lines["clock"].startswith("ok ")
    assert lines["isolation"].endswith(" tables with rows show none of them to others")
    assert lines["database"].startswith("ok PostgreSQL: reachable (Version ")
    assert {"tenant_role", "redis", "queue_rollups", "beat", "fold_lag", "rollups", "deliveries_email"} <= set(lines)


def test_wrong_settings_and_missing_workers_are_failures_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "problems", [Problem("X", "'a' is not a boolean.", "Use true or false.")])
    heartbeat.worker_ends("worker@here")
    lines, error = run()
    assert "failed X: 'a' is not a boolean. Use true or false. (costtrack.E001)" in lines["settings"]
    assert lines["queue_exports"].startswith("failed exports: unattended (")
    assert lines["queue_exports"].endswith("Start a worker: celery --app costtrack.celery worker --queues exports")
    assert re.fullmatch(r"7 of \d+ lines are failures\.", error)


def test_without_the_database_and_redis_the_other_lines_are_printed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat.client.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "host", "/nowhere")
    lines, _ = run()
    assert lines["database"].startswith("failed PostgreSQL: unreachable.")
    assert {"clock", "isolation", "fold_lag"} & set(lines) == set()


def test_a_clock_that_differs_is_a_failure() -> None:
    finding = doctor._clock("Redis", lambda: utc_now() - timedelta(seconds=90))
    assert str(finding).startswith("failed   clock                  Redis is 90.0 s behind this machine; synchronize")


def test_a_table_without_its_policy_is_named(organization: Organization, key: Key) -> None:
    assert try_isolation() is not None
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE organizations_apicredential DISABLE ROW LEVEL SECURITY")
    trial = try_isolation()
    assert trial is not None
    assert trial.visible == ("organizations_apicredential",)
    lines, _ = run()
    assert lines["isolation"] == (
        "failed organizations see rows of others in organizations_apicredential; run repair_roles"
    )


def test_without_organizations_there_is_nothing_to_isolate() -> None:
    assert try_isolation() is None
    assert run()[0]["isolation"] == "ok there are no organizations yet"
