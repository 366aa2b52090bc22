"""The admin's pages of the ledger: events, and why each costs what it costs."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.admin import finding
from billing.ledger.adjust import price_unpriced
from billing.models import IngestBatch, UsageEvent
from costtrack.ids import batch_of
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.billing.admin.conftest import SignIn
from tests.conftest import Key
from tests.usage import NOW, Send, set_price

LIST = "/admin/billing/usageevent/"


def page_of(event: UsageEvent) -> str:
    return reverse("admin:billing_usageevent_change", args=[event.pk])


def events(client: Client, **query: str | int) -> list[str]:
    """The callers' ids of the events that the list shows, in its order."""
    response = client.get(LIST, query)
    assert response.status_code == 200
    return [event.event_id for event in response.context["cl"].result_list]


def text(client: Client, url: str, **query: str | int) -> str:
    response = client.get(url, query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def at(minutes: int) -> str:
    return (NOW - timedelta(minutes=minutes)).isoformat()


# --- Whose events ----------------------------------------------------------------------------------------------


def test_members_see_their_organizations_events_newest_first(
    owner: User, viewer: User, stranger: User, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send({"id": "older", "occurred_at": at(2)}, {"id": "newer", "occurred_at": at(1)})
    send({"id": "theirs"}, to=other_organization)
    assert events(sign_in(owner)) == ["newer", "older"]
    assert events(sign_in(viewer)) == ["newer", "older"]
    assert events(sign_in(stranger)) == ["theirs"]


def test_the_list_shows_one_organization_at_a_time(
    operator: User, organization: Organization, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send({"id": "acme's"})
    send({"id": "globex's"}, to=other_organization)
    browser = sign_in(operator)
    assert events(browser) == ["acme's"]  # the first one by name
    assert events(browser, organization=other_organization.pk) == ["globex's"]
    assert events(browser, organization=organization.pk) == ["acme's"]


def test_a_member_of_several_organizations_chooses_among_them(
    owner: User, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    send({"id": "acme's"})
    send({"id": "globex's"}, to=other_organization)
    browser = sign_in(owner)
    assert events(browser) == ["acme's"]
    assert events(browser, organization=other_organization.pk) == ["globex's"]


@pytest.mark.parametrize("chosen", ["foreign", "999999999", "9" * 30, "x", "-1"])
def test_an_organization_of_others_is_like_one_that_is_not_there(
    chosen: str, owner: User, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send({"id": "mine"})
    send({"id": "theirs"}, to=other_organization)
    named = str(other_organization.pk) if chosen == "foreign" else chosen
    page = text(sign_in(owner), LIST, organization=named)
    assert "There is no such organization." in page
    assert other_organization.name not in page
    assert events(sign_in(owner), organization=named) == []


def test_a_foreign_event_answers_like_an_unknown_one(
    owner: User, other_organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send({"id": "theirs"}, to=other_organization)
    foreign = UsageEvent.objects.get().pk
    browser = sign_in(owner)

    def answer(event_id: UUID) -> tuple[int, str, str]:
        response = browser.get(reverse("admin:billing_usageevent_change", args=[event_id]), follow=True)
        said = str(next(iter(response.context["messages"])))
        return response.status_code, response.redirect_chain[-1][0], said.replace(str(event_id), "ID")

    assert answer(foreign) == answer(uuid4())


# --- Read-only -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_nobody_changes_an_event_not_even_by_post(
    who: str, request: pytest.FixtureRequest, send: Send, sign_in: SignIn
) -> None:
    browser = sign_in(request.getfixturevalue(who))
    send({"id": "a", "cost_usd": "1"})
    event = UsageEvent.objects.get()
    before = list(UsageEvent.objects.values())
    delete = reverse("admin:billing_usageevent_delete", args=[event.pk])
    for url, data in ((page_of(event), {"model": "other"}), (delete, {"post": "yes"}), (f"{LIST}add/", {})):
        assert browser.post(url, data).status_code == 403, url
    browser.post(LIST, {"action": "delete_selected", "_selected_action": str(event.pk), "post": "yes"})
    assert list(UsageEvent.objects.values()) == before


# --- Columns ---------------------------------------------------------------------------------------------------


def test_small_costs_keep_their_digits_and_unknown_ones_say_why(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"cost_usd": "0.0000123"}, {"cost_usd": "1234.5"}, {"model": "new-one", "input_tokens": 5})
    page = text(sign_in(owner), LIST)
    assert "$0.0000123" in page
    assert "$1,234.50" in page
    assert "unpriced: no price" in page


def test_an_event_that_was_priced_afterwards_does_not_look_unpriced(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    send({"id": "a", "model": "new-one", "input_tokens": 1_000_000})
    set_price("new-one", input="3")
    price_unpriced(organization=organization, now=NOW)
    page = text(sign_in(owner), LIST)
    assert "priced since" in page
    assert "unpriced" not in page.split("result_list")[1]
    assert "$3.00" in page  # the adjustment


def test_the_empty_ledger_says_how_to_send_the_first_event(owner: User, sign_in: SignIn) -> None:
    page = text(sign_in(owner), LIST)
    assert "No usage yet" in page
    assert "http://testserver/usage/events" in page
    assert "Nothing matches" in text(sign_in(owner), LIST, model="gpt")


# --- Filters and search ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
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
    query: dict[str, str], found: list[str], owner: User, send: Send, sign_in: SignIn
) -> None:
    send(
        {"id": "failed", "status": "failure", "run_id": "run-1", "occurred_at": "2026-11-02T00:00:01Z"},
        {"id": "reported", "model": "gpt-5", "cost_usd": "1", "occurred_at": "2026-11-02T00:00:00Z"},
        {"id": "tool", "kind": "tool_call", "run_id": "run-1", "occurred_at": "2026-11-01T23:59:59.999999Z"},
    )
    assert events(sign_in(owner), **query) == found


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


def test_other_columns_cannot_be_asked_for(owner: User, sign_in: SignIn) -> None:
    for lookup in ("metadata__icontains", "tags__contains", "organization__slug", "event_id"):
        assert sign_in(owner).get(LIST, {lookup: "x"}).status_code == 400


# --- Quick at any size -----------------------------------------------------------------------------------------


def queries(client: Client, url: str, query: dict[str, str | int] | None = None) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url, query or {}).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.parametrize("who", ["owner", "operator"])
@pytest.mark.parametrize("query", [{}, {"model": "m"}, {"run": "r"}, {"q": "r"}, {"q": "nothing"}, {"p": 2}])
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


def test_the_order_is_the_indexs_whatever_the_address_says(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "older", "occurred_at": at(2)}, {"id": "newer", "occurred_at": at(1)})
    assert events(sign_in(owner), o="1.2.3") == ["newer", "older"]
    assert events(sign_in(owner), o="nonsense") == ["newer", "older"]


def test_what_has_no_index_is_looked_for_among_the_newest_events(
    owner: User, send: Send, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST_LOOKED_THROUGH", 2)
    send(
        {"id": "1", "occurred_at": "2026-11-02T03:00:00Z", "model": "a"},
        {"id": "2", "occurred_at": "2026-11-02T02:00:00Z", "model": "b"},
        {"id": "3", "occurred_at": "2026-10-31T01:00:00Z", "model": "a", "request_id": "q", "run_id": "r"},
    )
    browser = sign_in(owner)
    assert events(browser, model="a") == ["1"]
    assert "back to 2026-11-02 02:00:00 UTC" in text(browser, LIST, model="a")
    assert events(browser, model="a", when_to="2026-10-31") == ["3"]
    assert events(browser, q="q") == []
    assert events(browser, model="a", run="r") == ["3"]
    assert events(browser) == ["1", "2", "3"]


# --- Why an event costs what it costs --------------------------------------------------------------------------


def test_a_computed_cost_is_shown_line_by_line(owner: User, send: Send, sign_in: SignIn) -> None:
    price = set_price("gpt-5", provider="openai", input="1.25", output="10", cache_read="0.125")
    send({"id": "a", "service": "openai", "model": "gpt-5", "input_tokens": 1200, "output_tokens": 34})
    page = text(sign_in(owner), page_of(UsageEvent.objects.get()))
    assert "Computed from the price that held when the call was made." in page
    for figure in ("1,200", "$1.25 per million", "$0.0015", "34", "$10.00 per million", "$0.00034", "$0.00184"):
        assert f">{figure}<" in page
    assert reverse("admin:billing_priceversion_change", args=[price.pk]) in page


def test_a_reported_cost_stands_beside_what_our_prices_say(owner: User, send: Send, sign_in: SignIn) -> None:
    set_price("gpt-5", input="1")
    send({"model": "gpt-5", "input_tokens": 1_000_000, "cost_usd": "1.5", "compute_cost_usd": "0.25"})
    page = text(sign_in(owner), page_of(UsageEvent.objects.get()))
    assert "As the caller reported it." in page
    for figure in ("$1.75", "$1.00", "$1.50", "+$0.50", "$0.25"):
        assert f">{figure}<" in page


def test_an_unpriced_event_says_why_and_its_correction_adds_the_cost(
    owner: User, organization: Organization, send: Send, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    send({"id": "a", "model": "new-one", "input_tokens": 2_000_000})
    event = UsageEvent.objects.get()
    before = text(browser, page_of(event))
    assert "Not known yet" in before
    assert "No price covers the model at that time." in before

    set_price("new-one", input="3")
    price_unpriced(organization=organization, now=NOW)
    correction = UsageEvent.objects.get(kind="adjustment")
    after = text(browser, page_of(event))
    assert ">$6.00<" in after
    assert page_of(correction) in after
    assert "$3.00 per million" in after

    its_page = text(browser, page_of(correction))
    assert "A correction of another event: priced." in its_page
    assert page_of(event) in its_page
    assert "$3.00 per million" in its_page


def test_an_event_names_its_batch_and_who_sent_it(
    owner: User, organization: Organization, key: Key, operator_key: Key, sign_in: SignIn
) -> None:
    key.client().post("/usage/events", {"id": "a", "tags": ["x", "y"], "metadata": {"note": "<b>"}})
    event = UsageEvent.objects.get()
    page = text(sign_in(owner), page_of(event))
    assert reverse("admin:billing_ingestbatch_change", args=[batch_of(event.pk)]) in page
    assert key.credential.name in page
    assert "x, y" in page
    assert "&lt;b&gt;" in page


def test_members_are_not_told_which_credential_an_operator_used(
    owner: User, organization: Organization, operator_key: Key, sign_in: SignIn
) -> None:
    operator_key.client().post(f"/usage/events?organization={organization.slug}", {"id": "a"})
    event = UsageEvent.objects.get()
    browser = sign_in(owner)
    assert "an operator" in text(browser, page_of(event))
    assert "an operator" in text(browser, "/admin/billing/ingestbatch/")


# --- Batches and runs ------------------------------------------------------------------------------------------


def test_batches_are_listed_with_what_became_of_their_records(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "a", "cost_usd": "1"}, now=NOW - timedelta(seconds=1))
    send({"id": "a", "cost_usd": "1"}, {"id": "a", "cost_usd": "2"}, {"model": "new-one"}, {"cost_usd": "oops"})
    browser = sign_in(owner)
    batches = browser.get("/admin/billing/ingestbatch/").context["cl"].result_list
    assert [(batch.accepted, batch.duplicates, batch.conflicts) for batch in batches] == [(1, 1, 1), (1, 0, 0)]
    for batch in IngestBatch.objects.all():
        page = text(browser, reverse("admin:billing_ingestbatch_change", args=[batch.pk]))
        assert f"batch={batch.pk}" in page


def test_batches_of_a_period_are_found_by_their_ids(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"id": "a"}, now=NOW - timedelta(days=1))
    send({"id": "b"}, now=NOW)
    browser = sign_in(owner)

    def received(**query: str) -> list[int]:
        rows = browser.get("/admin/billing/ingestbatch/", query).context["cl"].result_list
        return [row.received_at.day for row in rows]

    assert received() == [2, 1]
    assert received(when_from="2026-11-02") == [2]
    assert received(when_to="2026-11-01") == [1]


def test_a_runs_page_shows_its_cost_alone_and_with_the_runs_below_it(owner: User, send: Send, sign_in: SignIn) -> None:
    send({"run_id": "top", "cost_usd": "1"}, {"run_id": "sub", "parent_run_id": "top", "cost_usd": "0.5"})
    browser = sign_in(owner)
    rows = browser.get("/admin/billing/run/", {"q": "top"}).context["cl"].result_list
    assert [row.run_id for row in rows] == ["top"]
    page = text(browser, reverse("admin:billing_run_change", args=[rows[0].pk]))
    assert ">$1.00<" in page
    assert ">$1.50<" in page


def test_the_overview_shows_each_organization_and_what_waits(
    owner: User, operator: User, other_organization: Organization, sign_in: SignIn, api: Any
) -> None:
    api.post("/usage/events", [{"cost_usd": "12.5"}, {"model": "new-one"}])
    page = text(sign_in(owner), "/admin/")
    assert ">$12.50<" in page
    assert "1 event waits for a price" in page
    assert other_organization.name not in page
    assert other_organization.name in text(sign_in(operator), "/admin/")
