"""The request log: whatever the filters, its rows are the calls of `GET /usage/requests`, one by one and in its order.

That endpoint does not narrow by run, session, user and tag: which calls these are is taken from `GET /usage/events`.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rest_framework.test import APIClient

from billing.admin.components.formatting import middle
from costtrack.date_text import recorded_time_text
from organizations.models import User
from tests.browser.history import ODD, ZONE
from tests.browser.plain_pages import PlainPage
from tests.browser.walks import (
    Rows,
    all_pages,
    answer,
    cells,
    choose,
    clear,
    count,
    dollars,
    fill,
    fill_period,
    follow,
    same_case,
    start,
    table,
)
from tests.conftest import Key

pytestmark = pytest.mark.usefixtures("history")

PER_PAGE = 50
HEADS = ("When", "Model", "Status", "Tokens", "Cost", "Run, credential")
COST = HEADS.index("Cost")

Item = dict[str, Any]


class Calls:
    """What the API knows of the calls: each with its event, and by whom it was sent."""

    def __init__(self, api: APIClient, *keys: Key) -> None:
        self.api = api
        self.events = {event["id"]: event for event in all_pages(api, "/usage/events")}
        self.names = {key.credential.client_id: key.credential.name for key in keys}

    def rows(self, is_included: Callable[[Item], bool] = lambda _: True, **query: str) -> Rows:
        calls = all_pages(self.api, "/usage/requests", **query)
        return [self._row(call, self.events[call["id"]]) for call in calls if is_included(self.events[call["id"]])]

    def _row(self, call: Item, event: Item) -> list[str]:
        status = f"{call['status'].capitalize()} {call['status_code'] or ''}".strip()
        about = (call["service"], call["capability"], call["endpoint"])
        return [
            recorded_time_text(datetime.fromisoformat(call["time"]), ZoneInfo(ZONE)),
            f"{call['model']}\n{middle(' · '.join(filter(None, about)), 40)}",
            f"{status} Voided" if call["voided"] else status,
            f"{count(call['prompt_tokens'])} in\n{count(call['completion_tokens'])} out",
            dollars(call["cost_usd"]) if call["cost_usd"] is not None else "Unpriced",
            f"{event['run_id'] or 'No run'}\n{self.names.get(call['client_id'], 'No credential')}",
        ]


def shown(page: PlainPage) -> Rows:
    """Without how long ago a call was."""
    if "No matching calls" in page.headings():
        return []
    return [[when.partition("\n")[2], *others] for when, *others in cells(page, "Model calls", *HEADS)]


def assert_calls(page: PlainPage, expected: Rows) -> None:
    """Those of the first page."""
    assert expected
    assert same_case(shown(page)) == same_case(expected[:PER_PAGE])


def assert_sorted(page: PlainPage, expected: Rows) -> None:
    """The same calls, the most expensive first; those without a cost are the last."""
    found = same_case(shown(page))
    assert sorted(found) == sorted(same_case(expected))
    costs = [Decimal(row[COST].lstrip("$")) if row[COST] != "unpriced" else Decimal() for row in found]
    assert costs == sorted(costs, reverse=True)


def assert_spent(page: PlainPage, api: APIClient, **query: str) -> None:
    """Above the calls of a day or a part of one."""
    reported = answer(api, "/usage/summary", **query)
    assert f"Breakdown of {dollars(reported['cost_usd'])}" in page.headings()
    (heading,) = (item for item in page.document.all("h2") if item.text.startswith("Breakdown of"))
    assert heading.parent is not None
    assert f"{count(reported['requests'])} model calls" in heading.parent.text


def test_rows_are_the_calls_of_the_api_with_any_filter(owner: User, api: APIClient, key: Key, gateway: Key) -> None:
    calls = Calls(api, key, gateway)
    page = PlainPage(owner)
    start(page)
    follow(page, "Request log")
    every = calls.rows(range="30d")
    assert_calls(page, every)
    assert_pages(page, every)
    fill_period(page, "2026-10-31", "2026-11-01")
    assert_calls(page, calls.rows(start_date="2026-10-31", end_date="2026-11-01"))
    choose(page, Period="yesterday")
    assert_calls(page, calls.rows(range="yesterday"))
    assert_spent(page, api, range="yesterday")
    fill(page, Period="times", From_time="2026-11-02T07:00", To_time="2026-11-02T18:30")
    window: dict[str, Any] = {"start_date": "2026-11-02T07:00:00-05:00", "end_date": "2026-11-02T18:29:59.999999-05:00"}
    assert_calls(page, calls.rows(**window))
    assert_spent(page, api, **window)
    page.click("Most expensive first")
    assert_sorted(page, calls.rows(**window))
    clear(page)

    query: dict[str, Any] = {"range": "30d"}
    for label, name, value in (
        ("API credential", "client_id", gateway.credential.client_id),
        ("Model", "model", "gpt-4.1"),
        ("Status", "status", "failure"),
        ("API credential", "client_id", "none"),
        ("Model", "model", ""),
    ):
        choose(page, **{label: value})
        query[name] = value
        assert_calls(page, calls.rows(**query))
    clear(page)

    choose(page, Capability="agents")
    assert_calls(page, calls.rows(range="30d", capability="agents"))
    fill(page, User="ada", Tag="env:prod")
    assert page.field("User")["value"] == "ada"
    assert "user_id=ada" in page.url
    assert_calls(
        page,
        calls.rows(
            lambda event: event["user_id"] == "ada" and "env:prod" in event["tags"], range="30d", capability="agents"
        ),
    )
    choose(page, Capability="")
    fill(page, User="", Tag="", Session=ODD)
    assert_calls(page, calls.rows(lambda event: event["session_id"] == ODD, range="30d"))
    fill(page, Session="", Run="night-1/part-2")
    assert_calls(page, calls.rows(lambda event: event["run_id"] == "night-1/part-2", range="30d"))
    fill(page, Run="unknown")
    assert shown(page) == []
    assert "No matching calls" in page.headings()
    clear(page)
    assert_reasons(page, calls)


def assert_pages(page: PlainPage, every: Rows) -> None:
    """Forward to the last one, a page back on the way, and to the newest again."""
    page.click("Older")
    assert_calls(page, every[PER_PAGE:])
    page.click("Older")
    assert_calls(page, every[2 * PER_PAGE :])
    page.click("Newer")
    assert_calls(page, every[PER_PAGE:])
    while "Older" in page.names("link"):
        page.click("Older")
    assert_calls(page, every[(len(every) - 1) // PER_PAGE * PER_PAGE :])
    page.click("Newest")
    assert_calls(page, every)


def assert_reasons(page: PlainPage, calls: Calls) -> None:
    """The first priced call of the page leads to how its cost is computed."""
    call, *_ = all_pages(calls.api, "/usage/requests", range="30d", model="gpt-4.1-mini")
    event = calls.events[call["id"]]
    choose(page, Model="gpt-4.1-mini")
    page.open("#live tbody tr")
    assert "Cost" in page.headings()
    explained = table(page, "How the cost is computed")
    assert "$0.25 per million" in explained.text
    (total,) = (row.text for row in explained.all("tr") if "At the price of" in row.text)
    assert dollars(event["cost_usd"]) in total
