"""The request log: model calls along an index, in pages, as `GET /usage/requests` tells them."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.admin.dashboard.request_log import request_log_page
from billing.models import UsageEvent
from billing.reports.usage import request_log
from billing.rollups.fold import fold_organization
from costtrack.clock import utc_now
from costtrack.organization_paths import organization_url
from organizations.models import Organization, Plan, User
from organizations.types import Scope
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.test_runs import text
from tests.billing.admin.tables import links, texts
from tests.conftest import Key, make_key
from tests.usage import Send, set_price

PAGE = "/o/acme/admin/requests/"


@pytest.fixture
def now() -> datetime:
    return utc_now()


def call(event_id: str, at: datetime, **others: Any) -> dict[str, Any]:
    return {"id": event_id, "occurred_at": at.isoformat(), "model": "gpt-5", "cost_usd": "0.25", **others}


def shown(response: Any) -> list[str]:
    """The callers' ids, in the order of the rows."""
    assert response.status_code == 200
    urls = links(response.context["table"], "When")
    by_url = {organization_url("acme", "billing_usageevent_change", item.pk): item.event_id for item in _events()}
    return [by_url[url] for url in urls]


def _events() -> list[UsageEvent]:
    return list(UsageEvent.objects.filter(organization__slug="acme"))


@pytest.fixture
def month(send: Send, now: datetime, organization: Organization) -> None:
    """Calls of many days; half of them folded."""
    hour = timedelta(hours=1)
    send(
        call("old", now - 72 * hour, model="opus", service="anthropic", run_id="r/1", session_id="s-1", user_id="ada"),
        call("middle", now - 48 * hour, tags=["a", "b"], capability="chat", user_id="ada", run_id="r/1"),
        call("tool", now - 47 * hour, kind="tool_call", tool="search"),
        now=now,
    )
    fold_organization(organization_id=organization.pk, now=now)
    send(
        call("failed", now - 24 * hour, status="failure", status_code=429, tags=["a"], user_id="bob"),
        call("new", now - hour, session_id="s-1", user_id="bob", cost_usd="0.5", run_id="r/1", tags=["b"]),
        now=now,
    )


@pytest.mark.usefixtures("month")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["new", "failed", "middle", "old"]),
        ({"status": "failure"}, ["failed"]),
        ({"model": "opus"}, ["old"]),
        ({"capability": "chat"}, ["middle"]),
        ({"client_id": "none"}, ["new", "failed", "middle", "old"]),
        ({"client_id": "nobody"}, []),
        ({"run": "r/1"}, ["new", "middle", "old"]),
        ({"session": "s-1"}, ["new", "old"]),
        ({"user_id": "ada"}, ["middle", "old"]),
        ({"tag": "a"}, ["failed", "middle"]),
        ({"tag": "b", "user_id": "ada"}, ["middle"]),
        ({"user_id": "ada", "model": "opus"}, ["old"]),
        ({"user_id": "bob", "status": "success"}, ["new"]),
        ({"run": "r/1", "session": "s-1", "user_id": "bob"}, ["new"]),
        ({"session": "s-1", "model": "gpt-5"}, ["new"]),
        ({"tag": "a", "status": "success", "capability": "chat"}, ["middle"]),
        ({"run": "r/1", "range": "today", "user_id": "ada"}, []),
        ({"tag": "%"}, []),
        ({"user_id": "AD"}, []),
    ],
)
def test_filters_leave_what_they_say(query: dict[str, str], expected: list[str], owner: User, sign_in: SignIn) -> None:
    assert shown(sign_in(owner).get(PAGE, query)) == expected


@pytest.mark.usefixtures("month")
@pytest.mark.parametrize("query", [{}, {"status": "failure"}, {"model": "opus"}, {"range": "7d"}])
def test_rows_are_those_of_the_api(query: dict[str, str], owner: User, sign_in: SignIn, key: Key) -> None:
    event_fields = key.client().get("/usage/requests", query).json()["results"]
    table = sign_in(owner).get(PAGE, query).context["table"]
    rows = texts(table)
    assert [url.split("/")[-3] for url in links(table, "When")] == [item["id"] for item in event_fields]
    assert [float(row["Cost"][1:]) for row in rows] == [float(item["cost_usd"]) for item in event_fields]
    tokens = [f"{item['prompt_tokens']:,} in {item['completion_tokens']:,} out" for item in event_fields]
    assert [row["Tokens"] for row in rows] == tokens


def test_a_row_says_who_what_and_how_much(owner: User, organization: Organization, sign_in: SignIn) -> None:
    set_price("gpt-5", provider="openai", input="1.25", output="10")
    sender = make_key(organization, *Scope, name="Night jobs")
    sender.client().post(
        "/usage/events",
        {
            "service": "openai",
            "model": "gpt-5",
            "input_tokens": 1200,
            "output_tokens": 34,
            "capability": "chat",
            "endpoint": "/v1/chat",
            "run_id": "a/b",
        },
        format="json",
    )
    browser = sign_in(owner)
    page = text(browser, PAGE)
    for message in ("1,200", "34", "$0.00184", "Night jobs", "/v1/chat", "Success", "UTC"):
        assert message in page
    assert organization_url("acme", "run", "a/b") in page
    assert len(browser.get(PAGE, {"client_id": sender.credential.client_id}).context["table"].rows) == 1


def test_unknown_costs_and_voided_calls_are_marked(owner: User, key: Key, sign_in: SignIn, send: Send) -> None:
    send({"id": "unknown", "model": "new-one", "input_tokens": 5}, {"id": "twice", "cost_usd": "3"}, now=utc_now())
    twice = UsageEvent.objects.get(event_id="twice")
    assert key.client().post(f"/usage/events/{twice.pk}/void", {"reason": "twice"}, format="json").status_code < 300
    page = text(sign_in(owner), PAGE)
    assert "Unpriced" in page
    assert "Voided" in page
    assert "$3.00" not in page


# --- Pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [{}, {"user_id": "ada"}, {"tag": "t"}, {"run": "r"}, {"user_id": "ada", "tag": "t"}])
def test_pages_go_on_and_back_without_gaps(
    query: dict[str, str], owner: User, sign_in: SignIn, send: Send, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log_page, "_CALLS_SHOWN", 3)
    event_fields = {"user_id": "ada", "tags": ["t"], "run_id": "r", "session_id": "s"}
    send(
        *(call(f"c{number}", now - timedelta(hours=9 * (number // 2)), **event_fields) for number in range(10)), now=now
    )
    browser = sign_in(owner)
    pages, older = [], "?" + "&".join(f"{name}={value}" for name, value in query.items())
    trail = None
    while older:
        response = browser.get(PAGE + older)
        pages.append(shown(response))
        trail, older = response.context["trail"], response.context["older"]
    assert sorted(item for page in pages for item in page) == [f"c{number}" for number in range(10)]
    assert len(pages) == 4
    assert trail is not None
    assert shown(browser.get(PAGE + trail.newer())) == pages[2]
    assert shown(browser.get(PAGE + trail.newest())) == pages[0]


def test_a_rare_mixture_is_looked_for_a_few_days_at_a_time(
    owner: User, sign_in: SignIn, send: Send, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "_MAX_DAYS", 2)
    send(
        call("rare", now - timedelta(days=6), user_id="ada", tags=["rare"]),
        *(call(f"c{day}", now - timedelta(days=day), user_id="ada") for day in range(6)),
        now=now,
    )
    browser = sign_in(owner)
    response, looked = browser.get(PAGE, {"user_id": "ada", "tag": "rare"}), 1
    assert "No matches yet" in response.content.decode()
    while not response.context["table"].rows:
        response, looked = browser.get(PAGE + response.context["older"]), looked + 1
    assert shown(response) == ["rare"]
    assert looked > 2


# --- What cannot be asked --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"run": "\0"}, "Null characters"),
        ({"range": "never"}, "Unknown period. Last 30 days is shown instead."),
        ({"start_date": "2026-13-40"}, "Enter a valid date"),
        ({"range": "custom"}, "Enter a start date"),
        ({"status": "maybe"}, "Select a valid choice"),
        ({"user_id": "x" * 256}, "at most 255"),
        ({"model": "\0", "client_id": "\0"}, "Null characters"),
    ],
)
def test_a_filter_that_cannot_be_says_so(query: dict[str, str], message: str, owner: User, sign_in: SignIn) -> None:
    page = text(sign_in(owner), PAGE, **query)
    assert message in page
    assert "These filters are invalid" in page


@pytest.mark.parametrize("after", ["x", "9" * 50 + "~1", "1~1", "253402300799999999~" + "0" * 32, "\0", "~", "-1~x"])
def test_a_cursor_that_is_none_is_no_error(after: str, owner: User, sign_in: SignIn) -> None:
    assert sign_in(owner).get(PAGE, {"after": after}).status_code in (200, 422)


def test_the_plan_says_how_far_back_members_see(
    owner: User, operator: User, organization: Organization, sign_in: SignIn
) -> None:
    organization.plan = Plan.objects.get(code="pro")
    organization.save()
    year_ago = {"start_date": f"{utc_now() - timedelta(days=365):%Y-%m-%d}"}
    page = text(sign_in(owner), PAGE, **year_ago)
    assert "shows the last 90 days" in page
    assert "shows the last 90 days" not in text(sign_in(operator), PAGE, **year_ago)
    long_ago = {"start_date": "2024-01-01", "end_date": "2024-01-02"}
    assert sign_in(owner).get(PAGE, long_ago).status_code == 403


def test_without_calls_the_page_says_how_they_come(owner: User, sign_in: SignIn) -> None:
    assert "No calls in this period" in text(sign_in(owner), PAGE)
    assert "No matching calls" in text(sign_in(owner), PAGE, model="none")


# --- Whose calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "viewer", "operator"])
def test_only_the_organizations_calls_are_shown(
    who: str,
    request: pytest.FixtureRequest,
    other_organization: Organization,
    send: Send,
    sign_in: SignIn,
    now: datetime,
) -> None:
    send(call("ours", now, run_id="r"), now=now)
    send(call("theirs", now, run_id="r", user_id="u"), to=other_organization, now=now)
    browser = sign_in(request.getfixturevalue(who))
    assert shown(browser.get(PAGE)) == ["ours"]
    assert shown(browser.get(PAGE, {"run": "r"})) == ["ours"]
    assert shown(browser.get(PAGE, {"user_id": "u"})) == []


def test_strangers_see_nothing(organization: Organization, stranger: User, sign_in: SignIn) -> None:
    assert sign_in(stranger).get(PAGE).status_code == 404


def statements(client: Client, **query: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(PAGE, query).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.parametrize("query", [{}, {"user_id": "ada"}, {"tag": "t", "status": "success"}, {"session": "s"}])
def test_a_page_takes_the_same_few_statements_however_many_calls_there_are(
    query: dict[str, str], owner: User, sign_in: SignIn, send: Send, now: datetime
) -> None:
    browser = sign_in(owner)
    event_fields = {"user_id": "ada", "tags": ["t"], "session_id": "s"}
    send(call("first", now, **event_fields), now=now)
    statements(browser, **query)
    few = statements(browser, **query)
    send(*(call(f"c{number}", now - timedelta(hours=number), **event_fields) for number in range(60)), now=now)
    statements(browser, **query)  # caches the sums of what is not folded
    many = statements(browser, **query)
    assert len(few) == len(many) <= 14
    for statement in many:
        if "billing_usageevent" in statement:
            assert "organization_id = " in statement
            assert "count(*)" not in statement.lower()
