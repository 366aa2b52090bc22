"""`GET /usage/timeseries`, `/usage/capabilities` and `/usage/credentials`. (That their figures are right is tested in
`test_usage_figures`, what they share with `/usage/summary` in `test_usage_summary`.)"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from billing.rollups.fold import fold
from costtrack.clock import iso
from organizations.models import APICredential, Organization
from organizations.types import Scope
from tests.conftest import Key, make_key
from tests.usage import NOW, Send


@pytest.fixture(autouse=True)
def _monday_noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def ask(api: APIClient, path: str, query: str = "") -> dict[str, Any]:
    response = api.get(f"/usage/{path}?{query}")
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def call(hours_ago: float, cost: str = "1", **fields: Any) -> dict[str, Any]:
    return {"cost_usd": cost, "occurred_at": iso(NOW - timedelta(hours=hours_ago)), **fields}


def test_a_chart_has_every_period_also_the_empty_ones(api: APIClient, organization: Organization, send: Send) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="America/New_York")
    send(call(24, input_tokens=5, output_tokens=2), call(24, status="failure"))

    answer = ask(api, "timeseries", "start_date=2026-10-31&end_date=2026-11-02&view=tokens&granularity=day")

    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0, "total_tokens": 0}
    some = {"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 0, "total_tokens": 7}
    assert answer["buckets"] == [
        {"start": "2026-10-31T00:00:00-04:00", "end": "2026-11-01T00:00:00-04:00", **nothing},
        {"start": "2026-11-01T00:00:00-04:00", "end": "2026-11-02T00:00:00-05:00", **some},
        {"start": "2026-11-02T00:00:00-05:00", "end": "2026-11-03T00:00:00-05:00", **nothing},
    ]
    assert (answer["view"], answer["granularity"], answer["group_by"]) == ("tokens", "day", None)
    assert (answer["total"], answer["series"]) == (some, [])


def test_each_view_has_its_figures(api: APIClient, send: Send) -> None:
    send(call(1), call(1, "0.5", status="failure"))
    assert ask(api, "timeseries")["view"] == "requests"
    assert ask(api, "timeseries", "view=requests")["total"] == {"requests": 2, "errors": 1, "error_rate": 0.5}
    assert ask(api, "timeseries", "view=cost")["total"] == {"cost_usd": "1.5", "unpriced_events": 0}


@pytest.mark.parametrize(
    ("query", "granularity", "buckets"),
    [
        ("range=today", "hour", 24),
        ("start_date=2026-11-01", "hour", 48),
        ("range=7d", "day", 7),
        ("", "day", 30),
        ("range=90d", "day", 90),
        ("start_date=2026-01-01&end_date=2026-06-30", "week", 27),
        ("start_date=2020-01-01&end_date=2025-12-31", "month", 72),
        ("range=week&granularity=month", "month", 1),
        ("range=30d&granularity=hour", "hour", 720),
        ("start_date=2026-11-01T10:15:00Z&end_date=2026-11-01T12:30:00Z", "hour", 3),
    ],
)
def test_periods_suit_the_window_unless_they_are_given(
    api: APIClient, organization: Organization, query: str, granularity: str, buckets: int
) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    answer = ask(api, "timeseries", query)
    assert (answer["granularity"], len(answer["buckets"])) == (granularity, buckets)


def test_the_last_instant_of_a_period_is_in_it(api: APIClient, organization: Organization, send: Send) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="Asia/Kolkata")
    send({"cost_usd": "1", "occurred_at": "2026-11-01T18:29:59.999999Z"})
    send({"cost_usd": "2", "occurred_at": "2026-11-01T18:30:00Z"})
    for unit in ("hour", "day"):
        chart = ask(api, "timeseries", f"start_date=2026-11-01&end_date=2026-11-02&view=cost&granularity={unit}")
        costs = {bucket["start"]: bucket["cost_usd"] for bucket in chart["buckets"] if bucket["cost_usd"] != "0"}
        starts = {"hour": "2026-11-01T23:00:00+05:30", "day": "2026-11-01T00:00:00+05:30"}
        assert costs == {starts[unit]: "1", "2026-11-02T00:00:00+05:30": "2"}


def test_lines_come_by_size_and_those_beyond_twenty_are_one(api: APIClient, send: Send) -> None:
    send(*(call(1, str(number), model=f"m{number:02}", input_tokens=100 - number) for number in range(1, 24)))

    lines = ask(api, "timeseries", "range=today&group_by=model&view=cost")["series"]
    assert [line["key"] for line in lines] == [*(f"m{number:02}" for number in range(23, 3, -1)), None]
    assert (lines[-1]["name"], lines[-1]["total"]["cost_usd"]) == ("Others", str(3 + 2 + 1))
    assert lines[-1]["buckets"][11]["cost_usd"] == "6"
    by_tokens = ask(api, "timeseries", "range=today&group_by=model&view=tokens")["series"]
    assert [line["key"] for line in by_tokens[:2]] == ["m01", "m02"]


def test_lines_of_credentials_bear_their_names(api: APIClient, key: Key, send: Send) -> None:
    assert api.post("/usage/events", call(1), format="json").status_code == 200
    send(call(1, "0.5"))
    lines = ask(api, "timeseries", "range=today&group_by=credential&view=cost")["series"]
    assert [(line["key"], line["name"]) for line in lines] == [(key.credential.client_id, "test"), ("", "")]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("view=speed", "view"),
        ("group_by=color", "group_by"),
        ("granularity=minute", "granularity"),
        ("range=90d&granularity=hour", "granularity"),
        ("start_date=2000-01-01&end_date=2199-12-31&granularity=week", "granularity"),
        ("start_date=2000-01-01&end_date=2199-12-31&granularity=month", "granularity"),
    ],
)
def test_wrong_charts_are_refused_by_name(api: APIClient, organization: Organization, query: str, field: str) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    response = api.get(f"/usage/timeseries?{query}")
    assert response.status_code == 422, response.content
    assert list(response.json()["fields"]) == [field]


def test_capabilities_come_with_their_share_the_most_expensive_first(api: APIClient, send: Send) -> None:
    send(
        call(1, "1", capability="chat", input_tokens=3),
        call(1, "2", capability="chat", status="failure"),
        call(1, "6", capability="embeddings"),
        call(1, "0"),
        call(24 * 40, "100", capability="old"),
    )
    rows = ask(api, "capabilities")["capabilities"]
    assert [(row["capability"], row["cost_usd"], row["cost_share"], row["requests"]) for row in rows] == [
        ("embeddings", "6", 0.666667, 1),
        ("chat", "3", 0.333333, 2),
        ("", "0", 0.0, 1),
    ]
    assert (rows[1]["errors"], rows[1]["error_rate"], rows[1]["total_tokens"]) == (1, 0.5, 3)
    assert ask(api, "capabilities", "capability=chat")["capabilities"][0]["cost_share"] == 1.0


def test_every_credential_is_listed_also_the_unused(
    api: APIClient, organization: Organization, key: Key, send: Send
) -> None:
    unused = make_key(organization, Scope.USAGE_WRITE, name="unused").credential
    APICredential.objects.filter(pk=unused.pk).update(environment="staging")
    assert api.post("/usage/events", call(1, "3"), format="json").status_code == 200
    send(call(1, "1"))

    rows = ask(api, "credentials")["credentials"]

    assert [(row["client_id"], row["name"], row["cost_usd"], row["cost_share"]) for row in rows] == [
        (key.credential.client_id, "test", "3", 0.75),
        ("", "", "1", 0.25),
        (unused.client_id, "unused", "0", 0.0),
    ]
    assert [row["environment"] for row in rows] == ["production", "", "staging"]
    assert [row["last_used_at"] is None for row in rows] == [False, True, True]
    only = ask(api, "credentials", f"client_id={unused.client_id}")["credentials"]
    assert [row["client_id"] for row in only] == [unused.client_id]
    without = ask(api, "credentials", "client_id=none")["credentials"]
    assert [(row["client_id"], row["cost_usd"]) for row in without] == [("", "1")]


def test_what_an_operator_recorded_is_of_no_credential(
    api: APIClient, operator_api: APIClient, organization: Organization, key: Key
) -> None:
    sent = operator_api.post("/usage/events?organization=acme", call(1, "3"), format="json")
    assert sent.status_code == 200
    rows = ask(api, "credentials")["credentials"]
    assert [(row["client_id"], row["cost_usd"]) for row in rows] == [("", "3"), (key.credential.client_id, "0")]
    assert ask(api, "summary", "client_id=none")["cost_usd"] == "3"
    assert ask(api, "timeseries", "group_by=credential&view=cost")["series"][0]["total"]["cost_usd"] == "3"


@pytest.mark.parametrize("query", ["", "&model=m"])
@pytest.mark.parametrize("is_folded", [True, False])
def test_what_lies_on_the_edge_of_an_hour_counts_once(
    api: APIClient,
    organization: Organization,
    send: Send,
    is_folded: bool,  # noqa: FBT001
    query: str,
) -> None:
    """Days begin within an hour here: a part of it comes from the ledger, and the next hour from a rollup."""
    Organization.objects.filter(pk=organization.pk).update(time_zone="Asia/Kolkata")
    edges = ("17:59:59.999999", "18:00:00", "18:29:59.999999", "18:30:00", "18:59:59.999999", "19:00:00")
    send(*({"cost_usd": f"{2**n}", "occurred_at": f"2026-10-30T{edge}Z", "model": "m"} for n, edge in enumerate(edges)))
    if is_folded:
        fold(now=NOW)
    days = ask(api, "timeseries", f"start_date=2026-10-30&end_date=2026-10-31&view=cost&granularity=day{query}")[
        "buckets"
    ]
    assert [day["cost_usd"] for day in days] == [str(1 + 2 + 4), str(8 + 16 + 32)]
