"""The admin's pages of agreements."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.models import Agreement
from costtrack.calendar import utc_midnight
from organizations.models import AuditEntry, Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import plain

LIST = "/o/acme/admin/billing/agreement/"
ADD = f"{LIST}add/"


@pytest.fixture
def browser(owner: User, sign_in: SignIn) -> Client:
    return sign_in(owner)


def terms(organization: Organization, **fields: Any) -> dict[str, Any]:
    """What the form sends."""
    given = {"provider": "openai", "model_patterns": "", "discount_percent": "12.5", "unit_prices": "{}"}
    return {"organization": organization.pk, "starts": "", "ends": "", **given, **fields}


def agreement(organization: Organization, **fields: Any) -> Agreement:
    return Agreement.objects.create(organization=organization, provider="openai", discount_percent=10, **fields)


def text(response: Any) -> str:
    return plain(response.content.decode())


def errors(response: Any) -> dict[str, list[str]]:
    """The fields that the form came back with."""
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


def test_without_agreements_the_list_says_what_they_are(browser: Client) -> None:
    assert "No agreements yet" in text(browser.get(LIST))


def test_an_owner_adds_an_agreement(browser: Client, organization: Organization) -> None:
    assert browser.get(ADD).status_code == 200
    fields = {
        "model_patterns": "gpt-5*, gpt-4o",
        "kinds": ["input", "output"],
        "unit_prices": '{"cache_read": "0.1"}',
        "starts": "2026-01-01",
        "ends": "2027-01-01",
    }
    response = browser.post(ADD, terms(organization, **fields))
    row = Agreement.objects.get()
    assert response["Location"].endswith(f"/{row.pk}/change/")
    assert (row.organization, row.provider, row.model_patterns) == (organization, "openai", ["gpt-5*", "gpt-4o"])
    assert (row.discount_percent, row.kinds, row.unit_prices) == (
        Decimal("12.5"),
        ["input", "output"],
        {"cache_read": "0.1"},
    )
    assert (row.starts, row.ends) == (date(2026, 1, 1), date(2027, 1, 1))
    assert AuditEntry.objects.filter(action="agreement.created", actor="owner@acme.example").count() == 1
    shown = text(browser.get(response["Location"]))
    assert all(part in shown for part in ("openai", "gpt-5*, gpt-4o", "12.5%", "Input, Output", "Cache read"))
    assert "gpt-5*, gpt-4o" in text(browser.get(LIST))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"provider": ""}, "provider"),
        ({"discount_percent": "101"}, "discount_percent"),
        ({"discount_percent": "-1"}, "discount_percent"),
        ({"discount_percent": "0"}, "discount_percent"),
        ({"discount_percent": "much"}, "discount_percent"),
        ({"kinds": ["thoughts"]}, "kinds"),
        ({"unit_prices": "{"}, "unit_prices"),
        ({"unit_prices": "[1]"}, "unit_prices"),
        ({"unit_prices": '{"thoughts": "1"}'}, "unit_prices"),
        ({"unit_prices": '{"input": "-1"}'}, "unit_prices"),
        ({"unit_prices": '{"input": null}'}, "unit_prices"),
        ({"model_patterns": "x" * 300}, "model_patterns"),
        ({"starts": "2026-02-01", "ends": "2026-01-31"}, "ends"),
        ({"starts": "soon"}, "starts"),
    ],
)
def test_bad_input_is_explained_at_its_field(
    browser: Client, organization: Organization, fields: dict[str, Any], named: str
) -> None:
    assert list(errors(browser.post(ADD, terms(organization, **fields)))) == [named]
    assert not Agreement.objects.exists()


def test_an_agreement_can_only_be_ended(browser: Client, organization: Organization) -> None:
    row = agreement(organization, starts_at=utc_midnight(date(2026, 1, 1)))
    page = f"{LIST}{row.pk}/change/"
    assert "End the agreement" in text(browser.get(page))
    assert browser.post(page, {"ends": "2026-07-01", "discount_percent": "99"}).status_code == 302
    row.refresh_from_db()
    assert (row.ends, row.discount_percent) == (date(2026, 7, 1), 10)
    assert AuditEntry.objects.filter(action="agreement.ended").count() == 1


@pytest.mark.parametrize("ends", ["2025-12-30", "2026-08-01", "", "later"])
def test_an_end_that_cannot_be_is_refused(browser: Client, organization: Organization, ends: str) -> None:
    starts_at, ends_at = utc_midnight(date(2026, 1, 1)), utc_midnight(date(2026, 7, 2))
    row = agreement(organization, starts_at=starts_at, ends_at=ends_at)
    response = browser.post(f"{LIST}{row.pk}/change/", {"ends": ends})
    assert list(errors(response)) == ["ends"]
    row.refresh_from_db()
    assert row.ends == date(2026, 7, 1)


def test_agreements_of_other_organizations_are_not_there(
    browser: Client, organization: Organization, other_organization: Organization
) -> None:
    agreement(organization)
    theirs = agreement(other_organization, model_patterns=["secret-model"])
    assert "secret-model" not in text(browser.get(LIST))
    assert browser.get(f"{LIST}{theirs.pk}/change/").status_code in (302, 403, 404)
    browser.post(f"{LIST}{theirs.pk}/change/", {"ends": "2026-07-01"})
    theirs.refresh_from_db()
    assert theirs.ends is None
    assert list(errors(browser.post(ADD, terms(other_organization)))) == ["organization"]


def test_a_viewer_reads_and_changes_nothing(viewer: User, sign_in: SignIn, organization: Organization) -> None:
    browser, row = sign_in(viewer), agreement(organization)
    shown = text(browser.get(f"{LIST}{row.pk}/change/"))
    assert "10%" in shown
    assert "End the agreement" not in shown
    assert browser.get(ADD).status_code == 403
    assert browser.post(ADD, terms(organization)).status_code == 403
    assert browser.post(f"{LIST}{row.pk}/change/", {"ends": "2026-07-01"}).status_code == 403
    assert f"{row.pk}/delete" not in shown
    assert browser.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Agreement.objects.get().ends is None


def test_an_agreement_cannot_be_deleted(browser: Client, organization: Organization) -> None:
    row = agreement(organization)
    assert browser.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Agreement.objects.exists()
