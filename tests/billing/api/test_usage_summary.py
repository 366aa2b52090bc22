"""`GET /usage/summary`, and what all of `/usage/summary|timeseries|capabilities|credentials|requests` have in common:
ranges, filters, plans, and who may ask."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from billing.ledger.corrections import void
from billing.models import UsageEvent
from billing.rollups.fold import fold
from billing.rollups.retention import drop_events
from costtrack.clock import iso
from organizations.models import Organization, Plan, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, Send

NUMBERS = ("summary", "timeseries", "capabilities", "credentials", "requests")


@pytest.fixture(autouse=True)
def _monday_noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def ask(api: APIClient, query: str = "", path: str = "summary") -> dict[str, Any]:
    response = api.get(f"/usage/{path}?{query}")
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def call(cost: str, occurred_at: str = "2026-11-02T09:00:00Z", **fields: Any) -> dict[str, Any]:
    return {"cost_usd": cost, "occurred_at": occurred_at, "service": "openai", "model": "gpt-4o", **fields}


def test_a_summary_has_every_figure(api: APIClient, send: Send) -> None:
    send(
        call("0.25", input_tokens=100, output_tokens=10, cache_read_tokens=40, cache_creation_tokens=5),
        call("0.1", status="failure", input_tokens=1),
        {"model": "house-model", "input_tokens": 7, "occurred_at": "2026-11-02T01:00:00Z"},
        {"kind": "tool_call", "tool": "search", "cost_usd": "0.0000001", "occurred_at": "2026-11-02T02:00:00Z"},
        call("3", "2026-11-01T23:59:59.999999Z"),
        call("40", "2026-10-31T12:00:00Z"),
    )

    answer = ask(api, "start_date=2026-11-01&end_date=2026-11-02")

    assert answer == {
        "organization": "acme",
        "plan": "pay_as_you_go",
        "currency": "USD",
        "timezone": "UTC",
        "window": {"start": "2026-11-01T00:00:00+00:00", "end": "2026-11-03T00:00:00+00:00"},
        "history_start": "2026-08-04T00:00:00+00:00",
        "clipped": False,
        "as_of": "2026-11-02T12:00:00Z",
        "requests": 4,
        "errors": 1,
        "error_rate": 0.25,
        "prompt_tokens": 153,
        "completion_tokens": 10,
        "cached_tokens": 40,
        "total_tokens": 163,
        "cost_usd": "3.3500001",
        "unpriced_events": 1,
        "previous": {
            "window": {"start": "2026-10-30T00:00:00+00:00", "end": "2026-10-31T12:00:00+00:00"},
            "requests": 0,
            "errors": 0,
            "error_rate": 0.0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "cached_tokens": 0,
            "total_tokens": 0,
            "cost_usd": "0",
            "unpriced_events": 0,
        },
        "spend": {
            "today_usd": "0.3500001",
            "rolling_7d_usd": "43.3500001",
            "month_to_date_usd": "3.3500001",
            "billing_period": {"start": "2026-11-01T00:00:00+00:00", "end": "2026-12-01T00:00:00+00:00"},
        },
        "daily": [
            {"date": "2026-11-01", "requests": 1, "total_tokens": 0, "cost_usd": "3"},
            {"date": "2026-11-02", "requests": 3, "total_tokens": 163, "cost_usd": "0.3500001"},
        ],
    }


def test_nothing_is_zeros(api: APIClient) -> None:
    answer = ask(api)
    assert (answer["requests"], answer["cost_usd"], answer["error_rate"]) == (0, "0", 0.0)
    assert len(answer["daily"]) == 30
    assert answer["spend"]["rolling_7d_usd"] == "0"


@pytest.mark.parametrize(
    ("zone", "query", "start", "end"),
    [
        ("UTC", "range=today", "2026-11-02T00:00:00+00:00", "2026-11-03T00:00:00+00:00"),
        ("UTC", "range=day", "2026-11-02T00:00:00+00:00", "2026-11-03T00:00:00+00:00"),
        ("UTC", "range=month_to_date", "2026-11-01T00:00:00+00:00", "2026-11-03T00:00:00+00:00"),
        ("Asia/Kolkata", "range=yesterday", "2026-11-01T00:00:00+05:30", "2026-11-02T00:00:00+05:30"),
        ("America/New_York", "range=yesterday", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"),
        ("America/New_York", "range=last_month", "2026-10-01T00:00:00-04:00", "2026-11-01T00:00:00-04:00"),
        ("America/New_York", "", "2026-10-04T00:00:00-04:00", "2026-11-03T00:00:00-05:00"),
        ("Pacific/Kiritimati", "range=today", "2026-11-03T00:00:00+14:00", "2026-11-04T00:00:00+14:00"),
        (
            "America/New_York",
            "start_date=2026-10-31&end_date=2026-11-01",
            "2026-10-31T00:00:00-04:00",
            "2026-11-02T00:00:00-05:00",
        ),
        (
            "Asia/Kolkata",
            "range=custom&start_date=2026-11-01",
            "2026-11-01T00:00:00+05:30",
            "2026-11-03T00:00:00+05:30",
        ),
        (
            "Asia/Kolkata",
            "start_date=2026-11-01T10:00:00Z&end_date=2026-11-01T12:00:00-01:00",
            "2026-11-01T15:30:00+05:30",
            "2026-11-01T18:30:00+05:30",
        ),
        ("UTC", "start_date=2026-11-05", "2026-11-05T00:00:00+00:00", None),
    ],
)
def test_ranges_are_days_of_the_organization(
    api: APIClient, organization: Organization, zone: str, query: str, start: str, end: str | None
) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone=zone)
    if end is None:
        assert api.get(f"/usage/summary?{query}").status_code == 422  # it has not begun
    else:
        assert ask(api, query)["window"] == {"start": start, "end": end}


def test_weeks_begin_when_the_organizations_do(api: APIClient, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(week_start=3)
    assert ask(api, "range=week")["window"]["start"] == "2026-10-28T00:00:00+00:00"
    assert ask(api, "range=last_week")["window"]["start"] == "2026-10-21T00:00:00+00:00"


def test_exactly_seven_days_ago_is_not_in_seven_days(api: APIClient, send: Send) -> None:
    """Conflict table, 6.2: an event exactly 7 days old is out of the window."""
    week_ago = NOW - timedelta(days=7)
    send(call("1", iso(week_ago)), call("2", iso(week_ago + timedelta(microseconds=1))), call("4", iso(NOW)))
    assert ask(api)["spend"]["rolling_7d_usd"] == "6"


def test_what_was_voided_is_not_in_the_figures(api: APIClient, organization: Organization, send: Send) -> None:
    send(call("1", id="a"), call("2"))
    fold(now=NOW)
    event = UsageEvent.objects.get(event_id="a")
    void(organization=organization, event_id=event.pk, reason="A test.", actor="tests", now=NOW)
    answer = ask(api)
    assert (answer["requests"], answer["cost_usd"]) == (1, "2")


def test_figures_of_dropped_events_stay_and_still_add_up(
    api: APIClient, organization: Organization, send: Send
) -> None:
    """Where a day begins within an hour, what was dropped counts in the day that its hour begins in."""
    Organization.objects.filter(pk=organization.pk).update(time_zone="Asia/Kolkata", plan="enterprise")
    august = NOW.replace(month=8)
    send(*(call("1", f"2026-08-01T{hour:02}:45:00Z", capability="chat") for hour in range(10)), now=august)
    send(call("2", "2026-08-01T18:15:00Z"), call("4", "2026-08-01T18:45:00Z", capability="chat"), now=august)
    fold(now=NOW)
    drop_events(before=NOW.replace(month=10, day=1, hour=0), actor="tests", now=NOW, report=lambda _: None)
    assert not UsageEvent.objects.exists()

    for query, first in (("", "16"), ("&capability=chat", "14")):
        answer = ask(api, f"start_date=2026-08-01&end_date=2026-08-02{query}")
        assert (answer["cost_usd"], [day["cost_usd"] for day in answer["daily"]]) == (first, [first, "0"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("range=fortnight", "range"),
        ("range=custom", "start_date"),
        ("end_date=2026-11-01", "start_date"),
        ("range=7d&start_date=2026-11-01", "range"),
        ("start_date=soon", "start_date"),
        ("start_date=2026-02-30", "start_date"),
        ("start_date=1999-12-31", "start_date"),
        ("start_date=2026-11-01&end_date=2200-01-01", "end_date"),
        ("start_date=2026-11-01&end_date=9999-12-30", "end_date"),
        ("start_date=2026-11-02&end_date=2026-11-01", "end_date"),
        ("start_date=2026-11-02T10:00:00Z&end_date=2026-11-02T09:00:00Z", "end_date"),
        ("start_date=2027-01-01", "start_date"),
        ("status=perhaps", "status"),
        ("client_id=a%00b", "client_id"),
        ("model=a%00b", "model"),
        ("capability=" + "x" * 256, "capability"),
        ("start_date=a%00b", "start_date"),
    ],
)
@pytest.mark.parametrize("path", NUMBERS)
def test_wrong_queries_are_refused_by_name(api: APIClient, path: str, query: str, field: str) -> None:
    response = api.get(f"/usage/{path}?{query}")
    assert response.status_code == 422, response.content
    body = response.json()
    assert (body["code"], list(body["fields"])) == ("invalid", [field])
    assert field in body["error"]


def test_too_many_days_are_refused(api: APIClient, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    assert len(ask(api, "start_date=2024-01-01&end_date=2026-09-26")["daily"]) == 1000
    response = api.get("/usage/summary?start_date=2024-01-01&end_date=2026-09-27")
    assert (response.status_code, list(response.json()["fields"])) == (422, ["start_date"])


@pytest.mark.parametrize("path", NUMBERS)
def test_a_plan_shows_so_many_days_and_says_so(
    api: APIClient, organization: Organization, send: Send, path: str
) -> None:
    send(call("1", "2026-08-03T23:59:59Z"), call("2", "2026-08-04T00:00:00Z"), now=NOW)

    answer = ask(api, "start_date=2026-01-01", path)
    assert answer["history_start"] == answer["window"]["start"] == "2026-08-04T00:00:00+00:00"
    assert answer["clipped"] is True
    assert ask(api, "start_date=2026-08-04", path)["clipped"] is False

    refused = api.get(f"/usage/{path}?start_date=2026-01-01&end_date=2026-08-03")
    assert refused.status_code == 403
    assert refused.json() == {
        "error": "The Pay as you go plan shows the last 90 days of usage. Upgrade to Enterprise to see older usage.",
        "code": "plan_history",
        "plan": "pay_as_you_go",
        "upgrade_to": "enterprise",
        "history_start": "2026-08-04T00:00:00Z",
    }
    Plan.objects.filter(code="pro").update(history_days=400)
    assert api.get(f"/usage/{path}?start_date=2026-01-01&end_date=2026-08-03").json()["upgrade_to"] == "pro"
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    answer = ask(api, "start_date=2026-01-01", path)
    assert (answer["history_start"], answer["clipped"]) == (None, False)


def test_what_is_cut_off_is_not_counted_and_has_nothing_before_it(
    api: APIClient, operator_api: APIClient, send: Send
) -> None:
    send(call("1", "2026-08-03T23:59:59Z"), call("2", "2026-08-04T00:00:00Z"), now=NOW)
    cut = ask(api, "start_date=2026-07-01&end_date=2026-08-31")
    assert (cut["cost_usd"], cut["previous"]) == ("2", None)
    assert ask(api, "start_date=2026-08-05&end_date=2026-08-06")["previous"] is None
    assert ask(api, "start_date=2026-08-05&end_date=2026-08-05")["previous"]["cost_usd"] == "2"
    everything = ask(operator_api, "organization=acme&start_date=2026-07-01&end_date=2026-08-31")
    assert (everything["cost_usd"], everything["history_start"]) == ("3", None)
    assert everything["previous"]["cost_usd"] == "0"


@pytest.mark.parametrize("path", NUMBERS)
def test_a_plan_without_api_says_what_would_allow_it(api: APIClient, organization: Organization, path: str) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    response = api.get(f"/usage/{path}")
    assert response.status_code == 403
    assert (response.json()["code"], response.json()["upgrade_to"]) == ("plan_without_api", "pay_as_you_go")


@pytest.mark.parametrize("path", NUMBERS)
def test_who_may_ask(
    organization: Organization, owner: User, viewer: User, stranger: User, send: Send, path: str
) -> None:
    assert APIClient().get(f"/usage/{path}").status_code == 401
    writer = make_key(organization, Scope.USAGE_WRITE).client().get(f"/usage/{path}")
    assert (writer.status_code, writer.json()["code"]) == (403, "missing_scope")
    for person in (owner, viewer):
        client = Client()
        client.force_login(person)
        assert client.get(f"/usage/{path}").json()["organization"] == "acme"
        assert client.get(f"/usage/{path}?organization=globex").status_code == 404
        assert client.post(f"/usage/{path}").status_code == 405
    foreign = Client()
    foreign.force_login(stranger)
    assert foreign.get(f"/usage/{path}?organization=acme").status_code == 404
    assert foreign.get(f"/usage/{path}").json()["organization"] == "globex"


def test_who_belongs_to_several_organizations_chooses_one(
    owner: User, other_organization: Organization, send: Send
) -> None:
    other_organization.memberships.create(user=owner, role="viewer")
    send(call("1"))
    send(call("2"), to=other_organization)
    client = Client()
    client.force_login(owner)
    assert client.get("/usage/summary").status_code == 422
    costs = {slug: client.get(f"/usage/summary?organization={slug}").json()["cost_usd"] for slug in ("acme", "globex")}
    assert costs == {"acme": "1", "globex": "2"}


def test_another_organizations_client_id_is_an_unknown_one(
    api: APIClient, other_organization: Organization, other_api: APIClient
) -> None:
    theirs = make_key(other_organization, Scope.USAGE_WRITE)
    assert theirs.client().post("/usage/events", call("1"), format="json").status_code == 200
    client_id = theirs.credential.client_id
    assert ask(other_api, f"client_id={client_id}")["cost_usd"] == "1"
    for unknown in (client_id, "ct_00000000000000000000", "'; --"):
        assert ask(api, f"client_id={unknown}")["requests"] == 0
        assert ask(api, f"client_id={unknown}", "credentials")["credentials"] == []


def test_an_empty_parameter_is_an_absent_one(api: APIClient, send: Send) -> None:
    send(call("1"))
    assert ask(api, "client_id=&model=&capability=&status=&range=")["cost_usd"] == "1"


def test_the_number_of_queries_is_fixed(
    api: APIClient, send: Send, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    send(*(call("1", model=f"m{number}", capability=f"c{number}") for number in range(50)))
    for _ in range(2):
        ask(api)
    # The credential's version; the tenant scope in a savepoint: begin, enter, leave, end. The rollups' tables
    # with the sums of unfolded events, which are cached.
    for path, queries in (("summary", 1), ("timeseries", 1), ("capabilities", 1), ("credentials", 2), ("requests", 1)):
        ask(api, "range=30d", path)
        with django_assert_num_queries(1 + 4 + queries):
            ask(api, "range=30d", path)
    fold(now=NOW)
    ask(api, "range=30d")  # sees that all is folded, which the next report begins with
    for path, queries in (("summary", 1), ("timeseries", 1), ("capabilities", 1), ("credentials", 2), ("requests", 1)):
        with django_assert_num_queries(1 + 4 + queries):
            ask(api, "range=30d", path)
