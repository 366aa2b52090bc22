"""The ledger: its lists and their filters beside what the API says was recorded (events, runs, batches, what has no
price, what could not be read, and what was priced again), and the way from the usage to the reasons of a call's cost.
"""

import re
from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect
from rest_framework.test import APIClient

from costtrack.date_text import recorded_time_text
from organizations.models import Organization, User
from tests.browser import clicks
from tests.browser.conftest import Browse
from tests.browser.history import ODD, ZONE
from tests.browser.plain_pages import PlainPage
from tests.browser.walks import (
    all_pages,
    answer,
    count,
    dollars,
    follow,
    listed,
    narrow,
    row_of,
    search,
    start,
)
from tests.html import Element

PER_PAGE = 50
KINDS = {
    "model_call": "Model call",
    "tool_call": "Tool call",
    "session_summary": "Session summary",
    "adjustment": "Adjustment",
}

OCTOBER = {"output_usd_per_million": "8", "cache_read_usd_per_million": "0.5", "effective_from": "2026-10-01T00:00:00Z"}

Event = dict[str, Any]


@pytest.mark.usefixtures("history", "usage")
def test_lists_equal_the_api_with_any_filter(operator: User, api: APIClient) -> None:
    dry_run(api)
    every = all_pages(api, "/usage/events")
    page = PlainPage(operator)
    start(page)
    walk_events(page, api, every)
    walk_runs(page, every)
    walk_batches(page, every)
    walk_unpriced_events(page, [event for event in every if event["unpriced_reason"]])
    follow(page, "Repricing")
    assert_repricing(page, answer(api, "/organizations/acme/prices/reprice")["results"])


def walk_events(page: PlainPage, api: APIClient, every: list[Event]) -> None:
    follow(page, "All events")
    assert_events(page, every)
    narrow(page, when_from="2026-11-01", when_to="2026-11-01")
    on_sunday = all_pages(api, "/usage/events", start_date="2026-11-01", end_date="2026-11-01")
    assert_events(page, on_sunday)
    hour = on_sunday[0]["occurred_at"][:13]
    narrow(page, when_from="", when_to="", hour=f"{hour}:00Z")
    assert_events(page, [event for event in every if event["occurred_at"].startswith(hour)])
    narrow(page, hour="", status="failure", kind="model_call")
    assert_events(page, all_pages(api, "/usage/events", status="failure"))
    narrow(page, status="", kind="", cost_source="reported", model="GEMINI")
    gemini = all_pages(api, "/usage/events", model="gemini-2.5-flash")
    assert_events(page, [event for event in gemini if event["cost_source"] == "reported"])
    narrow(page, cost_source="", model="", when_to="2020-01-01")
    assert "No matches" in page.headings()
    page.click("Show all")
    assert_events(page, every)
    narrow(page, run="night-2/part-1")
    assert_events(page, all_pages(api, "/usage/events", run_id="night-2/part-1"))
    narrow(page, run="")
    search(page, ODD)
    assert_events(page, all_pages(api, "/usage/events", run_id=ODD))  # it is a session's, too: the run comes first


def walk_runs(page: PlainPage, every: list[Event]) -> None:
    follow(page, "All runs")
    assert {row["Run"] for row in listed(page)} == {event["run_id"] for event in every} - {""}
    narrow(page, workflow="nightly", parent="night-3")
    assert [row["Run"] for row in listed(page)] == ["night-3/part-1"]
    narrow(page, workflow="", parent="")
    search(page, ODD)
    assert [row["Run"] for row in listed(page)] == [ODD]


def walk_batches(page: PlainPage, every: list[Event]) -> None:
    follow(page, "Batches")
    assert_batches(page, every)
    smallest = min((events for events in events_of_batches(every) if len(events) > 1), key=len)
    page.click(count(len(smallest)))
    assert_events(page, smallest)
    follow(page, "Batches")
    narrow(page, when_to="2026-11-02")  # a day of Acme's time zone: they were received that evening
    assert_batches(page, every)
    narrow(page, when_to="2026-11-01")
    assert listed(page) == []


def walk_unpriced_events(page: PlainPage, unpriced: list[Event]) -> None:
    follow(page, "Unpriced")
    assert_unpriced_events(page, unpriced)
    narrow(page, reason="no_price", model="in-house")
    assert listed(page) == []
    narrow(page, model="house-13b")
    assert_unpriced_events(page, [event for event in unpriced if event["model"] == "house-13b"])

    follow(page, "Quarantine")
    assert {row["Record"] for row in listed(page)} == {"early-1", "bad-1"}
    narrow(page, state="resolved")
    assert listed(page) == []


def dry_run(api: APIClient) -> None:
    """What another price would have made of a month."""
    for path, body in (
        ("prices", {"provider": "openai", "model": "gpt-4.1", "input_usd_per_million": "2", **OCTOBER}),
        ("prices/reprice", {"start": "2026-10-01", "end": "2026-11-03", "reason": "A test", "dry_run": True}),
    ):
        answered = api.post(f"/organizations/acme/{path}", body, format="json")
        assert answered.status_code < 300, answered.content


# --- The lists beside the answers ------------------------------------------------------------------------------


def assert_events(page: PlainPage, expected: list[Event]) -> None:
    assert expected
    assert [cells_of(row) for row in listed(page)] == [as_listed(event) for event in expected[:PER_PAGE]]


def cells_of(row: dict[str, str]) -> list[str]:
    heads = ("When", "Kind", "Model or tool", "Run", "Tokens in / out", "Cost", "Cost source")
    return [" ".join(row[head].casefold().split()) for head in heads]


def local(occurred_at: str) -> str:
    """As the organization's clocks show it."""
    return recorded_time_text(datetime.fromisoformat(occurred_at), ZoneInfo(ZONE))


def as_listed(event: Event) -> list[str]:
    sent = event["input_tokens"] + event["cache_read_tokens"] + event["cache_creation_tokens"]
    name = event["model"] or event["tool"] or event["capability"] or event["endpoint"] or "-"
    cells = (
        local(event["occurred_at"]),
        KINDS[event["kind"]] + (" failed" if event["status"] == "failure" else ""),
        f"{name} {event['service']}",
        event["run_id"] or "-",
        f"{count(sent)} / {count(event['output_tokens'])}" if sent or event["output_tokens"] else "-",
        dollars(event["cost_usd"]) if event["cost_usd"] is not None else "unpriced: no price",
        event["cost_source"],
    )
    return [" ".join(cell.casefold().split()) for cell in cells]


def assert_batches(page: PlainPage, every: list[Event]) -> None:
    expected = sorted(
        [
            count(len(events)),
            count_or_nothing(sum(bool(event["unpriced_reason"]) for event in events)),
            dollars(sum(Decimal(event["cost_usd"] or event["compute_cost_usd"]) for event in events)),
        ]
        for events in events_of_batches(every)
    )
    assert sorted([row["Events"], row["Unpriced"], row["Known cost"]] for row in listed(page)) == expected


def events_of_batches(every: list[Event]) -> list[list[Event]]:
    """A batch and its events have all but the last four digits of their ids in common."""
    batches: dict[str, list[Event]] = defaultdict(list)
    for event in every:
        batches[event["id"][:-4]].append(event)
    return list(batches.values())


def count_or_nothing(number: int) -> str:
    return count(number) if number else "-"


def assert_repricing(page: PlainPage, answered: list[dict[str, Any]]) -> None:
    (reported,), (row,) = answered, listed(page)
    assert reported["changed"] > 0
    assert row["State"].casefold() == reported["state"]
    assert row["Changed"] == count(reported["changed"])
    assert Decimal(row["Difference"].lstrip("+").replace("$", "")) == Decimal(reported["difference_usd"])


def assert_unpriced_events(page: PlainPage, unpriced: list[Event]) -> None:
    shown = Counter((row["Occurred"], row["Model"].partition("\n")[0]) for row in listed(page))
    expected = Counter((local(event["occurred_at"]), event["model"]) for event in unpriced)
    assert shown <= expected
    assert shown.total() == min(expected.total(), PER_PAGE)


ROWS = "#result_list tbody"


@pytest.mark.usefixtures("usage")
def test_from_the_usage_to_the_reasons_of_a_cost(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto("/admin/")
    expect(page.locator(".ct-figure", has_text="Cost").locator("strong").first).to_have_text("$0.504")
    clicks.follow(page, "All events")

    expect(page.locator(ROWS)).to_have_count(5)
    expect(page.get_by_text("unpriced: no price")).to_be_visible()
    page.locator("#searchbar").fill("call-1")
    page.keyboard.press("Enter")
    expect(page.locator(ROWS)).to_have_count(1)
    page.locator(ROWS).get_by_role("link").first.click()

    expect(page).to_have_title("call-1 · All events · Acme Research | costtrack")
    expect(page.get_by_text("Computed from the price at the time of the call.")).to_be_visible()
    line = page.locator(".ct-table tbody tr").first
    assert line.locator("th, td").all_inner_texts() == ["Input", "1,200", "$1.25 per million", "$0.0015"]
    expect(page.locator(".ct-table tfoot .ct-number").first).to_have_text("$0.00184")

    page.get_by_role("link", name="openai/gpt-5").click()
    expect(page).to_have_title(re.compile("openai/gpt-5"))
    page.go_back()
    page.locator(".ct-details a").last.click()
    expect(page).to_have_title(re.compile("Batches"))
    page.get_by_role("link", name="View events").click()
    expect(page.locator(ROWS)).to_have_count(5)


@pytest.mark.usefixtures("usage")
def test_an_operator_chooses_the_organization(
    browse: Browse, operator: User, organization: Organization, other_organization: Organization
) -> None:
    page = browse(operator)
    page.goto("/admin/billing/usageevent/")
    expect(page.locator(".ct-bar")).to_contain_text(organization.name)
    page.locator("#changelist button[aria-controls=changelist-filter]").click()
    page.locator("#changelist-filter .select2-selection").first.click()
    page.locator(".select2-results__option", has_text=other_organization.name).click()
    page.get_by_role("button", name="Apply Filters").click()
    expect(page.locator(".ct-bar")).to_contain_text(other_organization.name)
    expect(page.locator(ROWS)).to_contain_text("globex-model")


@pytest.mark.usefixtures("usage")
def test_a_runs_cost_is_shown_with_the_runs_below_it(owner: User) -> None:
    page = PlainPage(owner)
    page.goto("/admin/billing/usageevent/")
    page.click("nightly", within="#result_list")
    assert len(listed(page)) == 1
    page.goto("/admin/billing/run/")
    page.goto(next(link["href"] for link in row_of(page, "report").all("a[href]") if link.text == "nightly"))
    costs = {card.first("h2").text: card.first(".ct-amount").text for card in cards_with_amounts(page)}
    assert costs == {"Cost of this run": "$0.00184", "Cost with child runs": "$0.502"}


def cards_with_amounts(page: PlainPage) -> list[Element]:
    return [card for card in page.document.all(".ct-card") if card.all(".ct-amount")]
