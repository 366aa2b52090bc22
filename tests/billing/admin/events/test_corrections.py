"""Voiding events and setting their cost in the admin."""

import pytest
from django.test import Client
from django.urls import reverse

from billing.ledger.corrections import void
from billing.models import UsageEvent
from organizations.models import AuditEntry, Organization, User
from tests.billing.admin.conftest import SignIn
from tests.usage import NOW, Send, total_cost

ACTIONS = ("void", "adjust_cost")


@pytest.fixture
def event(send: Send) -> UsageEvent:
    send({"id": "a", "model": "m", "input_tokens": 1200, "cost_usd": "1.5"})
    return UsageEvent.objects.get()


def url(event: UsageEvent, action: str) -> str:
    return reverse(f"admin:billing_usageevent_{action}", args=[event.pk])


def page_of(event: UsageEvent) -> str:
    return reverse("admin:billing_usageevent_change", args=[event.pk])


def text(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_a_void_shows_what_it_takes_back_and_asks_for_a_reason(
    owner: User, event: UsageEvent, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    form_data = text(browser, url(event, "void"))
    for row in (">Cost</th>", ">$1.50<", ">Calls</th>", ">1,200<"):
        assert row in form_data

    missing = browser.post(url(event, "void"), {"reason": " "})
    assert "This field is required." in missing.content.decode()
    assert UsageEvent.objects.count() == 1

    done = browser.post(url(event, "void"), {"reason": "sent twice"}, follow=True).content.decode()
    assert "Event voided." in done
    assert "sent twice" in done
    assert owner.email in done
    assert total_cost(UsageEvent.objects.of(organization)) == 0
    assert AuditEntry.objects.get(action="event.voided").actor == owner.email


def test_a_new_cost_is_shown_beside_the_old_one_before_it_is_set(
    operator: User, event: UsageEvent, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(operator)
    form_data = {"cost_usd": "2.25", "reason": "as on the bill"}

    shown = browser.post(url(event, "adjust_cost"), form_data).content.decode()
    assert ">$1.50<" in shown
    assert "<strong>$2.25</strong>" in shown
    assert UsageEvent.objects.count() == 1

    done = browser.post(url(event, "adjust_cost"), {**form_data, "confirmed": "1"}, follow=True).content.decode()
    assert "Cost adjusted to $2.25." in done
    assert "The cost was adjusted manually." in done
    assert "+$0.75" in done
    assert total_cost(UsageEvent.objects.of(organization)) == 2.25


@pytest.mark.parametrize("cost", ["", "-1", "much", "1e30", "0." + "1" * 25])
def test_a_cost_that_cannot_be_is_refused_beside_the_field(
    cost: str, owner: User, event: UsageEvent, sign_in: SignIn
) -> None:
    response = sign_in(owner).post(url(event, "adjust_cost"), {"cost_usd": cost, "reason": "x", "confirmed": "1"})
    assert list(response.context["form"].errors) == ["cost_usd"]
    assert UsageEvent.objects.count() == 1


def test_the_cost_it_has_is_not_set_again(owner: User, event: UsageEvent, sign_in: SignIn) -> None:
    form_data = {"cost_usd": "1.50", "reason": "x", "confirmed": "1"}
    response = sign_in(owner).post(url(event, "adjust_cost"), form_data, follow=True)
    assert "The cost of the event is already 1.5 USD" in response.content.decode()
    assert UsageEvent.objects.count() == 1


def test_a_voided_event_says_so_and_offers_nothing_more(
    owner: User, event: UsageEvent, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    assert url(event, "void") in text(browser, page_of(event))
    row = void(organization=organization, event_id=event.pk, reason="test", actor="ct_key", now=NOW).adjustment

    page = text(browser, page_of(event))
    assert "Voided: excluded from all totals." in page
    assert all(url(event, action) not in page for action in ACTIONS)
    its_page = text(browser, page_of(row))
    assert "A correction of another event, by ct_key: test." in its_page
    assert all(url(row, action) not in its_page for action in ACTIONS)
    for action in ACTIONS:
        refused = browser.post(url(event, action), {"reason": "again", "cost_usd": "1"}, follow=True)
        assert "The event is already voided." in refused.content.decode()
        refused = browser.get(url(row, action), follow=True)
        assert "This row is an adjustment." in refused.content.decode()
    assert UsageEvent.objects.count() == 2


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("stranger", 403)])
def test_who_may_not_change_the_organization_sees_no_button_and_is_refused(
    who: str, status: int, event: UsageEvent, request: pytest.FixtureRequest, sign_in: SignIn
) -> None:
    browser = sign_in(request.getfixturevalue(who))
    if who == "viewer":
        assert url(event, "void") not in text(browser, page_of(event))
    for action in ACTIONS:
        assert browser.get(url(event, action)).status_code == status
        form_data = {"cost_usd": "1", "reason": "x", "confirmed": "1"}
        assert browser.post(url(event, action), form_data).status_code == status
    assert UsageEvent.objects.count() == 1
