"""`executions/<execution_id>/`: one execution."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.admin.dashboard.sessions import execution_page
from billing.rollups.fold import fold
from costtrack.money import usd
from costtrack.organization_paths import organization_url
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import column
from tests.usage import NOW, Send

FOLDED = pytest.mark.parametrize("is_folded", [True, False])


def page_of(execution_id: str) -> str:
    return organization_url("acme", "execution", execution_id)


def call(session: str, *, second: int = 0, cost: str = "1", **fields: Any) -> dict[str, Any]:
    at = (NOW - timedelta(days=1) + timedelta(seconds=second)).isoformat()
    event_fields = {"session_id": session, "execution_id": "e", "model": "gpt-4o", "cost_usd": cost, "occurred_at": at}
    return {**event_fields, **fields}


@FOLDED
def test_the_numbers_are_those_of_the_api(
    viewer: User, send: Send, sign_in: SignIn, api: APIClient, *, is_folded: bool
) -> None:
    send(
        call("s-1", cost="0.5", phase_id="plan", input_tokens=1200, output_tokens=34, duration_ms=90),
        call("s-1", second=60, cost="0.25", phase_id="plan", kind="tool_call", tool="Bash"),
        call("s-2", second=30, phase_id="build", model="o3", cost="3", workflow_id="flow"),
        call("s-3", second=90, cost="0.25"),
        {"session_id": "s-3", "execution_id": "e", "kind": "session_summary"},
    )
    if is_folded:
        fold(now=NOW)

    context = sign_in(viewer).get(page_of("e")).context

    answer = api.get("/costs/executions/e?include_session_ids=true").json()
    figures = {name: [value, *notes] for name, value, notes in context["figures"]}
    assert figures["Cost"][0] == usd(Decimal(answer["total_cost_usd"])) == "$4.00"
    assert figures["Tokens"][0] == f"{answer['total_tokens']:,}"
    assert figures["Model calls"] == [str(answer["turns"]), f"Tool calls: {answer['tool_calls']}"]
    assert figures["Sessions"] == [str(answer["session_count"])] == ["3"]
    tables = {card.title: card.table for card in context["breakdowns"]}
    shown = {
        title: dict(zip(column(table, table.columns[0].heading), column(table, "Cost"), strict=True))
        for title, table in tables.items()
    }
    for heading, name in (
        ("Cost by phase", "cost_by_phase"),
        ("Token cost by model", "cost_by_model"),
        ("Compute cost by tool", "cost_by_tool"),
    ):
        assert shown[heading] == {key: usd(Decimal(amount)) for key, amount in answer[name].items()}
    costs = {item["session_id"]: item["total_cost_usd"] for item in api.get("/costs/sessions?execution_id=e").json()}
    assert shown["Cost by session"] == {key: usd(Decimal(amount)) for key, amount in costs.items()}
    phases = tables["Cost by phase"]
    assert column(phases, "Phase") == ["build", "plan"]
    assert column(phases, "Share") == ["75.0%", "18.8%"]
    assert [bar.id for bar in context["timeline"]["bars"]] == answer["session_ids"]
    assert dict(context["details"])["Workflow"] == "flow"


def test_the_timeline_shows_when_each_session_ran(owner: User, send: Send, sign_in: SignIn) -> None:
    send(call("s-1"), call("s-1", second=50), call("s-2", second=25), call("s-2", second=100), call("z", second=100))
    browser = sign_in(owner)
    timeline = browser.get(page_of("e")).context["timeline"]
    assert [(bar.x, bar.width) for bar in timeline["bars"]] == [
        ("0.000", "50.000"),
        ("25.000", "75.000"),
        ("99.500", "0.500"),
    ]
    assert [bar.took for bar in timeline["bars"]] == ["50.0 s", "1 min 15 s", "-"]
    assert timeline["took"] == "1 min 40 s"
    assert all(browser.get(bar.url).status_code == 200 for bar in timeline["bars"])


def test_an_execution_of_one_instant_has_a_whole_bar(owner: User, send: Send, sign_in: SignIn) -> None:
    send(call("s"))
    (bar,) = sign_in(owner).get(page_of("e")).context["timeline"]["bars"]
    assert (bar.x, bar.width) == ("0.000", "100.000")


def test_times_are_those_of_the_organizations_clocks(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    organization.time_zone = "Asia/Tokyo"
    organization.save()
    send(call("s", occurred_at="2026-11-01T20:00:00Z"))
    (bar,) = sign_in(owner).get(page_of("e")).context["timeline"]["bars"]
    assert bar.began == "Nov 2, 2026, 5:00:00 AM"


def test_an_execution_whose_sessions_have_gone_to_another_says_so(owner: User, send: Send, sign_in: SignIn) -> None:
    send(call("s", execution_id="a"))
    send(call("s", execution_id="b"))
    page = sign_in(owner).get(page_of("a"))
    assert page.context["timeline"] is None
    assert "All of its sessions now belong to other executions" in page.content.decode()


def test_of_many_sessions_the_first_ones_are_shown(
    owner: User, send: Send, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_page, "MAX_SESSIONS", 2)
    send(*(call(f"s-{n}", second=n) for n in range(3)))
    page = sign_in(owner).get(page_of("e"))
    assert [bar.id for bar in page.context["timeline"]["bars"]] == ["s-0", "s-1"]
    assert "The first 2 of 3 sessions are shown" in page.content.decode()
    assert page.context["figures"][0].value == "$3.00"


@pytest.mark.parametrize("unknown", ["nobody", "theirs", "a%00b", "~FF", "s"])
def test_an_unknown_id_is_a_page_that_leads_back(
    owner: User, other_organization: Organization, send: Send, sign_in: SignIn, unknown: str
) -> None:
    send(call("s"))
    send(call("s", execution_id="theirs"), to=other_organization)
    assert sign_in(owner).get(f"/o/acme/admin/executions/{unknown}/").status_code == 404


def test_only_members_and_operators_see_it(
    viewer: User, operator: User, stranger: User, send: Send, sign_in: SignIn
) -> None:
    send(call("s"))
    assert sign_in(viewer).get(page_of("e")).status_code == 200
    assert sign_in(operator).get(page_of("e")).status_code == 200
    assert sign_in(stranger).get(page_of("e")).status_code == 404
    assert Client().get(page_of("e")).status_code == 302


def test_the_page_takes_the_same_queries_however_many_sessions_there_are(
    owner: User, send: Send, sign_in: SignIn
) -> None:
    browser = sign_in(owner)

    def queries() -> int:
        browser.get(page_of("e"))
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(page_of("e")).status_code == 200
        return len(captured)

    send(call("first"))
    fold(now=NOW)
    few = queries()
    send(*(call(f"s-{n}", second=n, phase_id=f"p-{n}") for n in range(30)))
    fold(now=NOW)
    assert queries() == few
