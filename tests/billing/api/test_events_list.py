"""`GET /usage/events` and `GET /usage/events/{id}`: the ledger row by row."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.renderers import JSONRenderer
from rest_framework.test import APIClient

from billing.api.usage.events import UsageEventSerializer
from billing.ingest.validate import MAX_METADATA_DEPTH
from billing.ledger.price_unpriced import price_unpriced
from billing.models import UsageEvent
from costtrack.clock import iso
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, Send, set_price

PATH = "/usage/events"


def listed(api: APIClient, query: str = "") -> list[dict[str, Any]]:
    response = api.get(f"{PATH}?{query}")
    assert response.status_code == 200, response.content
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def ids(api: APIClient, query: str = "") -> list[str]:
    return [row["event_id"] for row in listed(api, query)]


def at(minutes: int) -> str:
    return iso(NOW - timedelta(minutes=minutes))


def test_rows_come_newest_first_with_exact_amounts(api: APIClient, send: Send) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")
    send(
        {
            "id": "reported",
            "occurred_at": at(2),
            "duration_ms": 12.5,
            "service": "openai",
            "model": "gpt-4o",
            "input_tokens": 1000,
            "output_tokens": 10,
            "cost_usd": "0.002600000000000000000001",
            "compute_cost_usd": "1",
            "user_id": "ada",
            "tags": ["a"],
            "metadata": {"x": 1},
        },
        {"id": "unknown", "occurred_at": at(1), "model": "house-model", "input_tokens": 5},
    )
    unknown, reported = listed(api)
    assert (unknown["event_id"], unknown["cost_usd"], unknown["unpriced_reason"]) == ("unknown", None, "no_price")
    amounts = {name: value for name, value in reported.items() if name.endswith("_usd")}
    assert amounts == {
        "cost_usd": "1.002600000000000000000001",
        "token_cost_usd": "0.002600000000000000000001",
        "compute_cost_usd": "1",
        "computed_cost_usd": "0.0026",
        "stated_cost_usd": "0.002600000000000000000001",
        "provider_cost_usd": None,
        "gateway_cost_usd": None,
        "list_cost_usd": None,
    }
    assert (reported["cost_basis"], unknown["cost_basis"]) == ("sender", "unknown")
    assert (reported["canonical_provider"], reported["canonical_model"]) == ("openai", "gpt-4o")
    assert (reported["source"], reported["kind"], reported["cost_source"]) == ("api", "model_call", "reported")
    assert (reported["occurred_at"], reported["received_at"]) == (at(2), iso(NOW))
    assert (reported["duration_ms"], reported["user_id"], reported["tags"]) == (12.5, "ada", ["a"])
    assert (reported["input_tokens"], reported["metadata"]) == (1000, {"x": 1})
    assert reported["price_version_id"] is not None


def test_pages_go_on_where_the_last_one_ended(api: APIClient, send: Send) -> None:
    """Also among events of the same instant, and while new ones come in."""
    sent = [f"{number}" for number in range(7)]
    send(*({"id": name, "occurred_at": at(10 if number < 5 else 20)} for number, name in enumerate(sent)))
    seen: list[str] = []
    query = "limit=2"
    for page in range(4):
        body = api.get(f"{PATH}?{query}").json()
        seen += [row["event_id"] for row in body["results"]]
        send({"id": f"later-{page}", "occurred_at": at(0)})
        query = f"limit=2&cursor={body['next_cursor']}"
    assert body["next_cursor"] is None
    assert seen == ["4", "3", "2", "1", "0", "6", "5"]


def test_a_page_that_is_just_full_is_the_last_one(api: APIClient, send: Send) -> None:
    send({"id": "a"}, {"id": "b"})
    assert api.get(f"{PATH}?limit=2").json()["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ("run_id=run-1", ["a"]),
        ("session_id=s-1", ["b"]),
        ("model=gpt-4o", ["b", "a"]),
        ("model=gpt-4o&service=openai", ["a"]),
        ("status=failure", ["b"]),
        ("source=gateway", ["c"]),
        ("event_id=a", ["a"]),
        ("event_id=c", []),
        ("event_id=c&source=gateway", ["c"]),
        ("start_date=2026-11-02T11:45:00Z", ["b"]),
        ("end_date=2026-11-02T11:30:00Z", ["c"]),
        ("end_date=2026-11-02T11:30:01Z", ["a", "c"]),
        ("start_date=2026-11-02&end_date=2026-11-02", ["b", "a"]),
        ("end_date=2026-11-01", ["c"]),
        ("run_id=none", []),
        ("run_id=&status=&cursor=", ["b", "a", "c"]),
    ],
)
def test_filters(api: APIClient, send: Send, query: str, result: list[str]) -> None:
    send(
        {"id": "a", "occurred_at": at(30), "run_id": "run-1", "model": "gpt-4o", "service": "openai"},
        {"id": "b", "occurred_at": at(10), "session_id": "s-1", "model": "gpt-4o", "status": "failure"},
        {"id": "c", "occurred_at": at(24 * 60), "source": "gateway"},
    )
    assert ids(api, query) == result


def test_midnight_belongs_to_the_day_that_begins(api: APIClient, send: Send) -> None:
    send(
        {"id": "last", "occurred_at": "2026-11-01T23:59:59.999999Z"},
        {"id": "first", "occurred_at": "2026-11-02T00:00:00Z"},
    )
    assert ids(api, "end_date=2026-11-01") == ["last"]
    assert ids(api, "start_date=2026-11-02") == ["first"]


def test_an_event_of_litellms_endpoint_is_found_by_its_id(api: APIClient, send: Send) -> None:
    send({"id": "chatcmpl-1", "source": "litellm"})
    assert ids(api, "event_id=chatcmpl-1") == ["chatcmpl-1"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("cursor=abc", "cursor"),
        ("cursor=%C3%A4", "cursor"),
        ("cursor=" + "_" * 32, "cursor"),
        ("status=perhaps", "status"),
        ("run_id=a%00b", "run_id"),
        ("start_date=yesterday", "start_date"),
        ("start_date=2026-11-02&end_date=2026-11-01", "end_date"),
    ],
)
def test_wrong_queries_are_refused_by_name(api: APIClient, query: str, field: str) -> None:
    response = api.get(f"{PATH}?{query}")
    assert response.status_code == 422, response.content
    assert field in response.json()["fields"]


def test_an_event_is_explained_by_the_lines_of_its_price(api: APIClient, send: Send) -> None:
    price = set_price("claude", input="3", output="15", cache_read="0.3", request="0.001")
    send({"id": "a", "model": "claude", "input_tokens": 100, "output_tokens": 10, "cache_read_tokens": 1000})
    row = listed(api)[0]
    event = api.get(f"{PATH}/{row['id']}").json()
    assert {name: event[name] for name in row} == row
    assert event["price_version_id"] == price.pk
    names = ("kind", "quantity", "unit_price_usd", "amount_usd", "list_amount_usd", "priced_as", "is_estimate")
    assert [tuple(line[name] for name in names) for line in event["lines"]] == [
        ("input", 100, "3", "0.0003", "0.0003", "", False),
        ("cache_read", 1000, "0.3", "0.0003", "0.0003", "", False),
        ("output", 10, "15", "0.00015", "0.00015", "", False),
        ("request", 1, "0.001", "0.001", "0.001", "", False),
    ]
    assert (event["conditions"], event["unknown"], event["flags"]) == ([], [], None)
    assert event["cost_usd"] == event["cost_now_usd"] == "0.00175"
    assert event["adjustments"] == []


def test_an_event_that_was_priced_later_shows_how(api: APIClient, send: Send, organization: Organization) -> None:
    send({"id": "a", "model": "house-model", "input_tokens": 1000, "run_id": "run-1"})
    price = set_price("house-model", input="2")
    assert price_unpriced(organization=organization, now=NOW + timedelta(minutes=1)) == 1
    adjustment, event = listed(api, "run_id=run-1")
    assert (adjustment["kind"], adjustment["adjusts"], adjustment["cost_usd"]) == ("adjustment", event["id"], "0.002")
    explained = api.get(f"{PATH}/{event['id']}").json()
    assert (explained["cost_usd"], explained["cost_now_usd"]) == (None, "0.002")
    by_itself = {"kind": "price", "actor": "", "reason": "priced", "at": adjustment["received_at"]}
    assert explained["adjustments"] == [{**adjustment, "correction": by_itself}]
    assert explained["voided"] is False
    assert explained["adjustments"][0]["price_version_id"] == price.pk
    assert [line["amount_usd"] for line in explained["lines"]] == ["0.002"]


def test_an_event_without_a_price_has_no_lines(api: APIClient, send: Send) -> None:
    send({"id": "a", "model": "house-model", "cost_usd": "0.5"})
    event = api.get(f"{PATH}/{listed(api)[0]['id']}").json()
    assert (event["lines"], event["cost_usd"], event["computed_cost_usd"]) == ([], "0.5", None)
    assert event["known_costs"] == [{"basis": "sender", "amount_usd": "0.5", "counts": True}]
    assert event["cost_why"] == "stated by the sender"


def test_all_known_costs_stand_beside_the_one_that_counts(api: APIClient, send: Send) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "mystery_tokens": 3}
    send({"id": "a", "service": "openai", "model": "gpt-4o", "usage": usage, "cost_usd": "0.5"})
    event = api.get(f"{PATH}/{listed(api)[0]['id']}").json()
    assert event["known_costs"] == [
        {"basis": "sender", "amount_usd": "0.5", "counts": True},
        {"basis": "computed", "amount_usd": "0.0025", "counts": False},
    ]
    assert event["flags"] == [{"code": "unread_usage", "detail": "mystery_tokens"}]
    assert event["usage_raw"] == usage


def test_an_unknown_cost_says_why(api: APIClient, send: Send) -> None:
    send({"id": "a", "service": "openai", "model": "new-model", "input_tokens": 1})
    event = api.get(f"{PATH}/{listed(api)[0]['id']}").json()
    assert (event["known_costs"], event["cost_basis"], event["cost_why"]) == ([], "unknown", "no_price")


def test_another_organizations_event_is_answered_like_an_unknown_one(
    api: APIClient, send: Send, other_organization: Organization
) -> None:
    send({"id": "theirs"}, to=other_organization)
    theirs = UsageEvent.objects.of(other_organization).get()
    responses = [api.get(f"{PATH}/{event_id}") for event_id in (theirs.pk, uuid4())]
    assert [answer.status_code for answer in responses] == [404, 404]
    assert responses[0].json() == responses[1].json() == {"error": "No such event.", "code": "not_found"}
    assert listed(api) == []


def test_reading_needs_its_scope_and_a_plan_with_api_and_writing_does_not(
    organization: Organization, send: Send
) -> None:
    send({"id": "a"})
    event = UsageEvent.objects.get()
    writer = make_key(organization, Scope.USAGE_WRITE).client()
    reader = make_key(organization, Scope.COSTS_READ).client()
    for path in (PATH, f"{PATH}/{event.pk}"):
        assert writer.get(path).json()["code"] == "missing_scope"
        assert reader.get(path).status_code == 200
    assert reader.post(PATH, {"id": "b"}).json()["code"] == "missing_scope"
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    for path in (PATH, f"{PATH}/{event.pk}"):
        assert reader.get(path).json()["code"] == "plan_without_api"
    assert writer.post(PATH, {"id": "b"}).status_code == 200


def test_operators_name_the_organization(operator_api: APIClient, send: Send) -> None:
    send({"id": "a"})
    assert ids(operator_api, "organization=acme") == ["a"]
    assert operator_api.get(PATH).status_code == 422


def test_the_number_of_queries_does_not_depend_on_the_number_of_rows(
    api: APIClient, send: Send, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    set_price("m", input="1")
    send({"id": "first", "model": "m", "input_tokens": 5})
    for _ in range(2):
        api.get(PATH)  # notes the credential's use, and remembers it
    with django_assert_num_queries(7):
        assert len(listed(api, "limit=100")) == 1
    send(*({"id": f"{number}", "model": "m", "input_tokens": 5, "occurred_at": at(5)} for number in range(100)))
    with django_assert_num_queries(7):
        assert len(listed(api, "limit=200")) == 101
    event = UsageEvent.objects.get(event_id="first")
    with django_assert_num_queries(9):
        api.get(f"{PATH}/{event.pk}")


def test_metadata_is_nested_so_deeply_and_no_deeper(api: APIClient) -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {"a": nested(levels - 1)} if levels > 1 else {"a": []}

    assert api.post(PATH, {"id": "deep", "metadata": nested(MAX_METADATA_DEPTH - 1)}).status_code == 200
    assert listed(api)[0]["metadata"] == nested(MAX_METADATA_DEPTH - 1)
    response = api.post(PATH, {"id": "deeper", "metadata": nested(MAX_METADATA_DEPTH)})
    assert response.json()["errors"][0]["code"] == "too_deep"


def test_a_row_is_written_as_its_fields_describe_it(api: APIClient, send: Send) -> None:
    """The rows are made without the fields, which the schema is made of."""
    set_price("gpt-4o", input="2.50", output="10")
    send(
        {"id": "1", "model": "gpt-4o", "input_tokens": 7, "duration_ms": 12.5, "tags": ["a"], "metadata": {"k": [1]}},
        {"model": "unknown", "user_id": "ada", "cost_usd": "0.0000001"},
        {"kind": "tool_call", "tool": "search", "status": "failure", "compute_cost_usd": "0.5"},
    )
    described = []
    for event in UsageEvent.objects.order_by("-occurred_at", "-id"):
        fields = UsageEventSerializer(event).fields.values()
        described.append({field.field_name: _described(field, event) for field in fields})

    assert api.get("/usage/events").json()["results"] == json.loads(JSONRenderer().render(described))


def _described(field: Any, event: UsageEvent) -> Any:
    value = field.get_attribute(event)
    return None if value is None else field.to_representation(value)
