"""An organization gets another slug: the old one leads to it until another organization takes it."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from costtrack.clock import utc_now
from organizations.models import AuditEntry, FormerSlug, Organization, User
from organizations.services import create_organization
from organizations.types import Role, Scope
from tests.conftest import Key, add_member, make_key

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def renamed(owner: User, organization: Organization) -> Client:
    """Acme is `acme-labs` now."""
    client = signed_in(owner)
    body = client.patch("/organizations/acme", {"slug": "acme-labs", "name": "Labs"}, content_type="application/json")
    assert (body.status_code, body.json()["slug"], body.json()["name"]) == (200, "acme-labs", "Labs")
    return client


def test_both_slugs_work_in_the_api(key: Key, renamed: Client, owner: User, operator_key: Key) -> None:
    for caller in (key.client(), operator_key.client(), renamed):
        for slug in ("acme-labs", "acme"):
            assert caller.get(f"/organizations/{slug}").json()["slug"] == "acme-labs"
            assert caller.get(f"/usage/summary?organization={slug}").json()["organization"] == "acme-labs"
    for slug in ("acme-labs", "acme"):
        assert renamed.get(f"/memberships/{slug}").json()["organization"] == "acme-labs"
    entry = AuditEntry.objects.get(action="organization.renamed")
    assert (entry.actor, entry.subject, entry.details) == (
        owner.email,
        "acme-labs",
        {"slug": "acme-labs", "before": "acme"},
    )


def test_pages_redirect_to_the_new_slug(renamed: Client) -> None:
    response = renamed.get("/o/acme/admin/usage/?range=7d&model=a%2Fb")
    assert (response.status_code, response["Location"]) == (307, "/o/acme-labs/admin/usage/?range=7d&model=a%2Fb")
    assert renamed.get(response["Location"]).status_code == 200
    assert (
        renamed.post("/o/acme/admin/billing/spendlimit/add/")["Location"]
        == "/o/acme-labs/admin/billing/spendlimit/add/"
    )


def test_the_old_slug_opens_nothing_to_others(renamed: Client, stranger: User, other_key: Key) -> None:
    assert signed_in(stranger).get("/o/acme/admin/usage/").status_code == 404
    assert signed_in(stranger).get("/memberships/acme").status_code == 404
    assert other_key.client().get("/organizations/acme").status_code == 404
    assert other_key.client().get("/organizations/acme-labs").status_code == 404


def test_another_organization_can_take_the_old_slug_and_then_has_it(
    renamed: Client, operator_key: Key, other_key: Key, other_organization: Organization
) -> None:
    taking = operator_key.client().patch("/organizations/globex", {"slug": "acme"}, format="json")
    assert (taking.status_code, taking.json()["slug"]) == (200, "acme")
    assert other_key.client().get("/organizations/acme").json()["name"] == other_organization.name
    assert renamed.get("/o/acme/admin/usage/").status_code == 404
    assert renamed.get("/organizations/acme").status_code == 404
    assert set(FormerSlug.objects.values_list("slug", flat=True)) == {"globex"}


def test_a_new_organization_takes_an_old_slug_only_if_it_names_it(renamed: Client) -> None:
    generated = create_organization(name="Acme", actor="tests", now=utc_now())
    assert generated.slug == "acme-2"
    assert create_organization(name="Acme", slug="acme", actor="tests", now=utc_now()).slug == "acme"
    assert not FormerSlug.objects.exists()


def test_going_back_to_the_old_slug(renamed: Client) -> None:
    for slug in ("acme", "acme-labs", "acme"):
        renamed.patch("/organizations/acme", {"slug": slug}, content_type="application/json")
    assert renamed.get("/organizations/acme-labs").json()["slug"] == "acme"
    assert list(FormerSlug.objects.values_list("slug", flat=True)) == ["acme-labs"]


@pytest.mark.parametrize("slug", ["Acme", "a b", "-a", "a--b", "x" * 64, "", "a/b", "ä"])
def test_what_is_no_slug_is_refused(owner: User, slug: str) -> None:
    refused = signed_in(owner).patch("/organizations/acme", {"slug": slug}, content_type="application/json")
    assert refused.status_code == 422
    assert "slug" in refused.json()["fields"]


def test_a_slug_in_use_is_a_conflict(owner: User, other_organization: Organization) -> None:
    refused = signed_in(owner).patch("/organizations/acme", {"slug": "globex"}, content_type="application/json")
    assert refused.status_code == 409
    assert not FormerSlug.objects.exists()


@pytest.mark.parametrize("role", [Role.ADMIN, Role.VIEWER])
def test_only_owners_change_it(organization: Organization, role: Role) -> None:
    client = signed_in(add_member(organization, "someone@acme.example", role))
    assert client.patch("/organizations/acme", {"slug": "x"}, content_type="application/json").status_code == 403
    managing: APIClient = make_key(organization, Scope.MANAGE, Scope.COSTS_READ).client()
    assert managing.patch("/organizations/acme", {"slug": "x"}, format="json").status_code == 403
    organization.refresh_from_db()
    assert organization.slug == "acme"


def test_the_page_changes_it_too(owner: User, organization: Organization) -> None:
    client = signed_in(owner)
    given = {"name": "Labs", "slug": "labs", "time_zone": "UTC", "week_start": 1}
    page = f"/o/acme/admin/organizations/organization/{organization.pk}/change/"
    assert 'name="slug"' in client.get(page).content.decode()
    saved = client.post(page, given)
    assert saved.status_code == 302, saved.content
    moved = client.get(saved["Location"])
    assert moved["Location"].startswith("/o/labs/admin/")
    assert client.get(moved["Location"]).status_code == 200
    organization.refresh_from_db()
    assert (organization.slug, organization.name) == ("labs", "Labs")
