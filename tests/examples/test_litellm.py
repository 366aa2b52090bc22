"""examples/litellm: the real LiteLLM, in an environment of its own, against a running server."""

import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django.live_server_helper import LiveServer

from billing.models import IngestBatch, QuarantinedRecord, Run, UnpricedEvent, UsageEvent
from organizations.models import Organization
from organizations.types import Scope
from tests.billing.ingest.litellm_payloads import all_payloads
from tests.conftest import make_key
from tests.examples.environments import ROOT, python_of
from tests.usage import total_cost

EXAMPLE = ROOT / "examples" / "litellm"

# The first run installs LiteLLM, which takes about a minute.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(420)]


@pytest.fixture(scope="session")
def python() -> Path:
    return python_of(EXAMPLE)


def run_example(python: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, EXAMPLE / "send_calls.py"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_fifty_calls_of_litellm_are_in_the_ledger_once_with_their_costs_and_litellms_estimates(
    live_server: LiveServer, organization: Organization, python: Path
) -> None:
    call_command("import_prices", verbosity=0)
    key = make_key(organization, Scope.USAGE_WRITE, Scope.COSTS_READ)
    done = run_example(python, COSTTRACK_URL=live_server.url, COSTTRACK_TOKEN=key.api_key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything adds up." in done.stdout
    events = UsageEvent.objects.of(organization)
    assert events.count() == 50
    assert events.values("event_id").distinct().count() == 50
    assert set(events.values_list("source", flat=True)) == {"litellm"}
    assert len(set(events.values_list("model", flat=True))) == 12
    assert {tuple(tags) for tags in events.values_list("tags", flat=True)} >= {("example:litellm", "step:write")}
    assert events.filter(status="failure").count() == 1
    assert events.filter(cache_creation_1h_tokens=600, cache_creation_tokens=1000).count() == 4
    assert UnpricedEvent.objects.of(organization).count() == 3
    runs = dict(Run.objects.of(organization).values_list("run_id", "parent_run_id"))
    assert sorted(run.rpartition("/")[2] for run in runs) == ["job", "read", "research", "search", "write"]
    printed = re.search(r"Sum of the costs in the ledger: +([0-9.]+) USD", done.stdout)
    assert printed is not None
    assert total_cost(events) == Decimal(printed[1])
    # By hand: 120 uncached tokens, 5,000 read from and 1,000 written to caches (600 of them for an hour), and 800 out.
    sonnet = events.filter(model__startswith="claude-sonnet-4-5")
    assert total_cost(sonnet) == 4 * Decimal("0.01896")
    batches = IngestBatch.objects.of(organization).order_by("received_at")
    assert [(batch.accepted, batch.duplicates) for batch in batches] == [(50, 0), (0, 50)]
    assert not QuarantinedRecord.objects.exists()


def test_a_wrong_key_is_said_before_any_call_is_made(live_server: LiveServer, python: Path) -> None:
    done = run_example(python, COSTTRACK_URL=live_server.url, COSTTRACK_TOKEN="wrong")
    assert done.returncode == 2
    assert "401" in done.stderr
    assert not UsageEvent.objects.exists()


def test_a_missing_key_is_said(python: Path) -> None:
    done = run_example(python)
    assert done.returncode == 2
    assert "COSTTRACK_TOKEN is not set" in done.stderr


_PARSE_ROWS = """
import json, sys
from litellm.proxy._types import LiteLLM_SpendLogs, SpendLogsPayload

# LiteLLM reads these two from columns of its database, as JSON in a text.
AS_TEXT = ("metadata", "request_tags")
for row in json.load(sys.stdin):
    parsed = LiteLLM_SpendLogs(**{**row, **{name: json.dumps(row[name]) for name in AS_TEXT}})
    assert parsed.metadata == row["metadata"] and parsed.request_tags == row["request_tags"]
    assert parsed.spend == row["spend"] and parsed.created_at.tzinfo is not None
    missing = SpendLogsPayload.__annotations__.keys() - row.keys()
    assert missing <= {"proxy_server_request", "litellm_call_id", "billing_agent_id"}, missing
    print(parsed.request_id)
"""


@pytest.mark.usefixtures("whole_history")  # the payloads are a year old
def test_litellms_own_types_read_spend_logs(organization: Organization, python: Path) -> None:
    api = make_key(organization, *Scope).client()
    assert api.post("/integrations/litellm", all_payloads(), format="json").status_code == 200
    events = [{"kind": "compute", "cost_usd": "1"}, {"model": "unheard-of", "tags": ["a"], "metadata": {"b": [1]}}]
    assert api.post("/usage/events", events, format="json").json()["accepted"] == 2
    rows = api.get("/spend/logs")

    done = subprocess.run(
        [python, "-c", _PARSE_ROWS],
        input=rows.content.decode(),
        env={"PATH": os.environ["PATH"], "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [row["request_id"] for row in rows.json()]
    assert len(rows.json()) > 10
