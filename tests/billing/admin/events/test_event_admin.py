"""The admin's pages of the ledger: events, and why each costs what it costs."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse

from billing.ledger.price_unpriced import price_unpriced
from billing.models import UsageEvent
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
    assert "Unknown organization." in page
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
        message = str(next(iter(response.context["messages"])))
        return response.status_code, response.redirect_chain[-1][0], message.replace(str(event_id), "ID")

    assert answer(foreign) == answer(uuid4())


# --- Read-only -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_an_event_cannot_be_changed_by_post(
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
    assert "priced later" in page
    assert "unpriced" not in page.split("result_list")[1]
    assert "$3.00" in page  # the adjustment


def test_the_empty_ledger_says_how_to_send_the_first_event(owner: User, sign_in: SignIn) -> None:
    page = text(sign_in(owner), LIST)
    assert "No usage yet" in page
    assert "http://testserver/usage/events" in page
    assert "No matches" in text(sign_in(owner), LIST, model="gpt")


# --- Why an event costs what it costs --------------------------------------------------------------------------


def test_a_computed_cost_is_shown_line_by_line(owner: User, send: Send, sign_in: SignIn) -> None:
    price = set_price("gpt-5", provider="openai", input="1.25", output="10", cache_read="0.125")
    send({"id": "a", "service": "openai", "model": "gpt-5", "input_tokens": 1200, "output_tokens": 34})
    page = text(sign_in(owner), page_of(UsageEvent.objects.get()))
    assert "Computed from the price at the time of the call." in page
    for figure in ("1,200", "$1.25 per million", "$0.0015", "34", "$10.00 per million", "$0.00034", "$0.00184"):
        assert f">{figure}<" in page
    assert reverse("admin:billing_priceversion_change", args=[price.pk]) in page


def test_a_reported_cost_stands_beside_what_our_prices_say(owner: User, send: Send, sign_in: SignIn) -> None:
    set_price("gpt-5", input="1")
    send({"model": "gpt-5", "input_tokens": 1_000_000, "cost_usd": "1.5", "compute_cost_usd": "0.25"})
    page = text(sign_in(owner), page_of(UsageEvent.objects.get()))
    assert "Reported by the caller." in page
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
    assert "The model had no price at that time." in before

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
    assert ">x</a>, " in page
    assert ">y</a>" in page
    assert "&lt;b&gt;" in page


def test_members_do_not_see_which_credential_an_operator_used(
    owner: User, organization: Organization, operator_key: Key, sign_in: SignIn
) -> None:
    operator_key.client().post(f"/usage/events?organization={organization.slug}", {"id": "a"})
    event = UsageEvent.objects.get()
    browser = sign_in(owner)
    assert "an operator" in text(browser, page_of(event))
    assert "an operator" in text(browser, "/admin/billing/ingestbatch/")
