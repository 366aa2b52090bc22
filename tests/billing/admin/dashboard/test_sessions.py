"""`sessions/`: the newest sessions and executions, and all of them in a few figures."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.admin.dashboard.sessions import session_list_page
from billing.admin.dashboard.sessions.session_list_page import Row
from billing.reports.cursors import StartPosition, cursor_of
from billing.rollups.fold import fold
from costtrack.clock import EPOCH, utc_now
from costtrack.money import usd
from costtrack.organization_paths import organization_url
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.usage import NOW, Send

LIST = "/o/acme/admin/sessions/"
FOLDED = pytest.mark.parametrize("is_folded", [True, False])


def call(session: str, *, minute: int = 0, cost: str = "1", **fields: Any) -> dict[str, Any]:
    at = (NOW - timedelta(days=1) + timedelta(minutes=minute)).isoformat()
    return {"session_id": session, "cost_usd": cost, "model": "gpt-4o", "occurred_at": at, **fields}


def rows(browser: Client, **query: str) -> Sequence[Row]:
    response = browser.get(LIST, query)
    assert response.status_code == 200
    result: Sequence[Row] = response.context["rows"]
    return result


def ids(browser: Client, **query: str) -> list[str]:
    return [row.id for row in rows(browser, **query)]


def through(browser: Client, url: str) -> list[list[str]]:
    """The ids of each page, following the links to older ones."""
    pages = []
    while url:
        context = browser.get(url).context
        pages.append([row.id for row in context["rows"]])
        url = context["older_url"]
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

    result = rows(sign_in(viewer))

    answer = api.get("/costs/sessions").json()
    assert [row.id for row in result] == [item["session_id"] for item in answer] == ["new", "old"]
    assert [row.figures.cost for row in result] == ["$0.75", "$1.25"]
    assert [row.figures.tokens for row in result] == [f"{item['total_tokens']:,}" for item in answer]
    assert [row.figures.turns for row in result] == [str(item["turns"]) for item in answer]
    assert [row.figures.tool_calls for row in result] == [str(item["tool_calls"]) for item in answer]
    assert (result[1].about, result[1].detail) == ("flow", "plan · planner")
    assert (result[1].figures.took, result[1].figures.unpriced) == ("1.5 s", "1 event without a price yet")
    assert "Finalized" in result[0].state
    assert "Open" in result[1].state
    assert result[0].execution_id == "e"


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

    result = rows(sign_in(owner), show="executions")

    answer = api.get("/costs/executions").json()
    assert [row.id for row in result] == [item["execution_id"] for item in answer] == ["e-2", "e-1"]
    assert [row.sessions for row in result] == [str(item["session_count"]) for item in answer] == ["1", "2"]
    assert [row.figures.cost for row in result] == ["$4.00", "$2.00"]
    assert "Complete" in result[0].state
    assert result[1].about == "flow"


def test_what_has_happened_just_now_is_running(owner: User, send: Send, sign_in: SignIn) -> None:
    now = utc_now()
    send({"session_id": "s", "execution_id": "e"}, now=now)
    browser = sign_in(owner)
    assert "Running" in rows(browser)[0].state
    assert "Running" in rows(browser, show="executions")[0].state


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
    further = browser.get(browser.get(f"{LIST}?show={tab}").context["older_url"])
    assert browser.get(further.context["newest_url"]).context["rows"][0].id == "0"
    assert further.context["summary"] is None


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

    summary = sign_in(owner).get(LIST).context["summary"]

    answer = api.get("/costs/summary").json()
    assert summary["figures"].cost == "$23.25" == usd_of(answer["total_cost_usd"])
    assert (summary["sessions"], summary["executions"]) == ("7", "3")
    assert (answer["total_sessions"], answer["total_executions"]) == (7, 3)
    assert summary["figures"].tokens == str(answer["total_tokens"])
    assert summary["figures"].tool_calls == str(answer["total_tool_calls"])
    models = [(share.name, share.amount) for share in summary["models"]]
    assert models == [(item["model"], usd_of(item["cost_usd"])) for item in answer["top_models"]]
    most_expensive = [(session_id, cost) for session_id, _, _, cost in summary["top_sessions"]]
    assert most_expensive == [(item["session_id"], usd_of(item["cost_usd"])) for item in answer["top_sessions"]]


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


def test_everybody_sees_what_is_theirs_alone(
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
        assert browser.get(LIST).context["summary"]["sessions"] == "1"
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
