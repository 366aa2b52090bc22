"""The request log with the most expensive calls first, and what the cost of a short span went to."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.admin.dashboard.request_log import request_log_page
from billing.models import UsageEvent
from billing.reports.usage import ledger_usage
from billing.rollups.fold import fold
from costtrack.clock import iso
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.test_request_log import PAGE, shown
from tests.billing.admin.dashboard.test_runs import text
from tests.billing.admin.tables import column, links, texts
from tests.conftest import Key
from tests.usage import NOW, Send

HOUR = {"start": "2026-11-02T10:00", "end": "2026-11-02T11:00"}
TEN = datetime.fromisoformat("2026-11-02T10:00Z")
BY_COST = {**HOUR, "sort_by": "cost"}


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def call(event_id: str, minute: float, cost: str | None = "1", **others: Any) -> dict[str, Any]:
    at = iso(TEN + timedelta(minutes=minute))
    priced = {"cost_usd": cost} if cost is not None else {}
    return {"id": event_id, "occurred_at": at, "model": "gpt-5", **priced, **others}


@pytest.fixture
def hour(send: Send, key: Key) -> None:
    """Calls of an hour, and one before and after it; half of them folded, and two corrected since."""
    send(
        call("before", -0.01, "9"),
        call("first", 0, "0.5", user_id="ada", tags=["a", "b"]),
        call("twin", 5, "0.25", user_id="bob"),
        call("voided", 6, "8"),
        call("tool", 7, None, kind="tool_call", tool="search", model="", compute_cost_usd="0.125"),
    )
    fold(now=NOW)
    send(
        call("same", 10, "0.25", user_id="ada", tags=["a"], model="o3"),
        call("unknown", 20, None, model="house-13b", input_tokens=5),
        call("failed", 30, "0", status="failure"),
        call("costlier", 59.99, "0.1", user_id="ada"),
        call("after", 60, "9"),
    )
    for event_id, verb, body in (
        ("voided", "void", {"reason": "twice"}),
        ("costlier", "adjust", {"cost_usd": "0.75", "reason": "on the bill"}),
    ):
        event = UsageEvent.objects.get(event_id=event_id)
        answer = key.client().post(f"/usage/events/{event.pk}/{verb}", body, format="json")
        assert answer.status_code < 300, answer.content


IN_ORDER = ["costlier", "first", "same", "twin", "failed", "unknown", "voided"]


@pytest.mark.usefixtures("hour")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, IN_ORDER),
        ({"user_id": "ada"}, ["costlier", "first", "same"]),
        ({"tag": "a"}, ["first", "same"]),
        ({"model": "o3"}, ["same"]),
        ({"status": "failure"}, ["failed"]),
        ({"client_id": "none", "user_id": "bob"}, ["twin"]),
        ({"client_id": "nobody"}, []),
        ({"user_id": "absent"}, []),
    ],
)
def test_costs_decide_with_their_corrections(
    query: dict[str, str], expected: list[str], owner: User, sign_in: SignIn
) -> None:
    assert shown(sign_in(owner).get(PAGE, {**BY_COST, **query})) == expected


@pytest.mark.usefixtures("hour")
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_pages_by_cost_go_on_and_back_without_gaps(
    size: int, owner: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log_page, "_CALLS_SHOWN", size)
    browser = sign_in(owner)
    pages: list[list[str]] = []
    older = "?" + "&".join(f"{name}={value}" for name, value in BY_COST.items())
    while older:
        response = browser.get(PAGE + older)
        pages.append(shown(response))
        trail, older = response.context["trail"], response.context["older"]
    assert [item for page in pages for item in page] == IN_ORDER
    assert shown(browser.get(PAGE + trail.newer())) == pages[-2]
    assert shown(browser.get(PAGE + trail.newest())) == pages[0]
    newest_first = next(url for name, url, _ in response.context["orders"] if name == "Newest first")
    assert "after=" not in newest_first
    assert shown(browser.get(newest_first))[0] == "costlier"  # it is the newest as well


@pytest.mark.usefixtures("hour")
def test_a_call_that_becomes_more_expensive_meanwhile_moves_nothing_else(
    owner: User, sign_in: SignIn, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log_page, "_CALLS_SHOWN", 3)
    browser = sign_in(owner)
    older = browser.get(PAGE, BY_COST).context["older"]
    listed = UsageEvent.objects.get(event_id="same")
    key.client().post(f"/usage/events/{listed.pk}/adjust", {"cost_usd": "5", "reason": "late"}, format="json")
    assert shown(browser.get(PAGE + older)) == ["twin", "failed", "unknown"]


@pytest.mark.parametrize(
    "after",
    ["x", "1~1", "1~00000000-0000-0000-0000-000000000000", "1~00000000-0000-0000-0000-000000000000~NaN", "1~x~1",
     "1~00000000-0000-0000-0000-000000000000~1e99999", "~", "~~", "1~00000000-0000-0000-0000-000000000000~" + "9" * 21],
)  # fmt: skip
def test_a_cursor_that_is_none_is_refused(after: str, owner: User, sign_in: SignIn) -> None:
    assert sign_in(owner).get(PAGE, {**BY_COST, "after": after}).status_code == 422


@pytest.mark.usefixtures("hour")
def test_too_many_calls_stay_in_the_order_of_time_and_the_page_says_why(
    owner: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log_page, "MAX_SORTED", 6)
    browser = sign_in(owner)
    response = browser.get(PAGE, {"sort_by": "cost", "range": "7d"})
    assert shown(response)[0] == "after"
    assert "this period has 8 calls, and only up to 6 can be sorted by cost" in " ".join(
        response.content.decode().split()
    )
    assert shown(browser.get(PAGE, BY_COST))[0] == "costlier"


# --- What it went to -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hour")
def test_what_the_cost_went_to_is_shown_by_model_user_and_tag(owner: User, sign_in: SignIn, key: Key) -> None:
    browser = sign_in(owner)
    spent = browser.get(PAGE, BY_COST).context["spent"]
    answer = key.client().get(
        "/usage/summary", {"start_date": iso(TEN), "end_date": iso(TEN + timedelta(minutes=60, microseconds=-1))}
    )
    assert (answer.json()["cost_usd"], answer.json()["requests"]) == ("1.875", 6)
    assert (spent.cost, spent.calls) == ("$1.88", "6")
    assert [(table.title, [(row[table.title], row["Cost"]) for row in texts(table)]) for table in spent.tables] == [
        ("Models", [("gpt-5", "$1.50"), ("o3", "$0.25"), ("No model", "$0.125")]),
        ("Users", [("ada", "$1.50"), ("bob", "$0.25"), ("No user", "$0.125")]),
        ("Tags", [("a", "$0.75"), ("b", "$0.50")]),
    ]
    for item, name, expected in ((0, "o3", ["same"]), (1, "ada", IN_ORDER[:3]), (2, "b", ["first"])):
        table = spent.tables[item]
        url = links(table, table.title)[column(table, table.title).index(name)]
        assert shown(browser.get(url)) == expected


@pytest.mark.usefixtures("hour")
def test_it_is_shown_where_it_is_known(owner: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = sign_in(owner)
    with_status = browser.get(PAGE, {**HOUR, "status": "success"}).context["spent"]
    assert column(with_status.tables[1], "Users") == ["ada", "bob", "No user"]
    assert column(with_status.tables[2], "Tags") == ["a", "b"]
    assert column(browser.get(PAGE, {**HOUR, "tag": "b"}).context["spent"].tables[1], "Users") == ["ada"]
    monkeypatch.setattr(ledger_usage, "MAX_EVENTS", 1)
    with_status = browser.get(PAGE, {**HOUR, "status": "success"}).context["spent"]
    assert with_status.tables[2].empty == "Too many events to show tags. Choose a shorter period."
    for query in ({**HOUR, "tag": "b"}, {"range": "7d"}, {**HOUR, "model": "unused"}, {**HOUR, "end": "x"}):
        assert browser.get(PAGE, query).context["spent"] is None
    monkeypatch.setattr(request_log_page, "_CALLS_SHOWN", 2)
    first = browser.get(PAGE, BY_COST)
    assert first.context["spent"] is not None
    assert browser.get(PAGE + first.context["older"]).context["spent"] is None


def test_costs_without_a_call_lead_to_the_ledger(owner: User, sign_in: SignIn, send: Send) -> None:
    send(call("tool", 7, None, kind="tool_call", tool="search", model="", compute_cost_usd="0.125"))
    page = text(sign_in(owner), PAGE, **BY_COST)
    assert "Breakdown of $0.125" in page
    assert "No model calls" in page
    assert "billing/usageevent/?hour=2026-11-02T10%3A00" in page


@pytest.mark.usefixtures("hour")
def test_of_an_hour_the_ledger_is_at_hand_too(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    ledger = browser.get(browser.get(PAGE, BY_COST).context["ledger_url"])
    events = {event.event_id for event in ledger.context["cl"].result_list}
    assert {"first", "tool", "unknown"} <= events
    assert not events & {"before", "after"}


# --- Whose, and how many questions -----------------------------------------------------------------------------


def test_only_the_organizations_own_calls_and_sums_are_shown(
    owner: User, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send(call("ours", 1))
    send(call("theirs", 1, "5", user_id="eve", tags=["t"], model="m"), to=other_organization)
    page = text(sign_in(owner), PAGE, **BY_COST)
    assert "$1.00" in page
    for foreign in ("$5.00", ">eve<", ">t<", ">m<"):
        assert foreign not in page


def statements(client: Client, query: dict[str, str]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(PAGE, query).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.parametrize("query", [HOUR, BY_COST, {**BY_COST, "user_id": "u1"}, {"sort_by": "cost", "range": "90d"}])
def test_a_page_takes_the_same_few_statements_however_many_calls_there_are(
    query: dict[str, str], owner: User, sign_in: SignIn, send: Send
) -> None:
    browser = sign_in(owner)
    send(call("first", 1, user_id="u1", tags=["t"]))
    fold(now=NOW)
    statements(browser, query)
    few = statements(browser, query)
    send(*(call(f"c{item}", item % 60, user_id=f"u{item}", tags=[f"t{item}"], model=f"m{item}") for item in range(150)))
    fold(now=NOW)
    statements(browser, query)
    many = statements(browser, query)
    assert len(few) == len(many) <= 17
    for statement in many:
        if "billing_usageevent" in statement:
            assert "organization_id = " in statement
