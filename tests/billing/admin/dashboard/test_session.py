"""`sessions/s/<session_id>/`: one session."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.admin.components.tables import Table
from billing.admin.dashboard.sessions import session_page
from billing.admin.dashboard.sessions.session_text import length, share_table
from billing.ledger.price_unpriced import price_unpriced
from billing.models import UsageEvent
from billing.rollups.fold import fold
from billing.rollups.retention import drop_events
from costtrack.money import usd
from costtrack.names import clean_name
from costtrack.organization_paths import organization_url
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import column, links, plain, texts
from tests.usage import NOW, Send, set_price

FOLDED = pytest.mark.parametrize("is_folded", [True, False])
# What senders may call something, and what a path would break on.
ODD_IDS = (
    "plain-1_2.3:4@x",
    "a/b/../c",
    "/",
    "//",
    ".",
    "..",
    "50%",
    "%2F",
    "~2F",
    "what?#now;&=+$,",
    " spaced out ",
    "back\\slash",
    "two\nlines\r\t",
    "größe/日本語 🎉",
    "<script>alert('1')</script>\"",
    "x" * 255,
)


def page_of(session_id: str) -> str:
    return organization_url("acme", "session", session_id)


def call(session: str = "s", *, second: int = 0, cost: str = "1", **fields: Any) -> dict[str, Any]:
    at = (NOW - timedelta(days=1) + timedelta(seconds=second)).isoformat()
    return {"session_id": session, "cost_usd": cost, "model": "gpt-4o", "occurred_at": at, **fields}


def named(shown: Table[Any]) -> dict[str, str]:
    """The costs of a table by the names of its rows."""
    return dict(zip(column(shown, shown.columns[0].heading), column(shown, "Cost"), strict=True))


def written(amounts: dict[str, str]) -> dict[str, str]:
    return {name: usd(Decimal(amount)) for name, amount in amounts.items()}


@FOLDED
def test_the_numbers_are_those_of_the_api(
    viewer: User, send: Send, sign_in: SignIn, api: APIClient, *, is_folded: bool
) -> None:
    set_price("claude", provider="anthropic", input="3", output="15")
    event_fields: dict[str, Any] = {"execution_id": "e", "workflow_id": "flow", "phase_id": "research"}
    event_fields |= {"workspace_id": "box", "agent_id": "a"}
    claude = {**event_fields, "service": "anthropic", "model": "claude"}
    send(
        call(**claude, cost="0.5", input_tokens=10_000, output_tokens=100, cache_read_tokens=7, duration_ms=61_500),
        call(**claude, second=5, tool="Read", tool_use_tokens=30, tool_result_tokens=5000, cost="0"),
        call(**event_fields, second=9, kind="tool_call", tool="Bash", cost="0.25"),
        call(**event_fields, second=9, kind="compute", cost="0.05"),
        call(second=10, model="unheard-of", cost_usd=None, input_tokens=5),
    )
    if is_folded:
        fold(now=NOW)

    context = sign_in(viewer).get(page_of("s")).context

    answer = api.get("/costs/sessions/s").json()
    figures = {name: [value, *map(plain, notes)] for name, value, notes in context["figures"]}
    parts = [usd(Decimal(answer[name])) for name in ("token_cost_usd", "compute_cost_usd")]
    assert figures["Cost"] == [
        usd(Decimal(answer["total_cost_usd"])),
        f"{parts[0]} models, {parts[1]} tools and compute",
        "1 event without a price yet",
    ]
    assert figures["Cost"][0] == "$0.80"
    assert figures["Tokens"][0] == f"{answer['total_tokens']:,}" == "10,105"
    assert figures["Tokens"][2].startswith(f"Caches: {answer['cache_read_tokens']} read")
    assert figures["Model calls"] == [str(answer["turns"]), f"Tool calls: {answer['tool_calls']}"]
    assert figures["Duration"][0] == length(Decimal(str(answer["duration_ms"]))) == "1 min 1 s"
    by_model, by_tool, tool_tokens = (card.table for card in context["breakdowns"])
    assert named(by_model) == written(answer["cost_by_model"])
    assert named(by_tool) == written(answer["cost_by_tool"])
    assert texts(tool_tokens) == [{"Tool": "Read", "Tokens": "5,030", "Estimated cost": "$0.0154"}]
    assert answer["tokens_by_tool"] == {"Read": 5030}
    details = dict(context["details"])
    assert [details[name] for name in ("Workflow", "Phase", "Workspace", "Agent")] == ["flow", "research", "box", "a"]
    assert organization_url("acme", "execution", "e") in details["Execution"]
    assert "Finalized" not in details


@FOLDED
def test_the_chart_and_the_calls_add_up_to_the_cost(
    owner: User, send: Send, sign_in: SignIn, *, is_folded: bool
) -> None:
    send(call(cost="0.5"), call(second=100, cost="0.25"), call(second=600, kind="tool_call", tool="t", cost="0.125"))
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "1", "occurred_at": (NOW).isoformat()})
    if is_folded:
        fold(now=NOW)

    context = sign_in(owner).get(page_of("s")).context

    models, tools = context["chart"].lines
    assert sum(models.values) == 1
    assert sum(tools.values) == 0.125
    assert len(models.values) == len(context["chart"].labels) <= 49
    assert models.values[0] == 0.75
    assert column(context["calls"], "Cost") == ["$0.25", "$0.125", "$0.25", "$0.50"]
    assert context["not_charted"] == ""


def test_calls_lead_to_their_events_and_show_what_they_cost_with_corrections(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send(call(model="late", cost_usd=None, input_tokens=1_000_000, service="acme", status="failure"))
    browser = sign_in(owner)
    calls = browser.get(page_of("s")).context["calls"]
    (row,) = texts(calls)
    assert (row["Cost"], row["Tokens"]) == ("no price yet", "1,000,000 in, 0 out")
    assert row["Call"] == "Model call (failed) acme · late"
    assert browser.get(links(calls, "Call")[0]).status_code == 200

    set_price("late", provider="acme", input="2")
    price_unpriced(organization=organization, now=NOW)
    assert column(browser.get(page_of("s")).context["calls"], "Cost") == ["$2.00"]


def test_older_calls_are_a_page_further(
    owner: User, send: Send, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_page, "PAGE_SIZE", 2)
    send(*(call(second=second, cost=f"{index}") for index, second in enumerate((1, 2, 2, 2, 3))))
    browser, url, seen = sign_in(owner), page_of("s"), []
    while url:
        context = browser.get(url).context
        seen.append(len(context["calls"].rows))
        url = context["older"] and page_of("s") + context["older"]
    assert seen == [2, 2, 1]
    newest = browser.get(page_of("s") + context["trail"].newest())
    assert column(newest.context["calls"], "Cost")[0] == "$4.00"


def test_events_that_were_dropped_are_in_the_totals_alone(owner: User, send: Send, sign_in: SignIn) -> None:
    before, after = datetime(2026, 6, 20, tzinfo=UTC), datetime(2026, 7, 20, tzinfo=UTC)
    for now in (before, after):
        send({"session_id": "s", "cost_usd": "2", "model": "m"}, now=now)
    send({"session_id": "gone", "cost_usd": "2", "model": "m"}, now=before)
    fold(now=after)
    drop_events(before=datetime(2026, 7, 1, tzinfo=UTC), actor="tests", now=after, report=lambda _: None)
    browser = sign_in(owner)

    context = browser.get(page_of("s")).context
    assert (context["figures"][0].value, context["not_charted"], len(context["calls"].rows)) == ("$4.00", "$2.00", 1)
    assert "The calls of this session are no longer stored" in browser.get(page_of("gone")).content.decode()


@pytest.mark.parametrize("odd", ODD_IDS)
def test_every_id_has_a_page(owner: User, send: Send, sign_in: SignIn, odd: str) -> None:
    send(call(odd, execution_id=odd))
    browser = sign_in(owner)
    (cell,) = [row[0][1] for row in browser.get("/o/acme/admin/sessions/").context["table"].cells]
    session_page_url, execution_page_url = (unescape(url) for url in re.findall('href="([^"]*)"', str(cell)))
    assert session_page_url == page_of(clean_name(odd))
    for address in (session_page_url, execution_page_url):
        assert not {".", "..", ""} & set(address.strip("/").split("/"))
        assert browser.get(address).status_code == 200
    session = browser.get(session_page_url).context["session"]
    assert (session.session_id, session.execution_id) == (clean_name(odd), clean_name(odd))


def test_an_address_written_by_hand_is_understood(owner: User, send: Send, sign_in: SignIn) -> None:
    send(call("a/b c~d"))
    response = sign_in(owner).get(f"/o/acme/admin/sessions/s/{quote('a/b c~d')}/")
    assert response.context["session"].session_id == "a/b c~d"


@pytest.mark.parametrize("unknown", ["nobody", "theirs", "a%00b", "~FF", "x" * 3000, "/"])
def test_an_unknown_id_is_a_page_that_leads_back(
    owner: User, other_organization: Organization, send: Send, sign_in: SignIn, unknown: str
) -> None:
    send(call("theirs"), to=other_organization)
    response = sign_in(owner).get(f"/o/acme/admin/sessions/s/{unknown}/")
    assert response.status_code == 404


def test_the_page_of_an_unknown_id_is_inside_the_admin(owner: User, sign_in: SignIn) -> None:
    page = sign_in(owner).get(page_of("nobody")).content.decode()
    assert "Session cost not found for session nobody" in page
    assert 'href="/o/acme/admin/sessions/?show=sessions"' in page
    assert "nav-sidebar" in page


@pytest.mark.parametrize("after", ["x", "1~a", "~", "99999999999999999999~" + "0" * 32])
def test_a_cursor_that_no_page_gave_is_refused(owner: User, send: Send, sign_in: SignIn, after: str) -> None:
    send(call())
    assert sign_in(owner).get(page_of("s"), {"after": after}).status_code == 422


def test_only_members_and_operators_see_it(
    viewer: User, operator: User, stranger: User, send: Send, sign_in: SignIn
) -> None:
    send(call())
    assert sign_in(viewer).get(page_of("s")).status_code == 200
    assert sign_in(operator).get(page_of("s")).status_code == 200
    assert sign_in(stranger).get(page_of("s")).status_code == 404
    assert sign_in(stranger).get("/o/globex/admin/sessions/s/s/").status_code == 404
    assert Client().get(page_of("s")).status_code == 302


def test_the_page_takes_the_same_queries_however_many_calls_there_are(owner: User, send: Send, sign_in: SignIn) -> None:
    browser = sign_in(owner)

    def queries() -> int:
        browser.get(page_of("s"))
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(page_of("s")).status_code == 200
        return len(captured)

    send(call())
    fold(now=NOW)
    few = queries()
    send(*(call(second=n, model=f"m-{n}") for n in range(40)))
    fold(now=NOW)
    assert queries() == few
    assert UsageEvent.objects.count() == 41


def test_an_amount_below_zero_has_no_bar() -> None:
    shown = share_table("Costs", "Model", {"a": Decimal(-1), "b": Decimal(3), "c": Decimal(1)})
    widths = [re.findall('rect class="ct-spent" width="([^"]*)%"', str(row[0][1])) for row in shown.cells]
    assert list(zip(column(shown, "Model"), column(shown, "Share"), widths, strict=True)) == [
        ("b", "75.0%", ["75.000"]),
        ("c", "25.0%", ["25.000"]),
        ("a", "-", ["0.000"]),
    ]


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        ("0", "-"),
        ("0.4", "0 ms"),
        ("850", "850 ms"),
        ("41250.5", "41.3 s"),
        ("312000", "5 min 12 s"),
        ("7440000", "2 h 4 min"),
        ("273600000", "3 d 4 h"),
    ],
)
def test_lengths_are_written_in_two_units(milliseconds: str, expected: str) -> None:
    assert length(Decimal(milliseconds)) == expected
