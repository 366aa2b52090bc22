"""Document 002: `POST` and `GET /costs/runs/{run_id}/entries`."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.ledger.corrections import adjust, void
from billing.models import UsageEvent
from billing.rollups.retention import drop_events
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, Send

ENTRY = {"id": "c-1", "service": "openai", "group": "gpt-4", "amount": 0.25, "created_at": "2026-10-01T09:00:00Z"}
PATH = "/costs/runs/r/entries"


def post(api: APIClient, body: Any, path: str = PATH) -> Any:
    return api.post(path, body, format="json")


def post_raw(api: APIClient, body: str) -> Any:
    return api.post(PATH, body, content_type="application/json")


def test_an_entry_is_recorded_and_answered_like_the_document(api: APIClient) -> None:
    response = post(api, ENTRY)

    assert (response.status_code, response.json()) == (201, {**ENTRY, "run_id": "r"})
    assert api.get(PATH).json() == {"results": [{**ENTRY, "run_id": "r"}], "next_cursor": None}
    assert api.get("/costs/runs/r").json() == {
        "total_cost": 0.25,
        "costs_by_service": {"openai": 0.25},
        "costs_by_group": {"openai": {"gpt-4": 0.25}},
    }


def test_an_entry_is_money_without_a_call(api: APIClient) -> None:
    post(api, ENTRY)

    event = UsageEvent.objects.get()
    assert (event.kind, event.source, event.requests, event.unpriced) == ("compute", "costs", 0, 0)
    assert (event.token_cost_usd, event.compute_cost_usd, event.cost_source) == (0, Decimal("0.25"), "reported")


def test_what_is_optional_may_be_left_out_or_null(api: APIClient) -> None:
    for body in ({"service": "aws", "amount": 1}, {**ENTRY, "id": None, "group": None, "created_at": None}):
        answer = post(api, body).json()
        assert answer["id"]
        assert answer["group"] is None
        assert answer["created_at"].endswith("Z")
    assert len({entry["id"] for entry in api.get(PATH).json()["results"]}) == 2


def test_an_array_is_recorded_as_a_whole(api: APIClient) -> None:
    response = post(api, [ENTRY, {"service": "aws", "amount": 2, "run_id": "r"}, ENTRY])

    assert response.status_code == 201
    assert [entry["amount"] for entry in response.json()] == [0.25, 2.0, 0.25]
    assert api.get("/costs/runs/r").json()["total_cost"] == 2.25


def test_the_same_entry_again_changes_nothing(api: APIClient) -> None:
    first = post(api, {"id": "c", "service": "openai", "amount": 0.25})
    again = post(api, {"id": "c", "service": "openai", "amount": 0.250})

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert post(api, [{"id": "c", "service": "openai", "amount": 0.25}]).status_code == 200
    assert api.get("/costs/runs/r").json()["total_cost"] == 0.25


@pytest.mark.parametrize("change", [{"amount": 0.26}, {"service": "aws"}, {"group": None}, {"created_at": None}])
def test_an_id_with_other_content_is_a_conflict_and_nothing_is_recorded(api: APIClient, change: dict[str, Any]) -> None:
    post(api, ENTRY)

    response = post(api, [{"id": "new", "service": "aws", "amount": 1}, {**ENTRY, **change}])

    assert response.status_code == 409
    assert response.json()["detail"].endswith("c-1")
    assert UsageEvent.objects.count() == 1


def test_ids_are_of_the_organization_and_not_of_a_run_or_another_endpoint(api: APIClient, send: Send) -> None:
    send({"id": "c-1", "run_id": "r", "cost_usd": "1"})

    assert post(api, ENTRY).status_code == 201
    assert post(api, ENTRY, "/costs/runs/other/entries").status_code == 409


@pytest.mark.parametrize(
    ("amount", "stored"),
    [
        ("0", "0"),
        ("1e-10", "0.0000000001"),
        ("0.123456789012345678901234", "0.123456789012345678901234"),
        ("123456789012.000000000000000000000001", "123456789012.000000000000000000000001"),
        ("999999999999", "999999999999"),
    ],
)
def test_an_amount_is_taken_as_it_is_written(api: APIClient, amount: str, stored: str) -> None:
    response = post_raw(api, f'{{"id": "c", "service": "s", "amount": {amount}}}')

    assert response.status_code == 201, response.content
    assert UsageEvent.objects.get().compute_cost_usd == Decimal(stored)
    assert response.json()["amount"] == pytest.approx(float(amount), abs=1e-10)


@pytest.mark.parametrize(
    ("body", "index"),
    [
        ({**ENTRY, "amount": -0.01}, ["amount"]),
        ({**ENTRY, "amount": "0.25"}, ["amount"]),
        ({**ENTRY, "amount": True}, ["amount"]),
        ({**ENTRY, "amount": None}, ["amount"]),
        ({**ENTRY, "amount": 1e12}, ["amount"]),
        ({**ENTRY, "amount": 1e-25}, ["amount"]),  # would be rounded
        ({**ENTRY, "amount": 10**300}, ["amount"]),
        ({"id": "c", "service": "s"}, ["amount"]),
        ({"id": "c", "amount": 1}, ["service"]),
        ({**ENTRY, "service": ""}, ["service"]),
        ({**ENTRY, "service": None}, ["service"]),
        ({**ENTRY, "service": "a\0"}, ["service"]),
        ({**ENTRY, "service": "x" * 256}, ["service"]),
        ({**ENTRY, "service": {"name": "x"}}, ["service"]),
        ({**ENTRY, "group": "x" * 256}, ["group"]),
        ({**ENTRY, "id": ""}, ["id"]),
        ({**ENTRY, "id": "x" * 256}, ["id"]),
        ({**ENTRY, "run_id": "another"}, ["run_id"]),
        ({**ENTRY, "created_at": "soon"}, ["created_at"]),
        ({**ENTRY, "created_at": 5}, ["created_at"]),
        ({**ENTRY, "created_at": "1999-12-31T23:59:59Z"}, ["created_at"]),
        ({**ENTRY, "created_at": "2099-01-01T00:00:00Z"}, ["created_at"]),
        ({**ENTRY, "created_at": "0001-01-01T00:00:00+14:00"}, ["created_at"]),
        ({**ENTRY, "created_at": "9999-12-31T23:59:59-14:00"}, ["created_at"]),
        ({**ENTRY, "ammount": 1}, ["ammount"]),
        ([ENTRY, {**ENTRY, "amount": -1}], [1, "amount"]),
        ([ENTRY, {**ENTRY, "run_id": "another"}], [1, "run_id"]),
        ([ENTRY, {**ENTRY, "created_at": "2099-01-01T00:00:00Z"}], [1, "created_at"]),
        ([ENTRY, 5], [1]),
        ([], []),
        ([ENTRY] * 1001, []),
        (5, []),
        ("text", []),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_recorded(api: APIClient, body: Any, index: list[str | int]) -> None:
    response = post(api, body)

    assert response.status_code == 422, response.content
    (error,) = response.json()["detail"]
    assert error["loc"] == ["body", *index]
    assert error["msg"]
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(
    "body", ["", "null", "{", '{"service": "s", "amount": NaN}', '{"service": "s", "amount": Infinity}']
)
def test_a_body_that_is_not_json_is_a_400(api: APIClient, body: str) -> None:
    response = post_raw(api, body)

    assert response.status_code in (400, 422)
    assert "detail" in response.json()


@pytest.mark.parametrize("run", ["x" * 256, "a%00b"])
def test_a_run_id_that_no_run_can_have_is_refused(api: APIClient, run: str) -> None:
    response = post(api, ENTRY, f"/costs/runs/{run}/entries")

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "run_id"]
    assert api.get(f"/costs/runs/{run}/entries").status_code == 404


def test_every_event_of_a_run_is_an_entry_with_what_it_costs_now(
    api: APIClient, organization: Organization, send: Send
) -> None:
    common = {"run_id": "r", "service": "openai", "model": "gpt-4"}
    send(
        {**common, "id": "a", "cost_usd": "1", "occurred_at": "2026-10-01T01:00:00Z"},
        {**common, "id": "b", "cost_usd": "2", "occurred_at": "2026-10-01T02:00:00Z", "cost_group": "assistants"},
        {**common, "id": "c", "cost_usd": "4", "occurred_at": "2026-10-01T03:00:00Z"},
        {"run_id": "r", "model": "unheard-of", "input_tokens": 5, "occurred_at": "2026-10-01T04:00:00Z"},
        {"run_id": "other", "cost_usd": "8"},
    )
    events = {event.event_id: event for event in UsageEvent.objects.all()}
    adjust(organization=organization, event_id=events["a"].pk, cost_usd=Decimal("1.5"), reason="r", actor="t", now=NOW)
    void(organization=organization, event_id=events["c"].pk, reason="r", actor="t", now=NOW)

    entries = api.get(PATH).json()["results"]

    assert [(entry["amount"], entry["group"]) for entry in entries] == [
        (None, "unheard-of"),
        (0.0, "gpt-4"),
        (2.0, "assistants"),
        (1.5, "gpt-4"),
    ]
    assert entries[3]["id"] == str(events["a"].pk)
    assert entries[0]["service"] == ""
    assert sum(entry["amount"] or 0 for entry in entries) == api.get("/costs/runs/r").json()["total_cost"]


def test_pages_follow_each_other(api: APIClient) -> None:
    post(api, [{**ENTRY, "id": f"c-{number}", "amount": number} for number in range(7)])  # all of one time

    seen: list[float] = []
    cursor = ""
    while True:
        page = api.get(f"{PATH}?limit=3&cursor={quote(cursor)}").json()
        seen += [entry["amount"] for entry in page["results"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert seen == [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
    ],
)
def test_bad_parameters_are_named(api: APIClient, query: str, field: str) -> None:
    post(api, ENTRY)
    response = api.get(f"{PATH}?{query}")

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", field]


def test_an_unknown_run_is_a_404_and_one_without_costs_is_empty(api: APIClient, send: Send) -> None:
    send({"run_id": "child", "parent_run_id": "parent", "cost_usd": "1"})

    unknown = api.get("/costs/runs/nobody/entries")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Run nobody not found"})
    assert api.get("/costs/runs/parent/entries").json() == {"results": [], "next_cursor": None}


def test_the_last_word_of_the_path_distinguishes_entries_from_a_run(api: APIClient, send: Send) -> None:
    for run in ("a/b", "entries", "a/entries"):
        send({"run_id": run, "service": run, "cost_usd": "1"})

    assert api.get("/costs/runs/a%2Fb/entries").json()["results"][0]["run_id"] == "a/b"
    assert api.get("/costs/runs/entries").json()["costs_by_service"] == {"entries": 1.0}
    assert api.get("/costs/runs/entries/entries").json()["results"][0]["run_id"] == "entries"
    assert api.get("/costs/runs/a/entries").status_code == 404  # the entries of a run "a", which there is not
    assert api.get("/costs/runs/a/entries/entries").json()["results"][0]["run_id"] == "a/entries"


def test_an_entry_whose_event_was_dropped_is_not_recorded_again(api: APIClient, send: Send) -> None:
    post(api, ENTRY)
    later = datetime.now(tz=UTC)
    month = datetime(later.year + later.month // 12, later.month % 12 + 1, 1, tzinfo=UTC)
    drop_events(before=month, actor="tests", now=month, report=lambda _: None)

    response = post(api, ENTRY)

    assert response.status_code == 409
    assert api.get("/costs/runs/r").json()["total_cost"] == 0.25


def test_runs_of_another_organization_are_unknown(api: APIClient, other_api: APIClient) -> None:
    post(api, ENTRY)

    assert other_api.get(PATH).status_code == 404
    assert post(other_api, {**ENTRY, "amount": 2}).status_code == 201
    assert [entry["amount"] for entry in api.get(PATH).json()["results"]] == [0.25]


def test_who_may_read_and_who_may_record(organization: Organization, owner: User, viewer: User) -> None:
    assert post(APIClient(), ENTRY).status_code == 401
    assert post(make_key(organization, Scope.COSTS_READ).client(), ENTRY).status_code == 403
    writer = make_key(organization, Scope.USAGE_WRITE).client()
    assert post(writer, ENTRY).status_code == 201
    assert writer.get(PATH).status_code == 403
    for user in (owner, viewer):
        client = Client()
        client.force_login(user)
        assert client.get(PATH).status_code == 200


def test_recording_is_open_in_every_plan(api: APIClient, organization: Organization) -> None:
    organization.plan_id = "free"
    organization.save(update_fields=["plan"])

    assert post(api, ENTRY).status_code == 201
    assert api.get(PATH).status_code == 403
