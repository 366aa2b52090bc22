"""Every dimension of usage filters and groups every report, export and page of document 001 in the same way."""

import csv
import io
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.reports.usage import ledger_usage
from billing.reports.usage.explorer import SortBy
from billing.reports.usage.figures import DIMENSIONS, Dimension, GroupBy
from billing.rollups.fold import fold
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")  # exports

FOLDED = pytest.mark.parametrize("is_folded", [True, False])
FIGURES = ("requests", "errors", "error_rate", "total_tokens", "cached_tokens", "cost_usd", "unpriced_events")
RANGE = "start_date=2026-10-20&end_date=2026-11-02"
# Some days begin and end within a UTC day, and within an hour.
ZONE = "Asia/Kolkata"
EVENTS: tuple[dict[str, Any], ...] = (
    {
        "cost_usd": "1",
        "user_id": "ada",
        "team": "search",
        "end_user": "acme",
        "agent_id": "a",
        "capability": "chat",
        "tags": ["red", "blue"],
        "run_id": "r1",
        "session_id": "s1",
    },
    {
        "cost_usd": "2",
        "user_id": "ada",
        "team": "ads",
        "service": "anthropic",
        "model": "claude-sonnet-4-5",
        "tags": ["red"],
        "run_id": "r1",
        "workflow_id": "nightly",
        "input_tokens": 7,
    },
    {"cost_usd": "4", "user_id": "bob", "team": "search", "status": "failure", "end_user": "globex", "run_id": "r2"},
    {"cost_usd": "8", "kind": "tool_call", "tool": "t", "model": "", "service": "", "team": "search"},
    {"cost_usd": "16", "workflow_id": "alone"},
)
TIMES = (
    "2026-10-25T18:29:00Z",
    "2026-10-25T18:31:00Z",
    "2026-10-31T23:59:00Z",
    "2026-11-01T00:10:00Z",
    "2026-11-01T05:00:00Z",
)


@pytest.fixture
def usage(send: Send, organization: Organization) -> None:
    organization.time_zone = ZONE
    organization.save()
    defaults = {"service": "openai", "model": "gpt-4o", "status": "success"}
    send(
        *(
            {**defaults, **event, "id": f"{n}", "occurred_at": at}
            for n, (event, at) in enumerate(zip(EVENTS, TIMES, strict=True))
        )
    )


@pytest.fixture(params=[True, False], ids=["folded", "unfolded"])
def is_folded(request: pytest.FixtureRequest, usage: None) -> None:
    if request.param:
        fold(now=NOW)


def values_of(event: dict[str, Any], dimension: Dimension) -> list[str]:
    """The values of an event, from `GET /usage/events`."""
    if dimension.by is GroupBy.WORKFLOW:  # the workflow of a run counts for all its events
        return ["nightly" if event["run_id"] == "r1" else event["workflow_id"]]
    if dimension.by is GroupBy.TAG:
        return event["tags"] or [""]
    return [event[dimension.parameter] if dimension.by is not GroupBy.CREDENTIAL else ""]


def expected(events: list[dict[str, Any]], dimension: Dimension) -> dict[str, Decimal]:
    """The costs by the values of a dimension, from single events."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for event in events:
        for value in values_of(event, dimension):
            sums[value] += Decimal(event["cost_usd"])
    return dict(sums)


def rows_of(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


def costs(rows: list[dict[str, Any]], key: str) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row[key]] += Decimal(row["cost_usd"])
    return dict(sums)


@pytest.mark.usefixtures("is_folded")
def test_groups_of_every_dimension_add_up_to_the_summary(api: APIClient) -> None:
    summary = api.get(f"/usage/summary?{RANGE}").json()
    assert summary["cost_usd"] == "31"
    events = api.get("/usage/events").json()["results"]
    for dimension in DIMENSIONS:
        by = f"{RANGE}&group_by={dimension.by}"
        breakdown = api.get(f"/usage/breakdown?{by}").json()
        sums = expected(events, dimension)
        assert costs(breakdown["results"], dimension.by.value) == sums, dimension
        assert breakdown["total"] == {**breakdown["total"], **{name: summary[name] for name in FIGURES}}
        series = api.get(f"/usage/timeseries?{by}&view=cost&granularity=day").json()["series"]
        assert {line["key"]: Decimal(line["total"]["cost_usd"]) for line in series} == sums, dimension
        days = rows_of(api.get(f"/usage/export?{by}&rows=days"))
        assert costs(days, dimension.parameter) == sums, dimension


@pytest.mark.usefixtures("is_folded")
def test_filters_of_every_dimension_narrow_every_report(api: APIClient) -> None:
    all_events = api.get("/usage/events").json()["results"]
    for dimension in DIMENSIONS:
        for value, cost in expected(all_events, dimension).items():
            if not value:
                continue
            filters = (
                f"{RANGE}&{dimension.parameter}=%20{value}%20"
                if dimension.by is not GroupBy.STATUS
                else f"{RANGE}&status={value}"
            )
            assert Decimal(api.get(f"/usage/summary?{filters}").json()["cost_usd"]) == cost, filters
            breakdown = api.get(f"/usage/breakdown?{filters}&group_by={dimension.by}").json()
            results = costs(breakdown["results"], dimension.by.value)
            assert breakdown["total"]["cost_usd"] == f"{cost}"
            assert results == ({value: cost} if dimension.by is not GroupBy.TAG else {**results, value: cost})
            rows = rows_of(api.get(f"/usage/export?{filters}"))
            assert sum(Decimal(row["cost_usd"]) for row in rows) == cost, filters
            assert {row[dimension.parameter] for row in rows if dimension.by is not GroupBy.TAG} <= {value}
            calls = api.get(f"/usage/requests?{filters}").json()["results"]
            listed = [row["id"] for row in rows if row["kind"] == "model_call"]
            assert [call["id"] for call in calls] == listed, filters
            events = api.get(f"/usage/events?{dimension.parameter}={value}").json()["results"]
            assert sorted(event["id"] for event in events) == sorted(row["id"] for row in rows), filters


@pytest.mark.usefixtures("usage")
def test_filters_work_together(api: APIClient) -> None:
    filters = f"{RANGE}&user_id=ada&team=search&model=GPT-4o"
    assert api.get(f"/usage/summary?{filters}").json()["cost_usd"] == "1"
    assert len(api.get("/usage/events?client_id=none").json()["results"]) == len(EVENTS)
    assert api.get("/usage/events?client_id=unknown").json()["results"] == []
    assert api.get(f"/usage/summary?{RANGE}&team=search&status=failure").json()["cost_usd"] == "4"


def breakdown(api: APIClient, query: str) -> dict[str, Any]:
    body: dict[str, Any] = api.get(f"/usage/breakdown?{RANGE}&{query}").json()
    return body


@pytest.mark.usefixtures("is_folded")
def test_two_dimensions_and_periods_add_up(api: APIClient) -> None:
    for pair in ("user,model", "workflow,team", "tag,user", "credential,status"):
        body = breakdown(api, f"group_by={pair}&granularity=week&compare=true&include_users=true")
        first, second = pair.split(",")
        keys = [(row[first], row[second]) for row in body["results"]]
        assert len(keys) == len(set(keys)) == body["count"]
        for row in [*body["results"], body["total"]]:
            assert sum(Decimal(part["cost_usd"]) for part in row["periods"]) == Decimal(row["cost_usd"])
            assert row["previous"]["cost_usd"] == "0"
        assert (body["total"]["cost_usd"], body["total"]["users"]) == ("31", 2)
        twice = Decimal(1) if first == "tag" else Decimal(0)  # an event with two tags
        assert sum(Decimal(row["cost_usd"]) for row in body["results"]) == 31 + twice
    assert body["results"][0] | {"credential": "", "credential_name": "", "status": "success"} == body["results"][0]
    per_user = {
        row["model"]: row["cost_per_user_usd"] for row in breakdown(api, "group_by=model&include_users=true")["results"]
    }
    assert per_user == {"": None, "gpt-4o": "10.5", "claude-sonnet-4-5": "2"}


@pytest.mark.usefixtures("is_folded")
def test_pages_reach_every_row_once_in_any_order(api: APIClient) -> None:
    whole = breakdown(api, "group_by=user,tag&compare=true&include_users=true")["results"]
    for sort in SortBy:
        if sort is SortBy.PERIOD:
            continue
        for order in ("asc", "desc"):
            query = f"group_by=user,tag&limit=2&sort_by={sort}&sort_order={order}"
            rows, cursor = [], ""
            while True:
                page = breakdown(api, f"{query}&cursor={cursor}")
                rows += page["results"]
                if (cursor := page["next_cursor"]) is None:
                    break
            assert {(row["user"], row["tag"]) for row in rows} == {(row["user"], row["tag"]) for row in whole}, query
            assert len(rows) == len(whole) == page["count"], query
            if sort in (SortBy.COST, SortBy.TOTAL_TOKENS):
                values = [Decimal(row[sort]) for row in rows]
                assert values == sorted(values, reverse=order == "desc"), query


@pytest.mark.usefixtures("usage")
def test_search_finds_rows_and_leaves_the_total(api: APIClient) -> None:
    body = breakdown(api, "group_by=user&search=AD")
    assert [row["user"] for row in body["results"]] == ["ada"]
    assert (body["count"], body["total"]["cost_usd"]) == (1, "31")


@pytest.mark.usefixtures("usage")
def test_what_needs_single_events_is_refused_for_too_many_of_them(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_usage, "MAX_EVENTS", 4)
    refused = api.get(f"/usage/breakdown?{RANGE}&group_by=workflow")
    assert (refused.status_code, list(refused.json()["fields"])) == (422, ["end_date"])
    for by in ("user", "tag"):  # from rollups
        assert breakdown(api, f"group_by={by}")["total"]["cost_usd"] == "31"
    assert breakdown(api, "group_by=tool&run_id=r1")["total"]["cost_usd"] == "3"


def test_what_cannot_be_is_refused(api: APIClient) -> None:
    for query, field in (
        ("", "group_by"),
        ("group_by=color", "group_by"),
        ("group_by=team,team", "group_by"),
        ("group_by=team,user,model", "group_by"),
        ("group_by=team&color=red", "color"),
        ("group_by=team&cursor=x", "cursor"),
        ("group_by=team&cursor=WyJ4IiwiYSJd", "cursor"),
        ("group_by=team&granularity=day&range=90d&limit=1000", "limit"),
        ("group_by=team&sort_by=color", "sort_by"),
    ):
        response = api.get(f"/usage/breakdown?{query}")
        assert (response.status_code, list(response.json()["fields"])) == (422, [field])
    assert list(api.get("/usage/export?group_by=team").json()["fields"]) == ["group_by"]


def test_the_page_has_the_filters_and_groups(owner: User, send: Send) -> None:
    client = Client()
    client.force_login(owner)
    now = utc_now()
    send(*({**event, "id": f"{n}", "occurred_at": now.isoformat()} for n, event in enumerate(EVENTS)), now=now)
    page = client.get("/o/acme/admin/usage/?range=today&group_by=team&user_id=ada")
    assert page.status_code == 200
    chosen = page.context["breakdown"]
    assert (chosen.title, [row.name for row in chosen.rows]) == ("By team", ["ads", "search"])
    assert "Filtered by user" in page.content.decode()
    log = client.get("/o/acme/admin/requests/?range=today&team=search&end_user=globex")
    assert [call.user_ref for call in log.context["listed"].calls] == ["bob"]
