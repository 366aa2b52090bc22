"""Document 004 (LiteLLM's): `/global/spend`, `/global/spend/logs`, `/keys`, `/models` and `/global/activity`."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.reports.spend.keys import key_hash
from costtrack.clock import utc_now
from organizations.models import Organization, User
from organizations.types import Scope
from tests.billing.api.spend_requests import BAD_DATES, MONTH, call, refused
from tests.conftest import Key, make_key
from tests.usage import Send

ROUTES = ("/global/spend", "/global/spend/logs", "/global/spend/keys", "/global/spend/models")


def at(days_ago: int, cost: str, **fields: Any) -> dict[str, Any]:
    midnight = datetime.combine(utc_now().date(), time.min, UTC)
    return call("01T00:00", cost, **fields) | {"occurred_at": (midnight - timedelta(days=days_ago)).isoformat()}


def test_today_and_the_30_days_before(api: APIClient, send: Send) -> None:
    send(at(0, "1"), at(1, "2", model="mini"), at(30, "4"), at(31, "8"), now=utc_now())

    assert api.get("/global/spend").json() == {"spend": 7.0, "max_budget": None}
    today = utc_now().date()
    assert api.get("/global/spend/logs").json() == [
        {"date": (today - timedelta(days=days)).isoformat(), "spend": spend}
        for days, spend in ((30, 4.0), (1, 2.0), (0, 1.0))
    ]
    assert api.get("/global/spend/models").json() == [
        {"model": "gpt-4o", "total_spend": 5.0},
        {"model": "mini", "total_spend": 2.0},
    ]
    assert api.get("/global/spend/models?limit=1").json() == [{"model": "gpt-4o", "total_spend": 5.0}]


def test_keys_of_the_last_30_days(api: APIClient, organization: Organization, key: Key, send: Send) -> None:
    gateway = make_key(organization, Scope.USAGE_WRITE, name="gateway")
    gateway.client().post("/usage/events", [at(2, "5"), at(40, "100")], format="json")
    send(at(2, "50"), now=utc_now())
    client_id = gateway.credential.client_id

    first, second = api.get("/global/spend/keys").json()

    assert first == {
        "api_key": key_hash(client_id),
        "key_alias": "gateway",
        "key_name": client_id,
        "total_spend": 5.0,
    }
    assert (second["key_alias"], second["total_spend"]) == ("test", 0.0)
    assert len(api.get("/global/spend/keys?limit=1").json()) == 1
    for name in (client_id, key_hash(client_id)):
        assert [day["spend"] for day in api.get(f"/global/spend/logs?api_key={name}").json()] == [5.0]
    assert api.get("/global/spend/logs?api_key=nobodys").json() == []


def test_activity_counts_calls_and_tokens(api: APIClient, send: Send) -> None:
    send(
        call("02T09:00", "1", input_tokens=5, cache_read_tokens=1, output_tokens=2),
        call("02T10:00", "1", input_tokens=1),
        call("31T23:59", "1"),
        {"kind": "tool_call", "tool": "search", "occurred_at": "2026-10-31T10:00:00Z"},
    )

    assert api.get(f"/global/activity?{MONTH}").json() == {
        "daily_data": [
            {"date": "Oct 02", "api_requests": 2, "total_tokens": 9},
            {"date": "Oct 31", "api_requests": 1, "total_tokens": 0},
        ],
        "sum_api_requests": 3,
        "sum_total_tokens": 9,
    }


@pytest.mark.parametrize(
    ("url", "status", "param"),
    [
        ("/global/spend/logs?api_key=a%00", 422, "api_key"),
        ("/global/spend/keys?limit=0", 422, "limit"),
        ("/global/spend/keys?limit=x", 422, "limit"),
        ("/global/spend/models?limit=10001", 422, "limit"),
        ("/global/spend/models?limit=9999999999999999999999", 422, "limit"),
        ("/global/activity", 400, "start_date"),
        ("/global/activity?start_date=2026-10-01", 400, "end_date"),
    ],
)
def test_bad_parameters_are_named(api: APIClient, url: str, status: int, param: str) -> None:
    assert refused(api, url) == (status, "bad_request", param)


@pytest.mark.parametrize(("query", "param"), [item for item in BAD_DATES if "&" in item[0]])
def test_reversed_dates_are_a_400(api: APIClient, query: str, param: str) -> None:
    assert refused(api, f"/global/activity?{query}") == (400, "bad_request", param)


def test_who_may_read(organization: Organization, owner: User, viewer: User, stranger: User, send: Send) -> None:
    send(at(1, "0.75"), now=utc_now())
    writer = make_key(organization, Scope.USAGE_WRITE).client()
    day = at(1, "0")["occurred_at"][:10]
    activity = f"/global/activity?start_date={day}&end_date={day}"
    for route in (*ROUTES, activity):
        assert refused(APIClient(), route)[0] == 401
        assert refused(writer, route)[0] == 403
        responses = []
        for user in (owner, viewer, stranger):
            client = Client()
            client.force_login(user)
            responses.append(client.get(route).json())
        assert responses[0] == responses[1] != responses[2]
        assert "0.75" not in str(responses[2])
