"""`sessions/`: the newest sessions and executions, and all of them in a few figures."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.admin.components.tables import Table
from billing.admin.dashboard.sessions import session_list_page
from billing.reports.cursors import StartPosition, cursor_of
from billing.rollups.fold import fold
from costtrack.clock import EPOCH, utc_now
from costtrack.money import usd
from costtrack.organization_paths import organization_url
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import column, texts
from tests.usage import NOW, Send

LIST = "/o/acme/admin/sessions/"
FOLDED = pytest.mark.parametrize("is_folded", [True, False])


def call(session: str, *, minute: int = 0, cost: str = "1", **fields: Any) -> dict[str, Any]:
    at = (NOW - timedelta(days=1) + timedelta(minutes=minute)).isoformat()
    return {"session_id": session, "cost_usd": cost, "model": "gpt-4o", "occurred_at": at, **fields}


def table(browser: Client, **query: str) -> Table[Any]:
    response = browser.get(LIST, query)
    assert response.status_code == 200
    result: Table[Any] = response.context["table"]
    return result


def ids(browser: Client, **query: str) -> list[str]:
    return _ids(table(browser, **query))


def _ids(shown: Table[Any]) -> list[str]:
    return [getattr(row, "session_id", None) or row.execution_id for row in shown.rows]


def through(browser: Client, url: str) -> list[list[str]]:
    """The ids of each page, following the links to older ones."""
    pages = []
    while url:
        context = browser.get(url).context
        pages.append(_ids(context["table"]))
        url = context["older"] and LIST + context["older"]
    return pages


def usd_of(text: str) -> str:
    return usd(Decimal(text))


@FOLDED
def test_sessions_are_listed_as_the_api_lists_them(
    viewer: User, send: Send, sign_in: SignIn, api: APIClient, *, is_folded: bool
) -> None:
    send(
        call("old", workflow_id="flow", phase_id="plan", agent_id="planner", input_tokens=1000, output_tokens=234),
        call("new", minute=9, cost="0.5", execution_id="e"),
        {"session_id": "new", "execution_id": "e", "kind": "session_summary", "cost_usd": "0.75"},
        {"session_id": "old", "kind": "tool_call", "tool": "Bash", "cost_usd": "0.25", "duration_ms": 1500},
        {"session_id": "old", "model": "unheard-of", "input_tokens": 1},
    )
    if is_folded:
        fold(now=NOW)

    shown = table(sign_in(viewer))
    result = texts(shown)

    answer = api.get("/costs/sessions").json()
    assert _ids(shown) == [item["session_id"] for item in answer] == ["new", "old"]
    assert [row["Cost"] for row in result] == ["$0.75", "$1.25 1 unpriced"]
    assert [row["Tokens"] for row in result] == [f"{item['total_tokens']:,}" for item in answer]
    calls = [f"{item['turns']} model, {item['tool_calls']} tool" for item in answer]
    assert [row["Calls"] for row in result] == [calls[0], f"{calls[1]} took 1.5 s"]
    assert result[1]["Part of"] == "flow plan · planner"
    assert [row["State"] for row in result] == ["Finalized", "Idle"]
    assert result[0]["Session"] == "new of e"


@FOLDED
def test_executions_are_listed_as_the_api_lists_them(
    owner: User, send: Send, sign_in: SignIn, api: APIClient, *, is_folded: bool
) -> None:
    send(
        call("s-1", execution_id="e-1", workflow_id="flow"),
        call("s-2", minute=1, execution_id="e-1"),
        call("s-3", minute=2, execution_id="e-2", cost="4"),
        {"session_id": "s-3", "execution_id": "e-2", "kind": "session_summary"},
    )
    if is_folded:
        fold(now=NOW)

    shown = table(sign_in(owner), show="executions")
    result = texts(shown)

    answer = api.get("/costs/executions").json()
    assert _ids(shown) == [item["execution_id"] for item in answer] == ["e-2", "e-1"]
    assert [row["Sessions"] for row in result] == [str(item["session_count"]) for item in answer] == ["1", "2"]
    assert [row["Cost"] for row in result] == ["$4.00", "$2.00"]
    assert result[0]["State"] == "Complete"
    assert result[1]["Workflow"] == "flow"


def test_what_has_happened_just_now_is_running(owner: User, send: Send, sign_in: SignIn) -> None:
    now = utc_now()
    send({"session_id": "s", "execution_id": "e"}, now=now)
    browser = sign_in(owner)
    assert column(table(browser), "State") == ["Running"]
    assert column(table(browser, show="executions"), "State") == ["Running"]


def test_filters_are_those_of_the_api(owner: User, send: Send, sign_in: SignIn, organization: Organization) -> None:
    organization.time_zone = "America/Los_Angeles"
    organization.save()
    at = "2026-11-01T06:30:00Z"  # Oct 31 in Los Angeles
    send(
        call("s1", execution_id="e1", workflow_id="etl", user_id="ada", occurred_at=at),
        call("s2", execution_id="e2", team="search", end_user="customer"),
        {"session_id": "s2", "execution_id": "e2", "kind": "session_summary"},
    )
    browser = sign_in(owner)
    for query, expected in (
        ({"end_date": "2026-10-31"}, "1"),
        ({"start_date": "2026-11-01"}, "2"),
        ({"workflow_id": " etl "}, "1"),
        ({"user_id": "ada", "start_date": "2026-10-31"}, "1"),
        ({"team": "search", "end_user": "customer"}, "2"),
        ({"state": "finished"}, "2"),
        ({"state": "open"}, "1"),
    ):
        assert ids(browser, **query) == [f"s{expected}"], query
        assert ids(browser, show="executions", **query) == [f"e{expected}"], query
    nothing = browser.get(LIST, {"team": "x"})
    assert "No matching sessions" in nothing.content.decode()
    wrong = browser.get(LIST, {"start_date": "2026-11-02", "end_date": "2026-11-01"})
    assert "These filters are invalid" in wrong.content.decode()


@pytest.mark.parametrize("tab", ["sessions", "executions"])
@FOLDED
def test_older_ones_are_a_page_further_and_none_is_lost(
    owner: User, send: Send, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, tab: str, *, is_folded: bool
) -> None:
    monkeypatch.setattr(session_list_page, "PAGE_SIZE", 2)
    # Two of them began at the same instant.
    send(*(call(f"{n}", minute=minute, execution_id=f"{n}") for n, minute in enumerate((5, 4, 4, 4, 1))))
    if is_folded:
        fold(now=NOW)
    browser = sign_in(owner)

    assert through(browser, f"{LIST}?show={tab}") == [["0", "1"], ["2", "3"], ["4"]]
    further = browser.get(LIST + browser.get(f"{LIST}?show={tab}").context["older"])
    assert _ids(browser.get(LIST + further.context["trail"].newest()).context["table"])[0] == "0"
    assert further.context["figures"] == []


def test_a_session_that_began_earlier_than_was_known_moves(
    owner: User, send: Send, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_list_page, "PAGE_SIZE", 1)
    send(call("a", minute=5), call("b", minute=4))
    fold(now=NOW)
    send(call("a", minute=1))
    assert through(sign_in(owner), LIST) == [["b"], ["a"]]


@FOLDED
def test_the_figures_are_those_of_the_api(
    owner: User, send: Send, sign_in: SignIn, api: APIClient, *, is_folded: bool
) -> None:
    send(
        *(call(f"s-{n}", cost=f"{n}.25", model=f"m-{n}", execution_id=f"e-{n % 3}", input_tokens=n) for n in range(7)),
        {"session_id": "s-0", "kind": "tool_call", "tool": "Bash", "cost_usd": "0.5"},
        {"cost_usd": "100", "model": "of no session"},
    )
    if is_folded:
        fold(now=NOW)

    context = sign_in(owner).get(LIST).context
    figures = {name: value for name, value, _ in context["figures"]}
    models, sessions = (card.table for card in context["breakdowns"])

    answer = api.get("/costs/summary").json()
    assert figures["Cost of all sessions"] == "$23.25" == usd_of(answer["total_cost_usd"])
    assert (figures["Sessions"], figures["Executions"]) == ("7", "3")
    assert (answer["total_sessions"], answer["total_executions"]) == (7, 3)
    assert figures["Tokens"] == str(answer["total_tokens"])
    assert figures["Tool calls"] == str(answer["total_tool_calls"])
    for shown, name, items in ((models, "model", "top_models"), (sessions, "session_id", "top_sessions")):
        rows = [(row[shown.columns[0].heading], row["Cost"]) for row in texts(shown)]
        assert rows == [(item[name], usd_of(item["cost_usd"])) for item in answer[items]]


def test_an_id_leads_to_its_page(owner: User, send: Send, sign_in: SignIn) -> None:
    send(call("s/1", execution_id="e 1"), call("both", execution_id="both"))
    browser = sign_in(owner)

    def result(**query: str) -> str:
        response = browser.get(LIST, query)
        assert response.status_code == 302
        return response["Location"]

    assert result(find="s/1") == organization_url("acme", "session", "s/1")
    assert result(find=" e 1 ") == organization_url("acme", "execution", "e 1")
    assert result(find="both") == organization_url("acme", "session", "both")
    assert result(find="both", show="executions") == organization_url("acme", "execution", "both")


@pytest.mark.parametrize("searched_id", ["nobody", "theirs", "a\0b", "x" * 300])
def test_an_id_that_nothing_has_is_reported_next_to_the_field(
    owner: User, send: Send, other_organization: Organization, sign_in: SignIn, searched_id: str
) -> None:
    send(call("theirs", execution_id="theirs"), to=other_organization)
    response = sign_in(owner).get(LIST, {"find": searched_id})
    assert response.status_code == 200
    assert response.context["form"].errors["find"]


def test_ids_with_any_characters_are_cursors(
    owner: User, send: Send, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_list_page, "PAGE_SIZE", 1)
    names = ["a.b", "50%2E", "ü.~", "x" * 250, "." * 200]
    send(*(call(name, minute=-minute) for minute, name in enumerate(names)))
    browser = sign_in(owner)
    assert through(browser, LIST) == [[name] for name in names]
    last = browser.get(LIST)
    for _ in names[1:]:
        last = browser.get(LIST + last.context["older"])
    assert _ids(browser.get(LIST + last.context["trail"].newer()).context["table"]) == [names[-2]]


@pytest.mark.parametrize("after", ["x", "1", "~", "1~a\0", "9" * 30 + "~a", "9" * 5000 + "~a", "-" + "9" * 18 + "~a"])
@pytest.mark.parametrize("tab", ["sessions", "executions"])
def test_a_cursor_that_no_page_gave_is_refused(owner: User, sign_in: SignIn, after: str, tab: str) -> None:
    response = sign_in(owner).get(LIST, {"after": after, "show": tab})
    assert response.status_code == 422
    assert "Invalid cursor" in response.content.decode()


def test_the_end_of_the_list_says_so(owner: User, send: Send, sign_in: SignIn) -> None:
    send(call("s"))
    response = sign_in(owner).get(LIST, {"after": cursor_of(StartPosition(EPOCH, "a"))})
    assert "The list ends here" in response.content.decode()


@pytest.mark.parametrize(("tab", "expected"), [("sessions", "No sessions yet"), ("executions", "No executions yet")])
def test_nothing_yet_says_what_to_do(owner: User, sign_in: SignIn, tab: str, expected: str) -> None:
    page = sign_in(owner).get(LIST, {"show": tab}).content.decode()
    assert expected in page
    assert "session_id" in page


def test_members_see_only_what_is_theirs(
    owner: User,
    viewer: User,
    operator: User,
    stranger: User,
    other_organization: Organization,
    send: Send,
    sign_in: SignIn,
) -> None:
    send(call("ours", execution_id="e-ours"))
    send(call("theirs", execution_id="e-theirs"), to=other_organization)
    for user in (owner, viewer, operator):
        browser = sign_in(user)
        assert ids(browser) == ["ours"]
        assert ids(browser, show="executions") == ["e-ours"]
        assert browser.get(LIST).context["figures"][1].value == "1"
    assert sign_in(stranger).get(LIST).status_code == 404
    assert Client().get(LIST).status_code == 302


@pytest.mark.parametrize("tab", ["sessions", "executions"])
def test_the_page_takes_the_same_queries_however_many_there_are(
    owner: User, send: Send, sign_in: SignIn, tab: str
) -> None:
    browser = sign_in(owner)

    def queries() -> int:
        browser.get(LIST)
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(LIST, {"show": tab}).status_code == 200
        return len(captured)

    send(call("first", execution_id="e"))
    fold(now=NOW)
    few = queries()
    send(*(call(f"s-{n}", minute=n, execution_id=f"e-{n}") for n in range(30)))
    fold(now=NOW)
    assert queries() == few
    assert few <= 20


def test_what_refreshes_is_the_part_that_changes(owner: User, send: Send, sign_in: SignIn) -> None:
    send(call("s-1"))
    part = sign_in(owner).get(LIST, headers={"HX-Request": "true"}).content.decode()
    assert "s-1" in part
    assert "<html" not in part
