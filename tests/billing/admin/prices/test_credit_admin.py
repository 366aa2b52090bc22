"""Credits in the admin: added, shown and voided as by the API."""

from decimal import Decimal

import pytest
from django.test import Client

from billing.ledger.credits import NewCredit, create_credit
from billing.models import Credit, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Organization, User

LIST = "/o/acme/admin/billing/credit/"
FORM = {
    "amount_usd": "12.5",
    "reason": "Outage",
    "start_date_0": "2026-11-01",
    "start_date_1": "",
    "end_date_0": "2026-11-02",
    "end_date_1": "",
    "user_id": "ada",
    "tags": "a, b",
}


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def credit(organization: Organization) -> Credit:
    return create_credit(
        organization=organization, credit=NewCredit(Decimal(3), "Refund"), actor="ct_key", now=utc_now()
    )


def test_a_credit_is_added_with_its_period_and_dimensions(organization: Organization, owner: User) -> None:
    response = signed_in(owner).post(f"{LIST}add/", {**FORM, "organization": organization.pk})

    assert response.status_code == 302, response.content.decode()
    row = Credit.objects.get()
    assert (row.amount_usd, row.actor, row.dimensions) == (
        Decimal("12.5"),
        owner.email,
        {"user_id": "ada", "tags": ["a", "b"]},
    )
    assert sum(event.token_cost_usd or 0 for event in UsageEvent.objects.all()) == Decimal("-12.5")
    assert UsageEvent.objects.count() == 2


def test_what_the_service_refuses_is_shown_at_its_field(organization: Organization, owner: User) -> None:
    response = signed_in(owner).post(f"{LIST}add/", {**FORM, "organization": organization.pk, "amount_usd": "-1"})
    assert "Must be more than 0" in response.content.decode()
    assert not Credit.objects.exists()


def test_the_list_and_the_page_show_it(credit: Credit, viewer: User) -> None:
    browser = signed_in(viewer)
    for path in (LIST, f"{LIST}{credit.pk}/change/"):
        page = browser.get(path).content.decode()
        assert "Refund" in page
        assert "The organization" in page
    assert browser.post(f"{LIST}add/", FORM).status_code == 403


def test_a_credit_is_voided_with_a_reason(credit: Credit, owner: User) -> None:
    browser = signed_in(owner)
    (path,) = {
        line.split('"')[0]
        for line in browser.get(f"{LIST}{credit.pk}/change/").content.decode().split('href="')
        if "void" in line.split('"')[0]
    }
    browser.post(path, {"reason": "Booked twice."})
    credit.refresh_from_db()
    assert (credit.voided_by, credit.void_reason) == (owner.email, "Booked twice.")
    assert "already voided" in browser.get(path, follow=True).content.decode()
