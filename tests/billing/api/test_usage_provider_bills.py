"""`/usage/provider-bills`: import of bills, and their comparison with the ledger."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from billing.models import BillDay, BillKey, BillRow
from billing.reports.provider_bills import Side, split_difference
from billing.types import BillCause
from organizations.models import AuditEntry, Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.profiles import examples

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)
DAY = int(datetime(2026, 11, 14, tzinfo=UTC).timestamp())
URL = "/usage/provider-bills"
MODEL = "gpt-4o-2024-08-06"

pytestmark = pytest.mark.usefixtures("whole_history")


@pytest.fixture(autouse=True)
def _november() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def openai_costs(*items: tuple[str, float], day: int = DAY, **fields: Any) -> str:
    """A page of `GET /v1/organization/costs`."""
    results = [
        {
            "object": "organization.costs.result",
            "amount": {"value": value, "currency": "usd"},
            "line_item": item,
            "project_id": None,
            **fields,
        }
        for item, value in items
    ]
    bucket = {"object": "bucket", "start_time": day, "end_time": day + 86_400, "results": results}
    return json.dumps({"object": "page", "data": [bucket], "has_more": False, "next_page": None})


def openai_usage(input_tokens: int, output_tokens: int, cached: int = 0, day: int = DAY, **fields: Any) -> str:
    """A page of `GET /v1/organization/usage/completions`."""
    result = {
        "object": "organization.usage.completions.result",
        "input_tokens": input_tokens,
        "input_cached_tokens": cached,
        "output_tokens": output_tokens,
        "num_model_requests": 2,
        "model": MODEL,
        **fields,
    }
    bucket = {"object": "bucket", "start_time": day, "end_time": day + 86_400, "results": [result]}
    return json.dumps({"object": "page", "data": [bucket], "has_more": False, "next_page": None})


def send(api: APIClient, content: str, status: int = 201, **fields: Any) -> Any:
    answer = api.post(URL, {"content": content, **fields})
    assert answer.status_code == status, answer.content
    return answer.json()


def call(api: APIClient, usd: str, tokens: tuple[int, int], **fields: Any) -> None:
    event = {
        "service": "openai",
        "model": MODEL,
        "cost_usd": usd,
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "occurred_at": "2026-11-14T23:30:00Z",
    }
    assert api.post("/usage/events", {**event, **fields}).json()["accepted"] == 1


def report(api: APIClient, **parameters: str) -> Any:
    answer = api.get(URL, parameters)
    assert answer.status_code == 200, answer.content
    return answer.json()


def parts_of(row: Any) -> dict[str, str]:
    return {part["cause"]: part["amount_usd"] for part in row["parts"]}


def test_a_difference_is_split_into_missing_calls_and_price(api: APIClient) -> None:
    call(api, "2", (1_000_000, 100_000))
    send(api, openai_costs((f"{MODEL}, input", 4.0), (f"{MODEL}, output", 1.0)))
    send(api, openai_usage(2_000_000, 100_000))
    body = report(api)
    (row,) = body["results"]
    assert (row["model"], row["bill_usd"], row["ledger_usd"], row["difference_usd"]) == ("gpt-4o", "5", "2", "3")
    assert parts_of(row) == {"missing_calls": "2", "price": "1"}
    assert row["tokens"] == [
        {"kind": "input", "bill": 2_000_000, "ledger": 1_000_000},
        {"kind": "output", "bill": 100_000, "ledger": 100_000},
    ]
    (day,) = body["days"]
    assert (day["coverage"], day["is_closed"]) == (round(1.1 / 2.1, 6), False)
    assert parts_of(body) == {"missing_calls": "2", "price": "1"}


def test_credits_are_no_part_of_the_comparison(api: APIClient) -> None:
    call(api, "2", (1_000_000, 100_000))
    send(api, openai_costs((f"{MODEL}, input", 2.0)))
    credit = {
        "amount_usd": "1",
        "reason": "An outage.",
        "start_date": "2026-11-14",
        "end_date": "2026-11-14",
        "service": "openai",
        "model": MODEL,
    }
    assert api.post("/usage/credits", credit).status_code == 201
    (row,) = report(api)["results"]
    assert (row["bill_usd"], row["ledger_usd"], row["difference_usd"]) == ("2", "2", "0")


def test_the_same_file_changes_nothing_and_a_later_one_replaces_its_days(
    api: APIClient, organization: Organization
) -> None:
    first = send(api, openai_costs((f"{MODEL}, input", 0.1)), file_name="costs.json")
    again = send(api, openai_costs((f"{MODEL}, input", 0.1)), 200)
    assert (again["is_duplicate"], again["imported"], again["days"]) == (True, first["imported"], 0)
    send(api, openai_costs((f"{MODEL}, input", 0.2)))
    send(api, openai_costs((f"{MODEL}, input", 0.3)), fetched_at="2026-11-15T00:00:00Z")  # older than the stored one
    assert [row.amount_usd for row in BillRow.objects.of(organization)] == [Decimal("0.2")]
    history = api.get(f"{URL}/imports?limit=2").json()
    assert [row["amount_usd"] for row in history["results"]] == ["0.3", "0.2"]
    rest = api.get(f"{URL}/imports?cursor={history['next_cursor']}").json()
    assert [row["file_name"] for row in rest["results"]] == ["costs.json"]
    assert AuditEntry.objects.filter(organization=organization, action="provider_bill.imported").count() == 3


def test_a_day_closes_when_two_reports_a_day_apart_agree(api: APIClient, organization: Organization) -> None:
    content = openai_costs((f"{MODEL}, input", 0.1))
    for fetched_at, is_closed in (
        ("2026-11-14T11:00:00Z", False),  # before the end of the day
        ("2026-11-15T11:00:00Z", False),
        ("2026-11-16T10:59:00Z", False),
        ("2026-11-16T11:00:00Z", True),
    ):
        send(api, content, fetched_at=fetched_at)
        assert report(api)["days"][0]["is_closed"] is is_closed
    send(api, openai_costs((f"{MODEL}, input", 0.2)))
    assert report(api)["days"][0]["is_closed"] is False
    assert BillDay.objects.of(organization).count() == 1


def test_a_bill_that_is_behind_is_not_complete_yet(api: APIClient) -> None:
    call(api, "2", (2_000_000, 0))
    for fetched_at, cause in (("2026-11-15T01:00:00Z", "incomplete"), ("2026-11-16T01:00:00Z", "missing_calls")):
        send(api, openai_usage(1_000_000, 0), fetched_at=fetched_at)
        send(api, openai_costs((f"{MODEL}, input", 1.0)), fetched_at=fetched_at)
        assert parts_of(report(api)["results"][0]) == {cause: "-1"}


def test_keys_are_compared_with_their_credential_or_are_foreign(api: APIClient, organization: Organization) -> None:
    client_id = make_key(organization, name="bot").credential.client_id
    call(api, "1", (1_000_000, 0))
    assert api.post(f"{URL}/keys", {"provider": "openai", "key": "key_a", "client_id": "missing"}).status_code == 422
    api.post(f"{URL}/keys", {"provider": "openai", "key": "key_a", "client_id": client_id})
    foreign = api.post(f"{URL}/keys", {"provider": "OpenAI", "key": "key_b", "client_id": None}).json()
    page = json.loads(openai_costs((f"{MODEL}, input", 7.0), api_key_id="key_a"))
    page["data"] += json.loads(openai_costs((f"{MODEL}, input", 5.0), api_key_id="key_b"))["data"]
    page["data"] += json.loads(openai_costs((f"{MODEL}, input", 1.0), api_key_id="key_c"))["data"]
    send(api, json.dumps(page))
    rows = {row["key"]: row for row in report(api)["results"]}
    assert parts_of(rows[client_id]) == {"missing_calls": "7"}
    assert (parts_of(rows["key_b"]), rows["key_b"]["is_foreign"]) == ({"foreign_key": "5"}, True)
    assert (parts_of(rows["key_c"]), rows["key_c"]["is_unassigned"]) == ({"unassigned_key": "1"}, True)
    assert (rows[""]["ledger_usd"], parts_of(rows[""])) == ("1", {"unassigned_key": "-1"})  # the calls of key_c
    assert api.delete(f"{URL}/keys/{foreign['id']}").status_code == 204
    assert {row["key"] for row in report(api)["results"] if row["is_unassigned"]} == {"key_b", "key_c"}
    BillKey.objects.of(organization).delete()
    (together,) = report(api)["results"]
    assert (together["key"], together["bill_usd"], parts_of(together)) == ("", "13", {"unknown_quantity": "12"})


ANTHROPIC = {"starting_at": "2026-11-14T00:00:00Z", "ending_at": "2026-11-15T00:00:00Z"}
ANTHROPIC_COSTS = {
    "currency": "USD", "amount": "123.45", "model": "claude-sonnet-4-5", "token_type": "output_tokens",
    "cost_type": "tokens", "workspace_id": "w1", "description": "Claude Sonnet 4.5 Usage - Output Tokens",
}  # fmt: skip
ANTHROPIC_USAGE = {
    "uncached_input_tokens": 5,
    "cache_read_input_tokens": 3,
    "cache_creation": {"ephemeral_1h_input_tokens": 2, "ephemeral_5m_input_tokens": 1},
    "output_tokens": 7,
    "model": "claude-sonnet-4-5",
    "api_key_id": "k1",
}
OPENAI_CSV = f"""start_time,end_time,amount_value,amount_currency,line_item,project_id
{DAY},{DAY + 86400},0.25,usd,"gpt-4o, cached input",p
"""
FILES: list[tuple[str, dict[str, Any], str, dict[str, str], str | None]] = [
    (
        json.dumps({"data": [{**ANTHROPIC, "results": [ANTHROPIC_COSTS]}], "has_more": False}),
        {}, "anthropic_costs", {}, "1.2345",
    ),
    (
        json.dumps({"data": [{**ANTHROPIC, "group": {"model": "claude-sonnet-4-5", "cost_type": "tokens"},
                              "cost": {"amount": "50", "currency": "USD"}}]}),
        {}, "anthropic_costs", {}, "0.5",
    ),
    (
        json.dumps({"data": [{**ANTHROPIC, "results": [ANTHROPIC_USAGE]}]}),
        {}, "anthropic_usage", {"input": "5", "cache_read": "3", "cache_creation": "3", "output": "7"}, None,
    ),
    (
        "usage_date_utc,model,workspace,api_key,token_type,cost_usd\n2026-11-14,claude-sonnet-4-5,w,k,output,1.5\n",
        {}, "anthropic_costs", {}, "1.5",
    ),
    (
        OPENAI_CSV,
        {}, "openai_costs", {}, "0.25",
    ),
    (
        json.dumps({"data": [{"date": "2026-11-14", "model": "openai/gpt-4o", "usage": 0.015, "requests": 5,
                              "prompt_tokens": 50, "completion_tokens": 125, "reasoning_tokens": 25}]}),
        {}, "openrouter_activity", {"input": "50", "output": "125"}, "0.015",
    ),
    (
        "Day;Model;Cost;In\n2026-11-14;mistral-large;0.5;100\n",
        {"provider": "mistral",
         "columns": {"Day": "date", "Model": "model", "Cost": "amount_usd", "In": "input_tokens"}},
        "csv", {"input": "100"}, "0.5",
    ),
]  # fmt: skip


def test_reports_of_all_providers_are_read(api: APIClient, organization: Organization) -> None:
    for content, fields, name, tokens, amount in FILES:
        BillRow.objects.of(organization).delete()
        imported = send(api, content, **fields)["imported"]
        assert (imported["format"], imported["amount_usd"]) == (name, amount)
        rows = BillRow.objects.of(organization)
        found = {row.kind: f"{row.quantity:f}".rstrip("0").rstrip(".") for row in rows if row.quantity}
        assert found == {kind: count for kind, count in tokens.items() if count}, name


def test_invalid_files_are_refused_with_the_reason(api: APIClient) -> None:
    other_currency = openai_costs((f"{MODEL}, input", 1.0)).replace('"usd"', '"eur"')
    for content, fields, reason in (
        ("{", {}, "is not valid JSON"),
        ("[1]", {}, "has no pages"),
        ('{"data": [1]}', {}, "is not an object"),
        ('{"data": []}', {}, "has no days"),
        ('{"data": [{"results": [{}]}]}', {}, "has no day"),
        (other_currency, {}, "EUR"),
        (openai_costs(("x", 1.0)), {"provider": "anthropic"}, "is a report of openai"),
        ("date,amount_usd\n2026-11-14,1\n", {}, "names no provider"),
        ("date,amount_usd\nx,1\n", {"provider": "x"}, "line 2"),
        ("day,amount_usd\n2026-11-14,1\n", {"provider": "x"}, "map it to date"),
        (openai_costs(("x", 1.0)), {"fetched_at": "2026-12-01T00:00:00Z"}, "future"),
    ):
        assert reason in json.dumps(send(api, content, 422, **fields)), reason


def test_the_pages_of_differences_reach_the_end_and_wrong_parameters_are_refused(api: APIClient) -> None:
    send(api, openai_costs(*((f"model-{number}", number / 10) for number in range(1, 4))))
    first = report(api, limit="2")
    rest = report(api, limit="2", cursor=first["next_cursor"])
    assert [row["difference_usd"] for row in first["results"] + rest["results"]] == ["0.3", "0.2", "0.1"]
    assert (rest["days"], rest["next_cursor"]) == ([], None)
    for query in ("cursor=x", "start_date=2026-11-17", "start_date=2026-01-01", "unknown=1", "limit=0"):
        assert api.get(f"{URL}?{query}").status_code == 422, query


def test_only_credentials_with_the_scope_may_import_and_bills_of_others_are_not_shown(
    api: APIClient, organization: Organization, other_organization: Organization
) -> None:
    send(api, openai_costs((f"{MODEL}, input", 1.0)))
    for of, scopes, expected in (
        (organization, (Scope.COSTS_READ,), 403),
        (other_organization, (Scope.COSTS_READ, Scope.MANAGE), 201),
    ):
        client: Any = make_key(of, *scopes).client()
        assert report(client)["results"] == [] or of == organization
        assert client.post(URL, {"content": openai_costs(("x", 1.0))}).status_code == expected


TOKENS = st.dictionaries(
    st.sampled_from(("input", "cache_read", "cache_creation", "output")), st.integers(0, 10**12).map(Decimal)
)
AMOUNT = st.decimals(-(10**6), 10**9, places=15)
AMOUNTS = st.dictionaries(st.sampled_from(("input", "cache_read", "output")), AMOUNT)
BILLS = st.builds(Side, st.none() | TOKENS, AMOUNT, AMOUNTS)


@examples(100)
@given(
    bill=BILLS,
    ledger=st.builds(Side, TOKENS, AMOUNT),
    cause_of_key=st.sampled_from((None, BillCause.FOREIGN_KEY, BillCause.UNASSIGNED_KEY)),
    is_fresh=st.booleans(),
)
def test_the_parts_of_a_difference_add_up_to_it(
    *, bill: Side, ledger: Side, cause_of_key: BillCause | None, is_fresh: bool
) -> None:
    assert bill.amount_usd is not None
    assert ledger.amount_usd is not None
    parts = split_difference(bill, ledger, cause_of_key=cause_of_key, is_fresh=is_fresh)
    assert sum(parts.values()) == bill.amount_usd - ledger.amount_usd
    if bill.tokens is not None and {k: v for k, v in bill.tokens.items() if v} == {
        k: v for k, v in (ledger.tokens or {}).items() if v
    }:
        assert not parts.get(BillCause.MISSING_CALLS) or not any((ledger.tokens or {}).values())


def test_accounts_are_connected_fetched_and_disconnected_without_showing_the_key(
    api: APIClient, organization: Organization, other_organization: Organization
) -> None:
    url = f"{URL}/connections"
    created = api.post(url, {"provider": "openai", "key": "sk-admin-1234"})
    assert created.status_code == 201
    row = created.json()
    assert (row["provider"], row["account"], row["state"], row["fetched_at"]) == ("openai", "", "queued", None)
    assert api.post(url, {"provider": "openai", "key": "sk-admin-5678"}).status_code == 200
    listed = api.get(url)
    assert [found["id"] for found in listed.json()["results"]] == [row["id"]]
    assert "sk-admin" not in created.content.decode() + listed.content.decode()
    fetched = api.post(f"{url}/{row['id']}/fetch")
    assert (fetched.status_code, fetched.json()["next_fetch_at"]) == (202, "2026-11-16T12:00:00Z")
    for body, field in (
        ({"provider": "x", "key": "12345678"}, "provider"),
        ({"provider": "openai", "key": "1"}, "key"),
    ):
        refused = api.post(url, body)
        assert (refused.status_code, field in refused.json()["fields"]) == (422, True)
    stranger: Any = make_key(other_organization, Scope.COSTS_READ, Scope.MANAGE).client()
    reader: Any = make_key(organization, Scope.COSTS_READ).client()
    for client, expected in ((stranger, 404), (reader, 403)):
        assert client.post(f"{url}/{row['id']}/fetch").status_code == expected
        assert client.delete(f"{url}/{row['id']}").status_code == expected
    assert api.delete(f"{url}/{row['id']}").status_code == 204
    assert api.get(url).json() == {"results": []}
