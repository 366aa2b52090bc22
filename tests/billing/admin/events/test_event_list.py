"""The admin's list of the ledger: filters, search, and quick at any size."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.admin.events import event_search
from billing.models import UsageEvent
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.events.test_event_admin import LIST, at, events, page_of, text
from tests.usage import Send

# --- Filters and search ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"kind": "tool_call"}, ["tool"]),
        ({"status": "failure"}, ["failed"]),
        ({"cost_source": "reported"}, ["reported"]),
        ({"model": "GPT"}, ["reported"]),
        ({"run": "run-1"}, ["failed", "tool"]),
        ({"kind": "tool_call", "status": "failure"}, []),
        ({"when_from": "2026-11-02"}, ["failed", "reported"]),
        ({"when_to": "2026-11-01"}, ["tool"]),
        ({"when_from": "2026-11-01", "when_to": "2026-11-01"}, ["tool"]),
        ({"when_from": "not a day", "kind": "not a kind"}, ["failed", "reported", "tool"]),
        ({"model": "\0"}, []),
        ({"batch": "not an id"}, []),
        ({"kind": "", "status": "", "model": "", "when_from": "", "when_to": ""}, ["failed", "reported", "tool"]),
    ],
)
def test_filters_narrow_the_list(
    query: dict[str, str], expected: list[str], owner: User, send: Send, sign_in: SignIn
) -> None:
    send(
        {"id": "failed", "status": "failure", "run_id": "run-1", "occurred_at": "2026-11-02T00:00:01Z"},
        {"id": "reported", "model": "gpt-5", "cost_usd": "1", "occurred_at": "2026-11-02T00:00:00Z"},
        {"id": "tool", "kind": "tool_call", "run_id": "run-1", "occurred_at": "2026-11-01T23:59:59.999999Z"},
    )
    assert events(sign_in(owner), **query) == expected


def test_a_batch_shows_its_events(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "other"})
    batch = send({"id": "a"}, {"id": "b"}).batch_id
    assert sorted(events(sign_in(owner), batch=str(batch))) == ["a", "b"]


@pytest.mark.parametrize("name", ["event", "own id", "run", "session", "request"])
def test_search_finds_an_event_by_each_of_its_ids(name: str, owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "other", "run_id": "other-run"})
    send({"id": "e-1", "source": "our-gateway", "run_id": "r-1", "session_id": "s-1", "request_id": "q-1"})
    own_id = str(UsageEvent.objects.get(event_id="e-1").pk)
    ids = {"event": "e-1", "own id": own_id, "run": "r-1", "session": "s-1", "request": "q-1"}
    assert events(sign_in(owner), q=ids[name]) == ["e-1"]
    assert events(sign_in(owner), q=f" {ids[name]} ") == ["e-1"]


@pytest.mark.parametrize("nonsense", ["nothing", "e-", "%", "'", "01a1f9f7-12f2-760b-8ac2-f55a1cbd055f"])
def test_search_finds_whole_ids_only(nonsense: str, owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "e-1"})
    assert events(sign_in(owner), q=nonsense) == []


def test_search_does_not_reach_another_organization(
    owner: User, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send({"id": "theirs", "run_id": "r", "request_id": "q"}, to=other_organization)
    own_id = UsageEvent.objects.get().pk
    for name in ("theirs", "r", "q", str(own_id)):
        assert events(sign_in(owner), q=name) == []


def test_other_columns_cannot_be_requested(owner: User, sign_in: SignIn) -> None:
    for lookup in ("metadata__icontains", "tags__contains", "organization__slug", "event_id"):
        assert sign_in(owner).get(LIST, {lookup: "x"}).status_code == 400


# --- Quick at any size -----------------------------------------------------------------------------------------


def queries(client: Client, url: str, query: dict[str, str | int] | None = None) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url, query or {}).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.parametrize(
    ("who", "query"),
    [
        *(("owner", query) for query in ({}, {"model": "m"}, {"run": "r"}, {"q": "r"}, {"q": "nothing"}, {"p": 2})),
        ("operator", {}),
        ("operator", {"q": "r"}),
    ],
)
def test_a_page_takes_the_same_few_queries_however_many_events_there_are(
    who: str, query: dict[str, str | int], request: pytest.FixtureRequest, send: Send, sign_in: SignIn
) -> None:
    browser = sign_in(request.getfixturevalue(who))
    send(*({"model": "m", "run_id": "r"} for _ in range(51)))
    few = queries(browser, LIST, query)
    send(*({"model": "m", "run_id": "r"} for _ in range(300)))
    many = queries(browser, LIST, query)
    assert len(few) == len(many) <= 16
    for sql in many:
        assert "COUNT(" not in sql or "LIMIT" in sql
        if 'FROM "billing_usageevent"' in sql:
            assert '"billing_usageevent"."organization_id" = ' in sql


def test_an_events_page_takes_the_same_few_queries_however_many_events_there_are(
    operator: User, send: Send, sign_in: SignIn
) -> None:
    browser = sign_in(operator)
    send({"id": "a", "model": "m", "cost_usd": "1"})
    page = page_of(UsageEvent.objects.get())
    browser.get(page)  # Django remembers its content types from here on
    few = queries(browser, page)
    send(*({"model": "m"} for _ in range(300)))
    assert len(queries(browser, page)) == len(few) <= 12


def test_the_order_is_that_of_the_index_for_any_url(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "older", "occurred_at": at(2)}, {"id": "newer", "occurred_at": at(1)})
    assert events(sign_in(owner), o="1.2.3") == ["newer", "older"]
    assert events(sign_in(owner), o="nonsense") == ["newer", "older"]


def test_what_has_no_index_is_looked_for_among_the_newest_events(
    owner: User, send: Send, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_search, "MAX_SEARCHED", 2)
    send(
        {"id": "1", "occurred_at": "2026-11-02T03:00:00Z", "model": "a"},
        {"id": "2", "occurred_at": "2026-11-02T02:00:00Z", "model": "b"},
        {"id": "3", "occurred_at": "2026-10-31T01:00:00Z", "model": "a", "request_id": "q", "run_id": "r"},
    )
    browser = sign_in(owner)
    assert events(browser, model="a") == ["1"]
    assert "back to Nov 2, 2026, 2:00 AM UTC" in text(browser, LIST, model="a")
    assert events(browser, model="a", when_to="2026-10-31") == ["3"]
    assert events(browser, q="q") == []
    assert events(browser, model="a", run="r") == ["3"]
    assert events(browser, model="a", run=" ") == ["1"]
    assert events(browser) == ["1", "2", "3"]
