"""Every dimension of usage filters and groups every report, export and page of document 001 in the same way."""

import csv
import io
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.reports.usage.figures import DIMENSIONS, Dimension, GroupBy
from billing.rollups.fold import fold
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")  # exports

FOLDED = pytest.mark.parametrize("is_folded", [True, False])
RANGE = "start_date=2026-10-20&end_date=2026-11-02"
# Some days begin and end within a UTC day, and within an hour.
ZONE = "Asia/Kolkata"
EVENTS: tuple[dict[str, Any], ...] = (
    {"cost_usd": "1", "user_id": "ada", "team": "search", "end_user": "acme", "agent_id": "a", "capability": "chat"},
    {"cost_usd": "2", "user_id": "ada", "team": "ads", "service": "anthropic", "model": "claude-sonnet-4-5"},
    {"cost_usd": "4", "user_id": "bob", "team": "search", "status": "failure", "end_user": "globex"},
    {"cost_usd": "8", "kind": "tool_call", "tool": "t", "model": "", "service": "", "team": "search"},
    {"cost_usd": "16"},
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


def expected(api: APIClient, dimension: Dimension) -> dict[str, Decimal]:
    """The costs by the values of a dimension, from single events."""
    field = {"client_id": "", "environment": "environment"}.get(dimension.parameter, dimension.parameter)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for event in api.get("/usage/events").json()["results"]:
        sums[event[field] if field else ""] += Decimal(event["cost_usd"])
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
    for dimension in DIMENSIONS:
        by = f"{RANGE}&group_by={dimension.by}"
        breakdown = api.get(f"/usage/breakdown?{by}").json()
        sums = expected(api, dimension)
        assert costs(breakdown["groups"], "key") == sums, dimension
        assert breakdown["total"] == {name: summary[name] for name in breakdown["total"]}
        series = api.get(f"/usage/timeseries?{by}&view=cost&granularity=day").json()["series"]
        assert {line["key"]: Decimal(line["total"]["cost_usd"]) for line in series} == sums, dimension
        days = rows_of(api.get(f"/usage/export?{by}&rows=days"))
        assert costs(days, dimension.parameter) == sums, dimension


@pytest.mark.usefixtures("is_folded")
def test_filters_of_every_dimension_narrow_every_report(api: APIClient) -> None:
    for dimension in DIMENSIONS:
        for value, cost in expected(api, dimension).items():
            if not value:
                continue
            filters = (
                f"{RANGE}&{dimension.parameter}=%20{value}%20"
                if dimension.by is not GroupBy.STATUS
                else f"{RANGE}&status={value}"
            )
            assert Decimal(api.get(f"/usage/summary?{filters}").json()["cost_usd"]) == cost, filters
            breakdown = api.get(f"/usage/breakdown?{filters}&group_by={dimension.by}").json()
            assert costs(breakdown["groups"], "key") == {value: cost}
            rows = rows_of(api.get(f"/usage/export?{filters}"))
            assert costs(rows, dimension.parameter) == {value: cost}, filters
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
    few = api.get(f"/usage/breakdown?{RANGE}&group_by=team&limit=1").json()
    assert [group["key"] for group in few["groups"]] == [""]
    assert (few["others"]["cost_usd"], few["other_groups"]) == ("15", 2)


def test_what_cannot_be_is_refused(api: APIClient) -> None:
    for query, field in (("", "group_by"), ("group_by=tag", "group_by"), ("group_by=team&color=red", "color")):
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
    chosen = page.context["tables"][0]
    assert (chosen.title, [row.name for row in chosen.rows]) == ("Top teams", ["ads", "search"])
    assert "Figures are filtered by user" in page.content.decode()
    log = client.get("/o/acme/admin/requests/?range=today&team=search&end_user=globex")
    assert [call.user_ref for call in log.context["listed"].calls] == ["bob"]
