"""Addresses below `/o/<slug>/`: one organization's pages, with every link kept to it."""

import re
from itertools import product

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.urls import get_script_prefix, reverse

from billing.models import NotificationAddress, Upload
from organizations.admin_base import OrganizationScopedAdmin
from organizations.models import APICredential, AuditEntry, Membership, Organization, Team, User
from organizations.types import Role
from tests.conftest import Key

SCOPED = [model for model, page in admin.site._registry.items() if isinstance(page, OrganizationScopedAdmin)]
MANAGED = [Membership, APICredential, AuditEntry, NotificationAddress, Team, Upload]
LINKS = re.compile(r'<a [^>]*href="(/[^"]*)"')


@pytest.fixture
def of_both(owner: User, other_organization: Organization, key: Key, other_key: Key) -> User:
    """The owner of Acme, who only looks at Globex. Both have a row of everything."""
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    return owner


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


@pytest.mark.parametrize("who", ["of_both", "operator"])
def test_lists_show_the_named_organization_alone(who: str, of_both: User, request: pytest.FixtureRequest) -> None:
    browser = signed_in(request.getfixturevalue(who))
    for model, (slug, other) in product(SCOPED, (("acme", "Globex Labs"), ("globex", "Acme Research"))):
        page = browser.get(f"/o/{slug}{list_of(model)}")
        if slug == "globex" and who == "of_both" and model in MANAGED:
            assert page.status_code == 403, model
            continue
        assert page.status_code == 200, model
        assert other not in page.content.decode().split('id="main"')[1], model


def test_every_link_keeps_to_the_organization(of_both: User) -> None:
    page = signed_in(of_both).get("/o/acme/admin/billing/usageevent/").content.decode()
    links = LINKS.findall(page)
    others = [link for link in links if not link.startswith("/o/acme/admin/")]
    assert len(links) > 15
    own = {link for link in others if link.startswith("/account/")}
    assert set(others) - own == {"/o/globex/admin/", "/admin/"}, "only the switcher leads elsewhere, and it does"
    assert get_script_prefix() == "/"


@pytest.mark.parametrize("slug", ["globex", "no-such", "%00", "a b"])
def test_anothers_organization_and_an_unknown_one_are_alike(
    owner: User, other_organization: Organization, slug: str
) -> None:
    page = signed_in(owner).get(f"/o/{slug}/admin/billing/usageevent/")
    assert page.status_code == 404
    assert b"Globex" not in page.content


def test_what_may_be_done_is_by_the_role_there(of_both: User) -> None:
    browser = signed_in(of_both)
    assert browser.get("/o/acme/admin/billing/spendlimit/add/").status_code == 200
    assert browser.get("/o/globex/admin/billing/spendlimit/add/").status_code == 403
    page = browser.get("/o/acme/admin/organizations/apicredential/add/")
    choices = page.context["adminform"].form.fields["organization"].queryset
    assert [str(choice) for choice in choices] == ["Acme Research"]


def test_rows_of_another_organization_have_no_page_there(of_both: User, other_key: Key) -> None:
    browser = signed_in(of_both)
    path = reverse("admin:organizations_apicredential_change", args=[other_key.credential.pk])
    Membership.objects.filter(organization__slug="globex").update(role=Role.ADMIN)
    assert browser.get(f"/o/globex{path}").status_code == 200
    assert browser.get(f"/o/acme{path}").status_code == 302


def test_an_unauthenticated_request_is_redirected_to_the_sign_in_page_and_back(organization: Organization) -> None:
    answer = Client().get("/o/acme/admin/billing/usageevent/?q=1")
    assert answer.status_code == 302
    assert "login" in answer["Location"]
    assert answer["Location"].endswith("next=/o/acme/admin/billing/usageevent/%3Fq%3D1")


def test_the_prefix_alone_leads_to_the_admin_and_the_apis_have_none(of_both: User) -> None:
    browser = signed_in(of_both)
    assert browser.get("/o/acme")["Location"] == "/o/acme/admin/"
    assert browser.get("/o/acme/")["Location"] == "/o/acme/admin/"
    assert browser.get("/o/acme/usage/summary").status_code == 404
    assert browser.get("/o/").status_code == 404


def test_row_level_security_is_that_of_the_organization(of_both: User, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def look(self: OrganizationScopedAdmin, request: object, extra_context: object = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('role'), current_setting('costtrack.organizations')")
            seen.extend(str(value) for value in cursor.fetchone() or ())
        raise PermissionError

    monkeypatch.setattr(OrganizationScopedAdmin, "get_queryset", look)
    with pytest.raises(PermissionError):
        signed_in(of_both).get("/o/globex/admin/billing/run/")
    globex = Organization.objects.get(slug="globex")
    assert seen[:2] == ["costtrack_tenant", str(globex.pk)]
