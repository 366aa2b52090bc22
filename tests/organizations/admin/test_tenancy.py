"""Whose rows the admin's pages show, and to whom. New admin pages are found by themselves."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.messages import get_messages
from django.db.models import Model
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from organizations.admin_base import OperatorAdmin, OrganizationScopedAdmin
from organizations.models import APICredential, AuditEntry, Membership, Organization, User
from organizations.types import Role, Scope
from tests.conftest import add_member, make_key

pytestmark = pytest.mark.django_db

SCOPED = [model for model, page in admin.site._registry.items() if isinstance(page, OrganizationScopedAdmin)]
NATIVE: list[type[Model]] = [Organization, Membership, APICredential, AuditEntry]
MANAGED = [Membership, APICredential, AuditEntry]


def url(model: type[Model], page: str, *arguments: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def row_of(model: type[Model], organization: Organization) -> Model:
    field = "pk" if model is Organization else "organization"
    found = model._default_manager.filter(**{field: organization.pk}).first()
    assert found is not None
    return found


@pytest.fixture(scope="module", autouse=True)
def _rows(shared_transaction: None) -> None:
    """Both organizations have a row of everything."""
    for slug, name in (("acme", "Acme Research"), ("globex", "Globex Labs")):
        organization = Organization.objects.create(slug=slug, name=name)
        add_member(organization, f"owner@{slug}.example", Role.OWNER)
        make_key(organization, *Scope)


def test_every_page_of_the_admin_is_on_one_of_the_two_sealed_bases() -> None:
    bases = {
        type(page).__name__: isinstance(page, OrganizationScopedAdmin | OperatorAdmin)
        for page in admin.site._registry.values()
    }
    assert bases == dict.fromkeys(bases, True)


@pytest.mark.parametrize("model", SCOPED)
def test_lists_show_nothing_of_other_organizations(model: type[Model], owners_browser: Client) -> None:
    page = owners_browser.get(url(model, "changelist"))
    assert page.status_code == 200
    for foreign in ("Globex", "globex"):
        assert foreign not in page.content.decode()


@pytest.mark.parametrize("model", NATIVE)
def test_a_row_of_another_organization_is_like_one_that_is_not_there(
    model: type[Model], owners_browser: Client, other_organization: Organization
) -> None:
    foreign = row_of(model, other_organization)
    for page in ("change", "history", "delete"):
        answers = {pk: _answer(owners_browser, url(model, page, pk), pk) for pk in (foreign.pk, 999_999)}
        assert len(set(answers.values())) == 1


def _answer(browser: Client, page: str, pk: int) -> tuple[Any, ...]:
    """What a page says of a row, with the message for the page to which it redirects."""
    response = browser.get(page)
    content = response.content.decode()
    messages = [str(message).replace(str(pk), "?") for message in get_messages(response.wsgi_request)]
    assert "lobex" not in content + str(messages)
    # The messages of the pages before are still among them.
    last = messages[-1] if response.status_code == 302 else ""
    return response.status_code, response.headers.get("Location"), last, "exist" in content


@pytest.mark.parametrize("model", NATIVE)
def test_the_own_row_is_shown(
    model: type[Model], viewers_browser: Client, owners_browser: Client, organization: Organization
) -> None:
    page = url(model, "change", row_of(model, organization).pk)
    assert owners_browser.get(page).status_code == 200
    assert viewers_browser.get(page).status_code == (403 if model in MANAGED else 200)


@pytest.mark.parametrize("model", NATIVE)
def test_viewers_read_and_do_not_change(
    model: type[Model], viewers_browser: Client, organization: Organization
) -> None:
    row = row_of(model, organization)
    assert viewers_browser.get(url(model, "add")).status_code == 403
    assert viewers_browser.post(url(model, "change", row.pk), {"name": "x"}).status_code == 403
    assert viewers_browser.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", SCOPED)
def test_operators_see_everything(model: type[Model], operators_browser: Client) -> None:
    assert operators_browser.get(url(model, "changelist")).status_code == 200


@pytest.mark.parametrize("model", SCOPED)
def test_unauthenticated_requests_are_redirected_to_the_sign_in_page(model: type[Model], client: Client) -> None:
    response = client.get(url(model, "changelist"))
    assert (response.status_code, response.headers["Location"].partition("?")[0]) == (302, "/admin/login/")


@pytest.mark.parametrize("model", SCOPED)
def test_searching_for_strange_things_is_no_error(model: type[Model], owners_browser: Client) -> None:
    # A search that is dropped leaves the page to be refused, and one that runs has an order that is dropped.
    page = url(model, "changelist")
    pages = {f"{page}?e=1"}
    for query in ("q=%00&p=x", "q=%F0%9F%98%80%27&o=x.9", "organization__id__exact=x", "nonsense=1"):
        response = owners_browser.get(f"{page}?{query}")
        assert response.status_code in (200, 302, 400), query  # Django refuses lookups that a page does not offer
        if response.status_code == 302:
            pages.add(response.headers["Location"])
    for redirected in pages:
        assert owners_browser.get(redirected, follow=True).status_code in (200, 400), redirected


def test_only_the_own_organizations_can_be_chosen(owners_browser: Client) -> None:
    for model in (Membership, APICredential):
        page = owners_browser.get(url(model, "add"))
        choices = page.context["adminform"].form.fields["organization"].queryset
        assert [str(choice) for choice in choices] == ["Acme Research"]
        assert "Globex Labs" not in page.content.decode()


def test_another_organization_cannot_be_posted_either(owners_browser: Client, other_organization: Organization) -> None:
    before = Membership.objects.count()
    form = {"organization": other_organization.pk, "email": "x@acme.example", "role": "viewer"}
    response = owners_browser.post(url(Membership, "add"), form)
    assert response.status_code == 200
    assert "not one of the available choices" in response.content.decode()
    assert Membership.objects.count() == before


def test_a_viewer_of_one_organization_and_admin_of_another_changes_only_the_other(
    owner: User, other_organization: Organization, browser_of: Callable[[User], Client], organization: Organization
) -> None:
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    browser = browser_of(owner)
    page = browser.get(url(Organization, "changelist")).content.decode()
    assert "Acme" in page
    assert "Globex" in page
    assert browser.post(url(Organization, "change", other_organization.pk), {"name": "x"}).status_code == 403
    assert browser.post(url(Organization, "change", organization.pk), {"name": "x"}).status_code == 200
    add_page = browser.get(url(APICredential, "add")).content.decode()
    assert "Globex Labs</option>" not in add_page  # the switcher has it


def test_the_lists_are_counted_up_to_a_cap(owners_browser: Client, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(20) as queries:
        owners_browser.get(url(AuditEntry, "changelist"))
    counts = [query["sql"] for query in queries.captured_queries if "COUNT(" in query["sql"]]
    assert counts
    assert all("LIMIT 5000" in sql for sql in counts)


@pytest.mark.parametrize(
    "name", ["get_queryset", "get_object", "has_view_permission", "formfield_for_foreignkey", "changeform_view"]
)
def test_a_subclass_that_overrides_a_sealed_name_cannot_be_made(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        type("Leaky", (OrganizationScopedAdmin,), {name: lambda *_: None})


def test_a_mixin_cannot_override_a_sealed_name() -> None:
    class Mixin:
        def get_queryset(self, request: HttpRequest) -> Any:
            return AuditEntry.objects.all()

    with pytest.raises(TypeError, match="get_queryset"):
        type("Leaky", (Mixin, OrganizationScopedAdmin), {})


def test_editable_lists_are_forbidden() -> None:
    with pytest.raises(TypeError, match="list_editable"):
        type("Leaky", (OrganizationScopedAdmin,), {"list_editable": ("name",)})


@pytest.mark.parametrize(
    "lookup", ["secret_hash__startswith=a", "previous_hash__gt=0", "organization__plan__code=free"]
)
def test_an_address_cannot_ask_about_columns_that_the_page_does_not_offer(owners_browser: Client, lookup: str) -> None:
    assert owners_browser.get(f"{url(APICredential, 'changelist')}?{lookup}").status_code == 400
