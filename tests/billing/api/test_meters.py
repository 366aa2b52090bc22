"""`GET /api/v1/meters`: OpenMeter's query of read-only meters."""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from rest_framework.test import APIClient

from billing.rollups.fold import fold
from costtrack.clock import utc_now
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import send_events, set_price

METERS = "/api/v1/meters"
NOON = (utc_now() - timedelta(days=2)).replace(hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def _usage(organization: Organization) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")
    set_price("gpt-4o-mini", provider="openai", input="0.15", output="0.6")
    for number, (user, model) in enumerate((("ada", "gpt-4o"), ("ada", "gpt-4o-mini"), ("bob", "gpt-4o"))):
        event = {"id": f"e{number}", "service": "openai", "model": model, "user_id": user, "output_tokens": 10}
        at = NOON + timedelta(hours=number)
        counts = {"input_tokens": 100, "cache_read_tokens": 50}
        send_events(organization, {**event, **counts, "occurred_at": at.isoformat()}, now=utc_now())
    fold(now=utc_now())
    late = {"id": "late", "service": "openai", "model": "gpt-4o", "user_id": "bob", "input_tokens": 7}
    send_events(organization, {**late, "occurred_at": NOON.isoformat()}, now=utc_now())


def query(api: APIClient, slug: str = "tokens_total", **params: Any) -> Any:
    return api.get(f"{METERS}/{slug}/query", {"from": NOON.isoformat(), **params})


def values(response: Any, *names: str) -> list[tuple[Any, ...]]:
    assert response.status_code == 200, response.content
    return [
        (*(({"subject": row["subject"]} | row["groupBy"])[name] for name in names), row["value"])
        for row in response.json()["data"]
    ]


def test_meters_are_listed_and_read_only(api: APIClient) -> None:
    listed = api.get(METERS).json()
    assert {"tokens_total", "cost_usd", "requests"} <= {meter["slug"] for meter in listed}
    assert api.get(f"{METERS}/tokens_total").json() == next(item for item in listed if item["slug"] == "tokens_total")
    assert api.post(METERS, {}, format="json").status_code == 405
    missing = api.get(f"{METERS}/apples")
    assert (missing.status_code, missing.json()["title"]) == (404, "Not Found")


def test_a_meter_is_one_sum_with_usage_that_is_not_folded(api: APIClient) -> None:
    response = query(api)
    assert response.json()["data"][0] | {"windowStart": "", "windowEnd": ""} == {
        "value": 487.0,
        "windowStart": "",
        "windowEnd": "",
        "subject": None,
        "groupBy": {},
    }
    assert [values(query(api, slug)) for slug in ("input_tokens", "output_tokens", "requests")] == [
        [(457.0,)],
        [(30.0,)],
        [(4.0,)],
    ]
    expected = sum(Decimal(text) for text in ("0.000475", "0.0000285", "0.000475", "0.0000175"))
    assert values(query(api, "cost_usd")) == [(float(expected),)]


def test_subjects_and_dimensions_group_and_filter(api: APIClient) -> None:
    assert values(query(api, groupBy=["subject", "model"]), "subject", "model") == [
        ("ada", "gpt-4o", 160.0),
        ("ada", "gpt-4o-mini", 160.0),
        ("bob", "gpt-4o", 167.0),
    ]
    assert values(query(api, subject=["bob", "eve"]), "subject") == [("bob", 167.0)]
    assert values(query(api, groupBy="model", **{"filterGroupBy[model]": "gpt-4o-mini"}), "model") == [
        ("gpt-4o-mini", 160.0)
    ]
    for condition in ('{"model": {"$eq": "gpt-4o-mini"}}', '{"model": {"$in": ["gpt-4o-mini", "x"]}}'):
        assert values(query(api, advancedMeterGroupByFilters=condition)) == [(160.0,)]


def test_windows_follow_the_time_zone(api: APIClient) -> None:
    hours = query(api, windowSize="HOUR").json()
    assert [row["value"] for row in hours["data"]] == [167.0, 160.0, 160.0]
    assert (hours["windowSize"], hours["data"][0]["windowStart"]) == ("HOUR", NOON.isoformat().replace("+00:00", "Z"))
    minutes = query(api, windowSize="MINUTE", to=(NOON + timedelta(minutes=5)).isoformat())
    assert values(minutes) == [(167.0,)]
    days = query(api, windowSize="DAY", windowTimeZone="Pacific/Kiritimati")  # 14 hours ahead of UTC
    assert values(days) == [(487.0,)]
    local = datetime.fromisoformat(days.json()["data"][0]["windowEnd"]).astimezone(UTC)
    assert local.hour == 10


def test_csv_has_a_column_for_each_group(api: APIClient) -> None:
    response = api.get(
        f"{METERS}/cost_usd/query?from={quote(NOON.isoformat())}&groupBy=subject&groupBy=model", HTTP_ACCEPT="text/csv"
    )
    header, *rows = csv.reader(response.content.decode().splitlines())
    assert (response["Content-Type"], header) == (
        "text/csv",
        ["window_start", "window_end", "subject", "model", "value"],
    )
    assert [row[2:] for row in rows][:2] == [["ada", "gpt-4o", "0.000475"], ["ada", "gpt-4o-mini", "0.0000285"]]


@pytest.mark.parametrize(
    "params",
    [
        {"from": "yesterday"},
        {"to": "2001-01-01T00:00:00Z"},
        {"windowSize": "YEAR"},
        {"windowSize": "MINUTE", "from": "2026-01-01T00:00:00Z"},
        {"windowTimeZone": "Mars/Olympus"},
        {"groupBy": "prompt"},
        {"filterGroupBy[prompt]": "x"},
        {"advancedMeterGroupByFilters": "{"},
        {"advancedMeterGroupByFilters": '{"model": {"$ne": "x"}}'},
        {"subject": ["x"] * 101},
    ],
)
def test_an_invalid_query_is_a_problem(api: APIClient, params: dict[str, Any]) -> None:
    response = query(api, **params)
    assert (response.status_code, response.json()["title"]) == (400, "Bad Request")


def test_unknown_parameters_are_named_and_the_scope_is_required(api: APIClient, organization: Organization) -> None:
    assert query(api, clientId="x")["X-Ignored-Parameters"] == "clientId"
    writer = APIClient(headers={"Authorization": f"Bearer {make_key(organization, Scope.USAGE_WRITE).api_key}"})
    assert query(writer).status_code == 403
