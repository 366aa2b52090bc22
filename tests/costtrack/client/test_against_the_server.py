"""The client and the real server: what one says is what the other means."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from billing.models import UsageEvent
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import Key, make_key
from tests.costtrack.client.conftest import Run
from tests.usage import total_cost

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(bare_run: Run, live_server: LiveServer, key: Key, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COSTTRACK_URL", live_server.url)
    monkeypatch.setenv("COSTTRACK_TOKEN", key.api_key)
    return bare_run


def costing(number: int, cost: str = "0.1") -> str:
    """An event's JSON."""
    event = {"id": f"e{number}", "service": "openai", "model": "gpt-4", "run_id": "run/1 ü", "cost_usd": cost}
    return json.dumps(event)


def test_what_is_sent_is_in_the_costs_to_the_last_digit(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text("\n".join(costing(number, "0.000000001") for number in range(25)))

    assert run("events", "send", str(file), "--batch-size", "10").out == "25 events: 25 stored\n"
    assert run("events", "send", str(file)).out == "25 events: 0 stored, 25 duplicates\n"

    assert run("costs", "run", "run/1 ü").lines == [
        "total cost $0.000000025",
        "service group cost",
        "openai $0.000000025",
        "gpt-4 $0.000000025",
    ]
    assert json.loads(run("costs", "runs", "--json").out)["costs_by_service"] == {"openai": 2.5e-08}


def test_records_without_an_id_are_not_counted_twice(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    event = {"model": "gpt-4", "cost_usd": "0.5"}
    file.write_text(json.dumps({"events": [event, event, {**event, "id": None}, {**event, "id": None}]}, indent=2))

    assert run("events", "send", str(file)).out == "4 events: 4 stored\n"
    assert run("events", "send", str(file)).out == "4 events: 0 stored, 4 duplicates\n"

    assert total_cost(UsageEvent.objects.all()) == Decimal(2)


def test_what_the_server_rejects_is_named_and_the_rest_is_stored(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    lines = [costing(0), '{"id": "bad", "modle": "x"}', "", "nonsense", '{"id": "nul\\u0000"}', "5", costing(0, "9")]
    file.write_text("\n".join([*lines, '{"id": "half \\ud83d"}', '{"id": "nan", "cost_usd": NaN}', costing(1)]))

    done = run("events", "send", str(file))

    assert done.code == 1
    assert done.out == "9 events: 2 stored, 1 conflicts with stored events, 6 rejected\n"
    locations = [line.removeprefix("costtrack: ").partition(":")[0] for line in done.err.splitlines()]
    assert [location.partition(",")[0] for location in locations] == [
        f"line {number}" for number in (2, 4, 5, 6, 7, 8, 9)
    ]
    assert "line 2, id bad: Unknown field modle." in done.err


def test_a_batch_of_which_nothing_is_stored_is_no_broken_sending(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    file.write_text('[{"x": 1}, {"id": "good"}]')
    done = run("events", "send", str(file), "--batch-size", "1")
    assert (done.code, done.out) == (1, "2 events: 1 stored, 1 rejected\n")
    assert done.err == "costtrack: events[0]: Unknown field x.\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["costs", "run", "nobody"], "Resource not found (HTTP 404): Run nobody not found"),
        (["costs", "runs", "--start-date", "yesterday"], "API error (HTTP 422): start_date: Not an ISO 8601 date"),
        (["costs", "runs", "--workflow-id", "x" * 300], "API error (HTTP 422): workflow_id: "),
        (["costs", "runs", "--token", "wrong"], "Authentication failed (HTTP 401): "),
        (["costs", "runs", "--organization", "globex"], "Resource not found (HTTP 404)"),
        (["costs", "runs", "--url", "{url}/nowhere"], "Resource not found (HTTP 404)"),
    ],
)
def test_a_refusal_is_one_line(arguments: list[str], line: str, run: Run, live_server: LiveServer) -> None:
    done = run(*(argument.replace("{url}", live_server.url) for argument in arguments))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"costtrack: {line}")
    assert done.err.count("\n") == 1


def test_an_operator_names_the_organization(
    run: Run, organization: Organization, operator_key: Key, tmp_path: Path
) -> None:
    file = tmp_path / "event.json"
    file.write_text(costing(1))
    operator = ["--token", operator_key.api_key]
    assert "organization parameter is required" in run("events", "send", str(file), *operator).err
    assert run("events", "send", str(file), *operator, "--organization", "acme").code == 0
    assert run("costs", "run", "run/1 ü").lines[0] == "total cost $0.10"


def test_login_distinguishes_good_keys_from_bad_ones(
    run: Run, organization: Organization, operator_key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COSTTRACK_TOKEN")
    sender = make_key(organization, Scope.USAGE_WRITE)
    assert run("login", stdin=sender.api_key).code == 0
    assert run("login", stdin=operator_key.api_key).code == 0
    done = run("login", stdin="ct_wrong")
    assert done.code == 1
    assert done.err.startswith("costtrack: Authentication failed (HTTP 401): ")
