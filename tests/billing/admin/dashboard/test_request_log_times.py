"""The request log of a time to the minute: for hours of the usage page's chart the calls that the API counts in them,
also where an hour comes twice or is a part of one (`test_calendar` has the hours of days in other zones)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.test import Client

from billing.rollups.fold import fold
from costtrack.calendar import Calendar, Span, Unit
from costtrack.clock import iso
from costtrack.money import usd
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.test_runs import text
from tests.billing.admin.tables import column, links, texts
from tests.conftest import Key
from tests.usage import Send

PAGE = "/o/acme/admin/requests/"
USAGE = "/o/acme/admin/usage/"

MINUTES = 17
DAYS = (
    # By a whole hour at three: the third and the fourth hour are the same one on a clock.
    ("Europe/Berlin", date(2026, 10, 25), 25, (0, 2, 3, 24)),
    # By half an hour at two: the second hour is a part of one, and from there on hours begin amid hours of UTC.
    ("Australia/Lord_Howe", date(2026, 4, 5), 25, (0, 1, 2, 24)),
)


@dataclass(frozen=True)
class Day:
    """A day in the past, with a call every few minutes of it and around it, seen from five past the next midnight."""

    span: Span
    hours: list[Span]
    indexes: tuple[int, ...]
    """Of the hours that are opened: the first, the last, and those around the change."""
    calls: list[datetime]

    def calls_in(self, span: Span) -> int:
        return sum(span.start <= at < span.end for at in self.calls)


@pytest.fixture(params=DAYS, ids=lambda day: f"{day[0]} {day[1]}")
def day(request: pytest.FixtureRequest, organization: Organization, send: Send) -> Iterator[Day]:
    zone, on, number, indexes = request.param
    Organization.objects.filter(pk=organization.pk).update(time_zone=zone)
    calendar = Calendar(ZoneInfo(zone))
    span = calendar.days(on, on)
    around = span.start - timedelta(hours=2)
    calls = [around + index * timedelta(minutes=MINUTES) for index in range(29 * 60 // MINUTES)]
    now = span.end + timedelta(minutes=5)
    with time_machine.travel(now, tick=False):
        calls = [at for at in calls if at < now]
        for folded in (True, False):
            send(
                *(
                    {
                        "occurred_at": iso(at),
                        "model": ("gpt-5", "o3")[index % 2],
                        "cost_usd": f"0.{index + 1:03}",
                        "status": "failure" if index % 5 == 0 else "success",
                    }
                    for index, at in enumerate(calls)
                    if (index % 3 == 0) == folded
                )
            )
            if folded:
                fold(now=now)
        hours = list(calendar.periods(Unit.HOUR, span))
        assert len(hours) == number
        yield Day(span, hours, indexes, calls)


def usage(browser: Client, query: str) -> Any:
    response = browser.get(f"{USAGE}?{query}")
    assert response.status_code == 200
    return response.context["usage"]


def test_an_hour_of_a_chart_leads_to_exactly_its_calls(day: Day, owner: User, sign_in: SignIn, key: Key) -> None:
    browser = sign_in(owner)
    shown = usage(browser, "range=yesterday&view=requests&group_by=none")
    succeeded, failed = shown.chart.lines
    assert len(shown.chart.urls) == len(day.hours)
    assert [sum(both) for both in zip(succeeded.values, failed.values, strict=True)] == [
        day.calls_in(hour) for hour in day.hours
    ]
    for index in day.indexes:
        hour = day.hours[index]
        page = browser.get(shown.chart.urls[index])
        assert page.context["period"].span == hour
        between = {"start_date": iso(hour.start), "end_date": iso(hour.end), "limit": "200"}
        answer = key.client().get("/usage/requests", between)
        rows = {url.split("/")[-3] for url in links(page.context["table"], "When")}
        assert rows == {item["id"] for item in answer.json()["results"]}
        assert len(rows) == day.calls_in(hour)
        for line in (succeeded, failed):
            assert len(browser.get(line.urls[index]).context["table"].rows) == line.values[index]


def test_the_sums_above_the_calls_are_those_of_the_api(day: Day, owner: User, sign_in: SignIn, key: Key) -> None:
    browser = sign_in(owner)
    urls = usage(browser, "range=yesterday").chart.urls
    assert len(urls) == len(day.hours)
    for index in day.indexes:
        hour = day.hours[index]
        spent = browser.get(urls[index]).context["spent"]
        query = {"start_date": iso(hour.start), "end_date": iso(hour.end)}
        answer = key.client().get("/usage/summary", query).json()
        assert (spent.cost, spent.calls) == (usd(Decimal(answer["cost_usd"])), str(answer["requests"]))
        models = key.client().get("/usage/timeseries", {**query, "group_by": "model", "view": "cost"}).json()["series"]
        assert [(row["Models"], row["Cost"]) for row in texts(spent.tables[0])] == [
            (item["name"], usd(Decimal(item["total"]["cost_usd"]))) for item in models
        ]


def test_the_most_expensive_hour_is_that_of_the_api(day: Day, owner: User, sign_in: SignIn, key: Key) -> None:
    browser = sign_in(owner)
    most_expensive = max(day.hours, key=lambda hour: Decimal(summary(key, hour)["cost_usd"]))
    for query in ("", "&view=requests", "&view=tokens&group_by=none", "&group_by=status"):
        peak = usage(browser, f"range=yesterday{query}").peak
        assert peak.title == "Most expensive hour"
        assert peak.cost == usd(Decimal(summary(key, most_expensive)["cost_usd"]))
        log = browser.get(peak.url)
        assert log.context["period"].span == most_expensive
        assert log.context["spent"].cost == peak.cost
    costs = [Decimal(cost[1:]) for cost in column(log.context["table"], "Cost")]
    assert costs == sorted(costs, reverse=True)
    assert sum(costs) == Decimal(peak.cost[1:])


def summary(key: Key, hour: Span) -> Any:
    query = {"start_date": iso(hour.start), "end_date": iso(hour.end)}
    return key.client().get("/usage/summary", query).json()


# --- Filters that say a time -----------------------------------------------------------------------------------


@pytest.fixture
def at_noon() -> Iterator[None]:
    with time_machine.travel(datetime.fromisoformat("2026-11-02T12:00Z"), tick=False):
        yield


@pytest.mark.usefixtures("at_noon")
def test_the_fields_show_the_time_and_can_be_cleared(owner: User, organization: Organization, sign_in: SignIn) -> None:
    organization.time_zone = "Europe/Berlin"
    organization.save()
    browser = sign_in(owner)
    page = browser.get(PAGE, {"start": "2026-11-01T14:00", "end": "2026-11-01T15:30", "model": "o3"})
    shown = " ".join(page.content.decode().split())
    assert 'value="2026-11-01T14:00"' in shown
    assert 'value="2026-11-01T15:30"' in shown
    assert '<option value="times" selected>' in shown
    assert "ct-filters ct-times" in shown
    assert ">Clear</a>" in shown
    assert page.context["period"].span.start == datetime.fromisoformat("2026-11-01T13:00Z")
    assert page.context["period"].span.end == datetime.fromisoformat("2026-11-01T14:30Z")
    day = urlsplit(page.context["day_url"])
    assert (day.path, parse_qs(day.query)["start_date"]) == (USAGE, ["2026-11-01"])
    assert parse_qs(day.query)["model"] == ["o3"]


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"start": "2026-11-02T10:00"}, "Nov 2, 2026, 10:00 AM to 12:00 AM"),  # until the end of the day
        ({"start": "2026-11-05T10:00"}, "Nov 5, 2026, 10:00 AM to 11:00 AM"),
        ({"start": "2026-11-01T10:00", "start_date": "2026-10-01"}, "Nov 1, 2026, 10:00 AM to Nov 3, 2026, 12:00 AM"),
        # Whoever has no scripts sends the fields of the period before along.
        ({"range": "today", "start": "2026-11-01T10:00", "end": "nonsense"}, "Today"),
        (
            {"range": "custom", "start_date": "2026-10-01", "end_date": "2026-10-02", "start": "x"},
            "Oct 1 to Oct 2, 2026",
        ),
        (
            {"range": "times", "start": "2026-11-01T10:00", "end": "2026-11-01T11:00", "start_date": "x"},
            "Nov 1, 2026, 10:00 AM to 11:00 AM",
        ),
    ],
)
def test_one_period_counts_and_that_is_the_one_that_is_chosen(
    query: dict[str, str], name: str, owner: User, sign_in: SignIn
) -> None:
    page = sign_in(owner).get(PAGE, query)
    assert not page.context["form"].errors
    assert page.context["period"].name == name


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"start": "soon"}, "Enter a time such as 2026-11-20T14:00."),
        ({"start": "2026-11-01T10:00", "end": "\0"}, "Enter a time such as"),
        ({"start": "2026-11-01T10:00", "end": "2026-11-01T10:00"}, "The end must be after the start."),
        ({"end": "2026-11-01T10:00"}, "Enter a start time."),
        ({"range": "times"}, "Enter a start time."),
        ({"start": "1999-12-31T23:00"}, "Enter a year from 2000 to 2199."),
        ({"start": "9" * 400}, "Enter a time such as"),
        ({"sort_by": "size"}, "Order: Select a valid choice"),
    ],
)
def test_what_cannot_be_a_time_is_said_beside_the_field(
    query: dict[str, str], message: str, owner: User, sign_in: SignIn
) -> None:
    page = text(sign_in(owner), PAGE, **query)
    assert message in page
    assert "These filters are invalid" in page


@pytest.mark.usefixtures("at_noon")
def test_a_time_that_clocks_skip_is_said(owner: User, organization: Organization, sign_in: SignIn) -> None:
    Organization.objects.filter(pk=organization.pk).update(time_zone="Europe/Berlin", plan="enterprise")
    page = text(sign_in(owner), PAGE, start="2026-03-29T02:30", end="2026-03-29T03:30")
    assert "This time does not exist" in page


@pytest.mark.usefixtures("at_noon")
def test_plans_cut_times_too(owner: User, operator: User, sign_in: SignIn) -> None:
    long_ago = {"start": "2026-01-01T10:00", "end": "2026-01-01T11:00"}
    refused = sign_in(owner).get(PAGE, long_ago)
    assert refused.status_code == 403
    assert "/o/acme/admin/plan/" in refused.content.decode()
    assert sign_in(operator).get(PAGE, long_ago).status_code == 200
