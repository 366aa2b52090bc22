"""After whatever has happened: where pages, windows, filters and organizations end (invariants 5, 6, 10, 11 and 12)."""

import base64
import csv
import io
import zipfile
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from rest_framework.test import APIClient

from billing.models import IngestBatch, LedgerState, UsageEvent
from tests.contract.expected_ledger import ExpectedLedger, cost
from tests.contract.family_reader import EVERYTHING, Reader, exact, summed
from tests.contract.goldens import key_hash
from tests.contract.history import History, Stage, histories
from tests.contract.test_invariants import few, readers
from tests.usage import set_price


@pytest.mark.parametrize(
    ("path", "name", "maximum"),
    [
        ("/costs/sessions", "limit", 200),
        ("/costs/executions", "limit", 200),
        ("/costs/runs/run-1/entries", "limit", 200),
        ("/usage/requests", "limit", 200),
        ("/usage/events", "limit", 200),
        ("/spend/logs/v2?start_date=2026-01-01&end_date=2026-12-31", "page_size", 100),
    ],
)
def test_5_limits_hold_at_their_edges(api: APIClient, stage: Stage, path: str, name: str, maximum: int) -> None:
    with stage.after(History([(0, ("send", [{"age": 0, "cost_usd": "1", "run_id": "run-1"}]))])):
        query = "&" if "?" in path else "?"
        for limit, status in ((1, 200), (maximum, 200), (0, 422), (maximum + 1, 422), (-1, 422), ("ten", 422)):
            response = api.get(f"{path}{query}{name}={limit}")
            assert response.status_code == status, (limit, response.content)


@pytest.mark.parametrize(("size", "status"), [(1, 200), (500, 200), (0, 422), (501, 422), ("ten", 422)])
def test_5_pages_of_groups_hold_at_their_edges(api: APIClient, stage: Stage, size: Any, status: int) -> None:
    with stage.after(History([])):
        assert api.post("/system/groups", {"page_size": size}, format="json").status_code == status


@few
@given(history=histories)
def test_5_6_10_11_and_12_pages_tenants_filters_and_estimates(stage: Stage, history: History) -> None:
    with stage.after(history):
        for reader, ledger in readers(stage):
            _assert_groups_are_sorted_over_all_their_pages(reader, ledger)
            _assert_filters_count_and_an_export_has_a_row_for_each_event(reader, ledger)
            _assert_filters_of_the_log(reader, ledger)
        for (reader, ledger), (_, theirs) in zip(readers(stage), list(readers(stage))[::-1], strict=True):
            _assert_nothing_of_another_organization_shows(reader, ledger, theirs)
        for reader, _ in readers(stage):
            _assert_calculating_changes_nothing(reader)


def _assert_groups_are_sorted_over_all_their_pages(reader: Reader, ledger: ExpectedLedger) -> None:
    """However small pages are; the last is followed by an empty one (`Reader.groups`)."""
    fields = {
        "date": "last_run_at",
        "total_cost": "total_cost",
        "total_tokens": "total_tokens",
        "run_count": "run_count",
    }
    for sort_by, name in fields.items():
        for order in ("asc", "desc"):
            rows = [row for page in reader.groups(2, sort_by=sort_by, sort_order=order) for row in page]
            values = [row[name] if sort_by == "date" else exact(row[name]) for row in rows]
            assert values == sorted(values, reverse=order == "desc")
            assert {row["group_key"] for row in rows} == ledger.values("group_id")
    _assert_group_costs(reader, ledger)


def _assert_group_costs(reader: Reader, ledger: ExpectedLedger) -> None:
    first = reader.post("/system/groups")["data"]
    assert reader.post("/system/groups", page=1)["data"] == first
    for row in first:
        entries = ledger.where(group_id=row["group_key"])
        assert exact(row["total_cost"]) == cost(entries)
        assert row["run_count"] == sum(entry.sums["requests"] for entry in entries)
        assert row["total_input_tokens"] == sum(entry.prompt_tokens for entry in entries)
        assert row["total_tokens"] == row["total_input_tokens"] + row["total_output_tokens"]
        assert set(row["model_names"]) == {entry.text("model") for entry in entries} - {""}


def _assert_filters_count_and_an_export_has_a_row_for_each_event(reader: Reader, ledger: ExpectedLedger) -> None:
    daily = reader.post("/system/pricing")
    for option in daily["model_options"]:
        filtered = reader.post("/system/pricing", model_ids=[option["value"]])
        assert filtered["total_count"] == option["count"]
        assert filtered["model_options"] == daily["model_options"]
        groups = reader.post("/system/groups", model_ids=[option["value"]])
        assert groups["total_count"] == len(groups["data"])
        assert all(row["model_ids"] == [option["value"]] for row in groups["data"])
    answer = reader.post("/system/export")
    rows = _rows_of(answer["content"])
    entries = [entry for entry in ledger.entries if not entry.is_voided]
    assert len(rows) == answer["row_count"] == len(entries)
    assert summed(row["cost"] for row in rows) == cost(entries)
    assert reader.other.own_word not in str(rows)


def _rows_of(content: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(content))) as archive:
        assert archive.testzip() is None
        (name,) = archive.namelist()
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def _assert_nothing_of_another_organization_shows(
    reader: Reader, ledger: ExpectedLedger, theirs: ExpectedLedger
) -> None:
    """Neither by an id of theirs nor by any filter; and no answer has a word of theirs in it (`Reader`)."""
    for path, own_ids, foreign_ids in (
        ("/costs/runs/{}", set(ledger.parents), set(theirs.parents)),
        ("/costs/runs/{}/entries", set(ledger.parents), set(theirs.parents)),
        ("/costs/sessions/{}", ledger.values("session_id"), theirs.values("session_id")),
        ("/costs/executions/{}", ledger.values("execution_id"), theirs.values("execution_id")),
    ):
        for name in foreign_ids - own_ids:
            reader.get(path.format(name), status=404)
    for event in UsageEvent.objects.of(reader.other.organization)[:3]:
        reader.get(f"/usage/events/{event.pk}", status=404)
        reader.post(f"/usage/events/{event.pk}/void", status=404, reason="not mine")
    _assert_foreign_filters_match_nothing(reader)


def _assert_foreign_filters_match_nothing(reader: Reader) -> None:
    own_word, client_id = reader.other.own_word, reader.other.key.credential.client_id
    assert reader.get("/spend/logs", user_id=f"{own_word}-user") == []
    for key in (client_id, key_hash(client_id), reader.other.key.api_key):
        assert reader.get("/spend/logs", api_key=key) == []
    assert reader.get("/costs/sessions", execution_id=f"{own_word}-execution") == []
    assert reader.get("/costs/runs", workflow_id=f"{own_word}-flow")["total_cost"] == 0
    assert reader.get("/usage/requests", client_id=client_id, **EVERYTHING)["results"] == []
    assert reader.usage(capability=f"{own_word}-capability")["requests"] == 0
    assert reader.get("/usage/events", session_id=f"{own_word}-session")["results"] == []
    assert reader.get("/spend/users", user_id=f"{own_word}-user") == []
    options = Reader(reader.other, reader.side).post("/system/pricing")["model_options"]
    if theirs := [option["value"] for option in options if own_word in option["label"]]:
        assert reader.post("/system/pricing", model_ids=theirs)["total_count"] == 0
        assert reader.post("/system/groups", model_ids=theirs)["total_count"] == 0


def _assert_filters_of_the_log(reader: Reader, ledger: ExpectedLedger) -> None:
    key = reader.side.key
    rows = reader.log_rows()
    client_id = key.credential.client_id
    by_name = [reader.log_rows(api_key=name) for name in (client_id, key_hash(client_id), key.api_key)]
    assert all(same_rows == rows for same_rows in by_name)
    assert reader.log_rows(request_id="no-such") == []
    for user in ("ada", f"{reader.side.own_word}-user"):
        of_user = reader.log_rows(user_id=user)
        assert of_user == [row for row in rows if row["user"] == user]
        assert len(of_user) == len(ledger.where(user_id=user))
        assert reader.log_rows(user_id=user, api_key=client_id) == of_user
        assert reader.log_rows(user_id=user, api_key="no-such") == []
    _assert_open_windows(reader, rows)
    assert all(newer["startTime"] >= older["startTime"] for newer, older in pairwise(rows))


def _assert_open_windows(reader: Reader, rows: list[dict[str, Any]]) -> None:
    today = "2026-11-02"
    assert reader.log_rows(start_date=today) == [row for row in rows if row["startTime"] >= today]
    assert reader.log_rows(end_date="2026-11-01") == [row for row in rows if row["startTime"] < today]
    for row in rows[:3]:
        assert row in reader.log_rows(request_id=row["request_id"])


def _assert_calculating_changes_nothing(reader: Reader) -> None:
    set_price("gpt-4o", input="1", output="2", organization=reader.side.organization)
    before = _state(), reader.log_rows(), reader.post("/system/pricing")
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
    message = {"role": "user", "content": "Hey, how's it going?"}
    reader.post("/spend/calculate", model="gpt-4o", messages=[message])
    reader.post("/spend/calculate", completion_response={"model": "gpt-4o", "usage": usage})
    reader.post("/spend/calculate", status=400, model="no-such", messages=[message])
    assert (_state(), reader.log_rows(), reader.post("/system/pricing")) == before


def _state() -> tuple[Any, ...]:
    versions = LedgerState.objects.order_by("pk").values_list("pk", "version")
    return UsageEvent.objects.count(), IngestBatch.objects.count(), list(versions)
