"""`/usage/credits`: what a provider credits reduces spend and limits by appended rows."""

import csv
import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.exports.ledger_events import export_credits
from billing.limits.enforce import enforce
from billing.limits.services import create_limit
from billing.limits.validation import LimitInput
from billing.limits.verify import verify_limits
from billing.models import Credit, IngestBatch, UsageEvent
from billing.rollups.fold import fold
from billing.rollups.verify import verify
from billing.types import LimitScope, LimitWindow
from costtrack.clock import iso, utc_now
from organizations.models import AuditEntry, Organization, User
from organizations.principals import Principal
from tests.conftest import Key
from tests.limits import set_limit
from tests.usage import set_price

URL = "/usage/credits"
REFUND = {"amount_usd": "3", "reason": "Outage of 12 November"}


@pytest.fixture(autouse=True)
def _owner(key: Key) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")


def create(api: APIClient, **fields: Any) -> Any:
    response = api.post(URL, {**REFUND, **fields})
    assert response.status_code == 201, response.content
    return response.json()


def spend(api: APIClient, usd: str, **fields: Any) -> None:
    answer = api.post("/usage/events", {"kind": "compute", "cost_usd": usd, **fields})
    assert answer.json()["accepted"] == 1, answer.content


def limit_spend(api: APIClient, query: str = "") -> Decimal:
    limit = api.get(f"/usage/limits?{query}").json()["limits"][0]
    return Decimal(limit.get("spent_usd") or limit["values"][0]["spent_usd"])


def total(api: APIClient, query: str = "") -> Decimal:
    return Decimal(api.get(f"/usage/summary{query}").json()["cost_usd"])


def test_a_refund_reduces_spend_and_gives_access_back_with_a_notice(api: APIClient, organization: Organization) -> None:
    set_limit(organization, "10", LimitScope.USER, "ada", LimitWindow.CALENDAR_MONTH)
    spend(api, "10", user_id="ada")
    now = utc_now()
    fold(now=now)
    assert enforce(organization=organization, now=now).notices == 1
    assert not api.get("/usage/access?user_id=ada").json()["allowed"]

    credit = create(api, user_id="ada")

    assert credit["dimensions"] == {"user_id": "ada"}
    for _ in range(2):
        assert (limit_spend(api), total(api)) == (7, 7)
        assert api.get("/usage/access?user_id=ada").json()["allowed"]
        fold(now=utc_now())
    assert enforce(organization=organization, now=utc_now()).notices == 1
    kinds = [row["kind"] for row in api.get("/organizations/acme/deliveries").json()["results"]]
    assert "limit.resumed" in kinds or not kinds


def test_the_ledger_and_everything_made_from_it_agree(api: APIClient, organization: Organization) -> None:
    set_limit(organization, "100")
    set_limit(organization, "100", LimitScope.MODEL, "gpt-4o", LimitWindow.ROLLING_7D)
    spend(api, "10", tags=["a"])
    create(api, model="openai/gpt-4o", service="openai", tags=["a"], run_id="r")
    fold(now=utc_now())
    create(api, amount_usd="0.000000000000000001")

    expected = Decimal("6.999999999999999999")
    assert total(api) == limit_spend(api) == expected
    assert limit_spend(api, "scope=model&scope_value=GPT-4o") == -3
    rows = api.get("/spend/logs?summarize=false").json()
    assert sum(Decimal(str(row["spend"])) for row in rows) == pytest.approx(Decimal(7))
    fold(now=utc_now())
    checked = verify(organization_id=organization.pk, now=utc_now())
    assert [check.differences for check in checked if check.differences] == []
    assert verify_limits(organization=organization, now=utc_now()).differences == ()


@pytest.mark.parametrize(
    ("scope", "value", "dimensions"),
    [
        (LimitScope.PROVIDER, "openai", {"service": " OpenAI "}),
        (LimitScope.PROVIDER, "openai", {"model": "gpt-4o", "service": "openai"}),
        (LimitScope.TEAM, "core", {"team": " core "}),
        (LimitScope.END_USER, "Café", {"end_user": "Cafe\u0301"}),
        (LimitScope.USER, "ada@acme.example", {"user_id": "Ada@Acme.example"}),
        (LimitScope.MODEL, "gpt-4o", {"model": "openai/GPT-4o"}),
        (LimitScope.TAG, "a b", {"tags": [" a b ", "a b"]}),
    ],
)
def test_limits_count_a_credit_as_they_count_events(
    api: APIClient, organization: Organization, scope: LimitScope, value: str, dimensions: dict[str, Any]
) -> None:
    Organization.objects.filter(pk=organization.pk).update(ignores_user_case=True)
    admin = Principal(user=User(email="op@acme.example", is_superuser=True))
    terms = LimitInput(scope=scope, scope_value=value, window=LimitWindow.LIFETIME, amount_usd=Decimal(10))
    create_limit(organization=organization, limit_input=terms, actor=admin, now=utc_now())
    create(api, **dimensions)

    assert limit_spend(api) == -3
    fold(now=utc_now())
    assert limit_spend(api) == -3
    assert verify_limits(organization=organization, now=utc_now()).differences == ()


def test_a_credit_of_a_credential_has_its_environment(api: APIClient, organization: Organization, key: Key) -> None:
    create(api, client_id=key.credential.client_id)
    row = UsageEvent.objects.get()
    assert (row.credential_id, row.environment) == (key.credential.pk, key.credential.environment)


def test_a_period_gets_its_share_each_day_exactly(api: APIClient, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="Asia/Kolkata")
    create(api, amount_usd="1", start_date="2026-11-01", end_date="2026-11-03")

    events = list(UsageEvent.objects.order_by("occurred_at"))
    assert sum(event.token_cost_usd or 0 for event in events) == -1
    assert [iso(event.occurred_at) for event in events] == [
        "2026-11-01T17:59:59.999999Z",
        "2026-11-02T17:59:59.999999Z",
        "2026-11-03T17:59:59.999999Z",
    ]
    assert {event.requests for event in events} == {0}
    assert IngestBatch.objects.get().format == "credit"


def test_without_a_period_it_is_of_this_hour(api: APIClient) -> None:
    credit = create(api)
    now = utc_now()
    assert UsageEvent.objects.get().occurred_at - now < timedelta(hours=1)
    assert credit["start_date"] <= iso(now) < credit["end_date"]


def test_a_credit_is_voided_once(api: APIClient) -> None:
    spend(api, "10")
    path = f"{URL}/{create(api)['id']}"
    for _ in range(2):
        response = api.post(f"{path}/void", {"reason": "Booked twice."})
    assert (response.status_code, response.json()["code"]) == (409, "already_voided")
    assert total(api) == 10
    assert api.get(path).json()["void_reason"] == "Booked twice."
    actions = list(AuditEntry.objects.filter(action__startswith="credit.").values_list("action", flat=True))
    assert sorted(actions) == ["credit.created", "credit.voided"]


def test_its_rows_cannot_be_corrected_one_by_one(api: APIClient) -> None:
    create(api)
    row = UsageEvent.objects.get()
    response = api.post(f"/usage/events/{row.pk}/void", {"reason": "x"})
    assert (response.status_code, response.json()["code"]) == (409, "is_credit")


def test_credits_are_listed_newest_first_and_only_those_of_the_organization(
    api: APIClient, other_api: APIClient
) -> None:
    ids = [create(api, amount_usd=str(usd))["id"] for usd in (1, 2)]
    assert [row["id"] for row in api.get(URL).json()["results"]] == ids[::-1]
    assert other_api.get(URL).json()["results"] == []
    assert other_api.get(f"{URL}/{ids[0]}").status_code == 404
    assert other_api.post(f"{URL}/{ids[0]}/void", {"reason": "x"}).status_code == 404


def test_a_repeated_request_credits_once(api: APIClient) -> None:
    for _ in range(2):
        assert api.post(URL, REFUND, headers={"Idempotency-Key": "k"}).status_code == 201
    assert Credit.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount_usd": "0"}, "amount_usd"),
        ({"amount_usd": "-1"}, "amount_usd"),
        ({"amount_usd": "NaN"}, "amount_usd"),
        ({"reason": " "}, "reason"),
        ({"start_date": "2026-11-02", "end_date": "2026-11-01"}, "end_date"),
        ({"start_date": "2020-01-01", "end_date": "2026-11-01"}, "end_date"),
        ({"start_date": "2099-01-01", "end_date": "2099-01-02"}, "start_date"),
        ({"client_id": "ct_unknown"}, "client_id"),
        ({"color": "red"}, "color"),
    ],
)
def test_bad_input_is_named(api: APIClient, fields: dict[str, str], field: str) -> None:
    response = api.post(URL, {**REFUND, **fields})
    assert (response.status_code, list(response.json()["fields"])) == (422, [field]), response.content
    assert not UsageEvent.objects.exists()


def test_a_credit_has_the_provider_the_team_and_the_environment_of_its_events(
    api: APIClient, organization: Organization, key: Key
) -> None:
    organization.ignores_user_case = True
    organization.save()
    about = {"service": "openai", "team": "search", "user_id": "Ada", "client_id": key.credential.client_id}
    create(api, **about)
    row, environment = UsageEvent.objects.get(), key.credential.environment
    assert (row.provider, row.team, row.user_ref, row.environment) == ("openai", "search", "ada", environment)
    for query in ("provider=openai", "team=search", "user_id=ADA", f"environment={environment}"):
        assert api.get(f"/usage/summary?{query}").json()["cost_usd"] == "-3", query


@pytest.mark.usefixtures("whole_history")
def test_the_ledger_export_has_credits_in_a_file_of_their_own(api: APIClient, organization: Organization) -> None:
    create(api, start_date="2026-11-01", end_date="2026-11-02", team="search", tags=["a"])
    voided = create(api)
    assert api.post(f"{URL}/{voided['id']}/void", {"reason": "Twice"}).status_code == 200
    (line,) = export_credits(organization.pk)
    body = json.loads(line)
    again = create(api, **body)
    assert (again["dimensions"], again["end_date"]) == ({"team": "search", "tags": ["a"]}, "2026-11-03T00:00:00Z")
    assert total(api, "?start_date=2026-11-01&end_date=2026-11-30") == -6


@pytest.mark.usefixtures("whole_history")  # exports
def test_files_have_credits_and_add_up_to_the_summary(api: APIClient) -> None:
    spend(api, "10", team="search")
    create(api, team="search")
    expected = total(api)
    assert expected == 7
    for query in ("rows=requests", "rows=days", "rows=days&group_by=team", "team=search"):
        response: Any = api.get(f"/usage/export?{query}")
        text = b"".join(response.streaming_content).decode()
        assert sum(Decimal(row["cost_usd"]) for row in csv.DictReader(StringIO(text))) == expected, query
