"""A database of before 0.1.0: every way in says what to do, and its events can be taken out and sent again."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client

from billing.ingest import json_events
from billing.ingest.services import IngestResult, ingest
from billing.ledger.types import SUMMARY_TOTALS
from costtrack.clock import utc_now
from costtrack.database.first_schema import ADVICE
from organizations.models import Organization
from tests.costtrack.database.conftest import Cluster, serving

pytestmark = pytest.mark.django_db(transaction=True)

FIXTURE = Path(__file__).parent / "fixtures" / "first_schema.sql"
_SUMS = f"""
SELECT session_id, model, tool, run_id, tags::text, occurred_at, sum(requests), sum(unpriced),
    {", ".join(f"coalesce(sum({column}), 0)" for column in SUMMARY_TOTALS)}
FROM billing_usageevent
WHERE organization_id = %s
GROUP BY session_id, model, tool, run_id, tags, occurred_at
HAVING sum(requests) <> 0 OR sum(tool_calls) <> 0 OR sum(token_cost_usd) <> 0 OR sum(compute_cost_usd) <> 0
ORDER BY 1, 2, 3, 4, 5, 6
"""  # noqa: S608 - names of columns


@contextmanager
def serving_first_schema(cluster: Cluster) -> Iterator[None]:
    """Meanwhile this process works on the database of the fixture: two organizations, ids 1 and 2."""
    with cluster.superuser("restored") as database:
        database.execute(FIXTURE.read_bytes())
        database.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO costtrack")
    with serving(cluster.url):
        yield


@pytest.fixture
def first_schema(new_cluster: Cluster) -> Iterator[None]:
    with serving_first_schema(new_cluster):
        yield


def rows(query: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        fetched: list[Any] = cursor.fetchall()
    return fetched


def send_file(organization: Organization, file: Path) -> IngestResult:
    now = utc_now()
    parsed = json_events.parse(file.read_bytes(), content_type="application/x-ndjson", max_events=100, now=now)
    return ingest(organization=organization, credential=None, format="json", parsed=parsed, now=now)


def export(folder: Path) -> str:
    output = io.StringIO()
    call_command("export_ledger", str(folder), stdout=output)
    return output.getvalue()


@pytest.mark.usefixtures("first_schema")
def test_everything_says_in_one_line_what_to_run() -> None:
    for command in (["migrate"], ["repair_roles"], ["rollups", "verify"], ["limits", "verify"]):
        with pytest.raises(CommandError) as error:
            call_command(*command)
        assert str(error.value) == ADVICE
    assert "\n" not in ADVICE

    response = Client().get("/readyz")
    assert (response.status_code, response.json()["checks"]["migrations"]["state"]) == (503, "too_old")


def test_its_events_keep_their_sums_when_they_are_sent_again(
    new_cluster: Cluster, organization: Organization, tmp_path: Path
) -> None:
    with serving_first_schema(new_cluster):
        before = rows(_SUMS, 1)
        output = export(tmp_path / "out")
    assert [line.partition(" in ")[0] for line in output.splitlines()] == ["acme: 12 events", "globex: 0 events"]

    file = tmp_path / "out" / "acme.ndjson"
    assert file.stat().st_mode & 0o077 == 0
    sent = send_file(organization, file)
    assert (sent.accepted, sent.rejected) == (12, 0)
    assert rows(_SUMS, organization.pk) == before
    assert rows("SELECT parent_run_id FROM billing_run WHERE run_id = 'run-2'") == [("run-1",)]

    again = send_file(organization, file)
    assert (again.accepted, again.duplicates) == (0, 12)


@pytest.mark.usefixtures("first_schema")
def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "acme.ndjson").write_text("mine")
    with pytest.raises(CommandError, match=r"acme\.ndjson: File exists"):
        export(tmp_path)
    assert (tmp_path / "acme.ndjson").read_text() == "mine"


def test_a_database_without_a_ledger_is_one_line(new_cluster: Cluster, tmp_path: Path) -> None:
    with serving(new_cluster.url), pytest.raises(CommandError, match="This database has no ledger: relation"):
        export(tmp_path)
