"""A form that a service refuses is shown again with the error at its field and with what was entered."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import PriceVersion
from organizations.models import Membership, Organization, Team, User
from organizations.services import create_team
from organizations.types import Role
from tests.conftest import add_member
from tests.html import parse

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(owner: User) -> Client:
    client = Client()
    client.force_login(owner)
    return client


def refused(browser: Client, view: str, given: dict[str, Any], *args: int) -> Any:
    response = browser.post(f"/o/acme{reverse(f'admin:{view}', args=args)}", given)
    assert response.status_code == 200
    assert parse(response.content.decode()).text  # a complete page
    form = response.context["adminform"].form
    assert {name: form[name].value() for name in given} == given
    return form.errors


def test_a_team_of_a_name_that_is_taken_or_with_a_stranger(browser: Client, organization: Organization) -> None:
    create_team(organization=organization, name="core", actor="tests")
    given = {
        "organization": str(organization.pk),
        "name": "core",
        "display_name": "The core",
        "addresses": "a@b.example",
    }
    assert list(refused(browser, "organizations_team_add", {**given, "members": ""})) == ["__all__"]
    given |= {"name": "edge", "members": "owner@acme.example\nnobody@acme.example"}
    assert list(refused(browser, "organizations_team_add", given)) == ["members"]
    team = Team.objects.get()
    changed = {"name": "core", "display_name": "Other", "members": "nobody@acme.example", "addresses": ""}
    assert list(refused(browser, "organizations_team_change", changed, team.pk)) == ["members"]
    assert Team.objects.get().display_name == ""


def test_a_member_who_is_one_already_and_the_last_owner(
    browser: Client, organization: Organization, owner: User, viewer: User
) -> None:
    given = {"organization": str(organization.pk), "email": viewer.email, "role": "admin", "user_ids": "v-1\nv-2"}
    assert list(refused(browser, "organizations_membership_add", given)) == ["email"]
    own = Membership.objects.get(user=owner)
    errors = refused(browser, "organizations_membership_change", {"role": "viewer", "user_ids": "o-1"}, own.pk)
    assert "at least one owner" in str(errors)


def test_an_organization_whose_slug_is_taken(
    browser: Client, organization: Organization, other_organization: Organization
) -> None:
    given = {"name": "Acme", "slug": "globex", "time_zone": "Asia/Tokyo", "week_start": "7"}
    assert list(refused(browser, "organizations_organization_change", given, organization.pk)) == ["slug"]
    organization.refresh_from_db()
    assert (organization.name, organization.time_zone) == ("Acme Research", "UTC")


def test_a_price_that_overlaps(browser: Client, organization: Organization) -> None:
    admin = add_member(organization, "admin@acme.example", Role.ADMIN)
    browser.force_login(admin)
    given = {"organization": str(organization.pk), "provider": "", "model": "gpt-5", "input_usd_per_million": "x"}
    response = browser.post(f"/o/acme{reverse('admin:billing_priceversion_add')}", given)
    assert response.context["adminform"].form["model"].value() == "gpt-5"
    assert not PriceVersion.objects.filter(organization=organization).exists()
