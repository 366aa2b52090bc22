"""Sessions and executions: lists, one of each, and finding one, beside `GET /costs/...` (document 003)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from costtrack.clock import utc_now
from organizations.models import User
from tests.browser import clicks
from tests.browser.conftest import Browse
from tests.browser.history import ODD
from tests.browser.plain_pages import PlainPage
from tests.browser.screens import DESK, HAND, assert_well_formed
from tests.browser.walks import (
    all_pages,
    answer,
    beside,
    columns,
    count,
    dollars,
    drawn,
    figures,
    follow,
    most_expensive_first,
    rows,
    same_case,
    share,
    start,
)
from tests.usage import Send

Costs = dict[str, Any]

LIST = "/o/acme/admin/sessions/"


@pytest.mark.usefixtures("history")
def test_lists_and_pages_say_what_the_api_says(owner: User, api: APIClient) -> None:
    page = PlainPage(owner)
    start(page)
    follow(page, "Sessions")
    assert_all(page, api)
    assert_listed(page, "Sessions", answer(api, "/costs/sessions", limit=100))
    find(page, "nobody's")
    assert page.document.first("[role=alert]").text == "No session or execution has this id."
    for session_id in (ODD, "session-4"):
        find(page, session_id)
        assert page.document.first("#opaque-id").text == session_id
        assert_session(page, api, session_id)
        page.click("Back to sessions")
    page.click("Executions")
    assert_listed(page, "Executions", answer(api, "/costs/executions", limit=100))
    page.click("execution-1")
    assert_execution(page, api, "execution-1")


def find(page: PlainPage, session_id: str) -> None:
    page.fill("Find by id", session_id)
    page.send(page.field("Find by id").closest("form"))


@pytest.mark.usefixtures("history")
def test_a_session_is_found_in_the_browser_and_its_chart_is_drawn(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    clicks.start(page)
    clicks.follow(page, "Sessions")
    page.get_by_label("Find by id").fill("session-4")
    with clicks.leaving(page):
        page.keyboard.press("Enter")
    expect(page.locator("#opaque-id")).to_have_text("session-4")
    clicks.assert_paints_what_was_sent(page)


# --- The pages beside the answers ------------------------------------------------------------------------------


def assert_all(page: PlainPage, api: APIClient) -> None:
    reported = answer(api, "/costs/summary")
    shown = figures(page)
    assert shown["Cost of all sessions"] == dollars(reported["total_cost_usd"])
    assert shown["Sessions"] == count(reported["total_sessions"])
    assert shown["Executions"] == count(reported["total_executions"])
    assert shown["Tokens"] == count(reported["total_tokens"])
    assert shown["Tool calls"] == count(reported["total_tool_calls"])
    assert columns(page, "Most expensive models", "Model", "Cost") == [
        [entry["model"], dollars(entry["cost_usd"])] for entry in reported["top_models"]
    ]
    assert columns(page, "Most expensive sessions", "Session", "Tokens", "Cost") == [
        [entry["session_id"], count(entry["tokens"]), dollars(entry["cost_usd"])] for entry in reported["top_sessions"]
    ]


def assert_listed(page: PlainPage, tab: str, reported: list[Costs]) -> None:
    head, is_over = ("Session", "is_finalized") if tab == "Sessions" else ("Execution", "is_complete")
    title = f"The newest {tab.lower()}"
    assert columns(page, title, head, "Calls", "Tokens", "Cost") == [
        [
            entry[f"{head.lower()}_id"],
            f"{count(entry['turns'])} model, {count(entry['tool_calls'])} tool",
            count(entry["total_tokens"]),
            dollars(entry["total_cost_usd"]),
        ]
        for entry in reported
    ]
    states = [state.casefold() for (state,) in columns(page, title, "State")]
    assert [state in ("finalized", "complete") for state in states] == [entry[is_over] for entry in reported]


def assert_session(page: PlainPage, api: APIClient, session_id: str) -> None:
    reported = answer(api, f"/costs/sessions/{quote(session_id, safe='')}", include_breakdown="true")
    assert_figures(page, reported)
    assert_parts(page, "Token cost by model", reported["cost_by_model"])
    assert_parts(page, "Compute cost by tool", reported["cost_by_tool"])
    estimated = {tool: dollars(cost) for tool, cost in reported["cost_by_tool_tokens"].items()}
    by_tool = [
        [tool, count(tokens), estimated.get(tool, "not known")] for tool, tokens in reported["tokens_by_tool"].items()
    ]
    if by_tool:
        assert sorted(columns(page, "Tokens by tool", "Tool", "Tokens", "Estimated cost")) == sorted(by_tool)
    lines = drawn(page)
    assert sum(lines["Models"]) == pytest.approx(float(reported["token_cost_usd"]))
    assert sum(lines["Tools and compute"]) == pytest.approx(float(reported["compute_cost_usd"]))

    events = all_pages(api, "/usage/events", session_id=session_id)
    calls = [event for event in events if event["kind"] in ("model_call", "tool_call")]
    listed = [cells for cells in rows(page, "Calls") if cells[1].startswith(("Model call", "Tool call"))]
    assert [cells[1].partition("\n")[2] for cells in listed] == [
        " · ".join(name for name in (event["service"], event["model"], event["tool"]) if name) for event in calls
    ]
    corrected = {event["adjusts"] for event in events if event["adjusts"]}
    for cells, event in zip(listed, calls, strict=True):
        if event["id"] not in corrected:
            assert cells[-1] == (dollars(event["cost_usd"]) if event["cost_usd"] is not None else "no price yet")


def assert_execution(page: PlainPage, api: APIClient, execution_id: str) -> None:
    reported = answer(api, f"/costs/executions/{execution_id}", include_breakdown="true", include_session_ids="true")
    assert_figures(page, reported)
    assert figures(page)["Sessions"] == count(reported["session_count"])
    sessions = {entry: answer(api, f"/costs/sessions/{quote(entry, safe='')}") for entry in reported["session_ids"]}
    costs = {session_id: costs["total_cost_usd"] for session_id, costs in sessions.items()}
    assert_parts(page, "Cost by phase", reported["cost_by_phase"])
    assert_parts(page, "Cost by session", costs)
    assert_parts(page, "Token cost by model", reported["cost_by_model"])
    assert_parts(page, "Compute cost by tool", reported["cost_by_tool"])
    bars = [item.lines for item in page.document.all("li") if "lasted" in item.text]
    assert sorted(lines[0] for lines in bars) == sorted(costs)
    assert page.document.all("canvas") == []


def assert_figures(page: PlainPage, reported: Costs) -> None:
    shown = figures(page)
    assert shown["Cost"] == dollars(reported["total_cost_usd"])
    assert shown["Tokens"] == count(reported["total_tokens"])
    assert shown["Model calls"] == count(reported["turns"])
    parts = f"{dollars(reported['token_cost_usd'])} models, {dollars(reported['compute_cost_usd'])} tools and compute"
    assert parts in beside(page, "Cost")
    assert f"{count(reported['input_tokens'])} in, {count(reported['output_tokens'])} out" in beside(page, "Tokens")
    caches = f"{count(reported['cache_read_tokens'])} read, {count(reported['cache_creation_tokens'])} written"
    assert caches in beside(page, "Tokens")
    assert f"Tool calls: {count(reported['tool_calls'])}" in beside(page, "Model calls")


def assert_parts(page: PlainPage, name: str, amounts: dict[str, str]) -> None:
    """The most expensive first, with their parts of the whole."""
    head = name.rpartition(" ")[2].capitalize()
    if not amounts:
        assert f"No {head.lower()}s." in page.text
        return
    whole = sum((Decimal(amount) for amount in amounts.values()), Decimal())
    expected = [
        [part, dollars(amount), share(amount, whole)]
        for part, amount in most_expensive_first(amounts.items(), lambda item: item[1])
    ]
    assert same_case(columns(page, name, head, "Cost", "Share")) == same_case(expected), name


# --- Long lists and long names ---------------------------------------------------------------------------------


@pytest.fixture
def long_names(send: Send) -> None:
    """A session of 61 calls, and ids as long as they can be."""
    now = utc_now()

    def at(seconds: int) -> str:
        return (now - timedelta(hours=1) + timedelta(seconds=seconds)).isoformat()

    reported = {"execution_id": ODD, "workflow_id": "report", "model": "gpt-5", "service": "openai", "cost_usd": "0.5"}
    send(
        *({**reported, "session_id": "plan", "phase_id": "plan", "occurred_at": at(20 * n)} for n in range(60)),
        {**reported, "session_id": ODD, "phase_id": "build", "occurred_at": at(600), "input_tokens": 12_345},
        {"session_id": "plan", "kind": "tool_call", "tool": "x" * 200, "tool_result_tokens": 9, "occurred_at": at(30)},
        {"session_id": "y" * 255, "execution_id": "z" * 255, "model": "m", "occurred_at": at(700)},
        now=now,
    )


def heading(page: Page, text: str) -> None:
    expect(page.locator("h2", has_text=text).first).to_be_visible()


@pytest.mark.usefixtures("long_names")
def test_pages_with_long_names_fit_a_hand(browse: Browse, viewer: User) -> None:
    page = browse(viewer, viewport=HAND, color_scheme="dark")
    page.goto(LIST)
    assert_well_formed(page)
    page.get_by_role("link", name="Executions", exact=True).click()
    assert_well_formed(page)
    page.get_by_role("link", name=ODD, exact=True).first.click()
    expect(page.locator("#opaque-id")).to_have_text(ODD)
    heading(page, "Timeline")
    assert_well_formed(page)
    page.locator(".ct-timeline").get_by_role("link", name=ODD, exact=True).click()
    expect(page.locator("#opaque-id")).to_have_text(ODD)
    heading(page, "Calls")
    assert_well_formed(page)
    page.get_by_role("link", name="Model call").click()
    assert_well_formed(page)


@pytest.mark.usefixtures("long_names")
def test_older_calls_are_a_page_further_and_unknown_ids_lead_back(browse: Browse, owner: User) -> None:
    page = browse(owner, refused_with=404, viewport=DESK)
    page.goto(f"{LIST}s/plan/")
    calls = page.get_by_role("region", name="Calls").locator("tbody tr")
    expect(calls).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(calls).to_have_count(11)
    page.get_by_role("link", name="Newest").click()
    expect(calls).to_have_count(50)

    page.goto("/o/acme/admin/executions/nobody/")
    heading(page, "No match for this id")
    page.get_by_role("link", name="Back to executions").click()
    heading(page, "The newest executions")
