"""The request log: whatever the filters, its rows are the calls of `GET /usage/requests`, one by one and in its order.

That endpoint does not narrow by run, session, user and tag: which calls these are is taken from `GET /usage/events`.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.history import ODD, ZONE
from tests.browser.screens import DESK
from tests.browser.walks import (
    Rows,
    all_pages,
    answer,
    cells,
    choose,
    clear,
    click,
    count,
    dollars,
    field,
    fill,
    fill_period,
    follow,
    leaving,
    same_case,
    start,
)
from tests.conftest import Key

pytestmark = pytest.mark.usefixtures("history")

PER_PAGE = 50
HEADS = ("When", "Model", "Capability", "Status", "Tokens in", "Tokens out", "Cost", "Run, credential")
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
        at = datetime.fromisoformat(call["time"]).astimezone(ZoneInfo(ZONE))
        return [
            f"{at:%Y-%m-%d %H:%M:%S}".removesuffix(":00") + f" {ZONE}",
            f"{call['model']}\n{call['service']}",
            f"{call['capability'] or '-'}\n{call['endpoint']}",
            f"{status} Voided" if call["voided"] else status,
            count(call["prompt_tokens"]),
            count(call["completion_tokens"]),
            dollars(call["cost_usd"]) if call["cost_usd"] is not None else "Unpriced",
            f"{event['run_id'] or 'No run'}\n{self.names.get(call['client_id'], 'No credential')}",
        ]


def shown(page: Page) -> Rows:
    """Without how long ago a call was."""
    if page.get_by_role("heading", name="No matching calls").count():
        return []
    return [[when.partition("\n")[2], *others] for when, *others in cells(page, "Model calls", *HEADS)]


def assert_calls(page: Page, expected: Rows) -> None:
    """Those of the first page."""
    assert expected
    assert same_case(shown(page)) == same_case(expected[:PER_PAGE])


def assert_sorted(page: Page, expected: Rows) -> None:
    """The same calls, the most expensive first; those without a cost are the last."""
    found = same_case(shown(page))
    assert sorted(found) == sorted(same_case(expected))
    costs = [Decimal(row[COST].lstrip("$")) if row[COST] != "unpriced" else Decimal() for row in found]
    assert costs == sorted(costs, reverse=True)


def assert_spent(page: Page, api: APIClient, **query: str) -> None:
    """Above the calls of a day or a part of one."""
    reported = answer(api, "/usage/summary", **query)
    heading = page.get_by_role("heading", name=f"Breakdown of {dollars(reported['cost_usd'])}")
    expect(heading.locator("..")).to_contain_text(f"{count(reported['requests'])} model calls")


def test_rows_are_the_calls_of_the_api_whatever_is_filtered(
    browse: Browse, owner: User, api: APIClient, key: Key, gateway: Key
) -> None:
    calls = Calls(api, key, gateway)
    page = browse(owner, viewport=DESK)
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
    field(page, "Period").select_option("times")
    field(page, "From time").fill("2026-11-02T07:00")
    fill(page, To_time="2026-11-02T18:30")
    window: dict[str, Any] = {"start_date": "2026-11-02T07:00:00-05:00", "end_date": "2026-11-02T18:29:59.999999-05:00"}
    assert_calls(page, calls.rows(**window))
    assert_spent(page, api, **window)
    click(page, "Most expensive first")
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

    page.get_by_text("More filters", exact=True).click()
    choose(page, Capability="agents")
    assert_calls(page, calls.rows(range="30d", capability="agents"))
    fill(page, User="ada", Tag="env:prod")
    expect(field(page, "User")).to_have_value("ada")
    assert "user=ada" in page.url
    assert_calls(
        page,
        calls.rows(
            lambda event: event["user_id"] == "ada" and "env:prod" in event["tags"], range="30d", capability="agents"
        ),
    )
    choose(page, Capability="")
    fill(page, User="", Tag="", Session_id=ODD)
    assert_calls(page, calls.rows(lambda event: event["session_id"] == ODD, range="30d"))
    fill(page, Session_id="", Run_id="night-1/part-2")
    assert_calls(page, calls.rows(lambda event: event["run_id"] == "night-1/part-2", range="30d"))
    fill(page, Run_id="nobody's")
    expect(page.get_by_role("heading", name="No matching calls")).to_be_visible()
    clear(page)
    assert_reasons(page, calls)


def assert_pages(page: Page, every: Rows) -> None:
    """Forward to the last one, a page back on the way, and to the newest again."""
    click(page, "Older")
    assert_calls(page, every[PER_PAGE:])
    click(page, "Older")
    assert_calls(page, every[2 * PER_PAGE :])
    click(page, "Newer")
    assert_calls(page, every[PER_PAGE:])
    while page.get_by_role("link", name="Older").count():
        click(page, "Older")
    assert_calls(page, every[(len(every) - 1) // PER_PAGE * PER_PAGE :])
    click(page, "Newest")
    assert_calls(page, every)


def assert_reasons(page: Page, calls: Calls) -> None:
    """The first priced call of the page leads to how its cost is computed."""
    call, *_ = all_pages(calls.api, "/usage/requests", range="30d", model="gpt-4.1-mini")
    event = calls.events[call["id"]]
    choose(page, Model="gpt-4.1-mini")
    with leaving(page):
        page.locator("#live tbody tr").first.get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Cost", exact=True)).to_be_visible()
    table = page.get_by_role("region", name="How the cost is computed")
    expect(table).to_contain_text("$0.25 per million")
    expect(table.get_by_role("row", name="At the price of")).to_contain_text(dollars(event["cost_usd"]))
