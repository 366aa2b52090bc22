"""What a role may see and change is the same by the API and in the web UI, because both read one table."""

import pytest
from django.contrib import admin
from django.test import Client

from organizations import permissions
from organizations.admin_base import OrganizationScopedAdmin
from organizations.models import Organization, User
from organizations.permissions import Resource
from organizations.types import Role
from tests.conftest import add_member
from tests.pages import pages_of

# The endpoint and the page of each list that both have.
LISTS = {
    "audit": "organizations/auditentry/",
    "members": "organizations/membership/",
    "credentials": "organizations/apicredential/",
    "limits": "billing/spendlimit/",
    "limit-requests": "billing/increaserequest/",
    "prices": "billing/priceversion/",
    "agreements": "billing/agreement/",
    "prices/reprice": "billing/repricing/",
    "webhooks": "billing/webhookendpoint/",
    "deliveries": "billing/delivery/",
}
USAGE_LISTS = {
    "/usage/events": "billing/usageevent/",
    "/usage/authorizations": "billing/authorization/",
    "/costs/runs": "runs/",
    "/costs/sessions": "sessions/",
    "/spend/tags": "explore/",
    "/usage/summary": "usage/",
    "/usage/requests": "requests/",
    "/usage/price-check": "price-check/",
}


@pytest.fixture(params=list(Role))
def role(request: pytest.FixtureRequest) -> Role:
    found: Role = request.param
    return found


@pytest.fixture
def client(organization: Organization, role: Role) -> Client:
    client = Client()
    client.force_login(add_member(organization, f"{role}@acme.example", role))
    return client


def test_each_list_has_one_answer_for_a_role(client: Client, role: Role) -> None:
    answers = {}
    for name, page in LISTS.items():
        answers[name] = (
            client.get(f"/organizations/acme/{name}").status_code,
            client.get(f"/o/acme/admin/{page}").status_code,
        )
    for name, page in USAGE_LISTS.items():
        answers[name] = (client.get(name).status_code, client.get(f"/o/acme/admin/{page}").status_code)
    assert {name: pair for name, pair in answers.items() if pair[0] != pair[1]} == {}


@pytest.mark.parametrize("page", [LISTS["audit"], LISTS["members"], LISTS["credentials"]])
def test_viewers_see_no_members_credentials_or_audit_log(page: str, viewer: User, organization: Organization) -> None:
    client = Client()
    client.force_login(viewer)
    assert client.get(f"/o/acme/admin/{page}").status_code == 403
    assert client.get(f"/admin/{page}").status_code == 403


def test_the_sidebar_links_only_to_pages_that_open(client: Client, role: Role) -> None:
    links = pages_of(client, "/o/acme/admin/")
    assert links
    assert {link: status for link in links if (status := client.get(link).status_code) != 200} == {}


def test_every_admin_of_rows_names_its_resource() -> None:
    table = {resource for resource in vars(permissions).values() if isinstance(resource, Resource)}
    admins = [site for site in admin.site._registry.values() if isinstance(site, OrganizationScopedAdmin)]
    assert {type(site).__name__ for site in admins if site.resource not in table} == set()


def test_a_role_that_may_change_a_resource_may_see_it() -> None:
    resources = [resource for resource in vars(permissions).values() if isinstance(resource, Resource)]
    for resource in resources:
        for role in Role:
            scopes = (None, *role.scopes)
            assert resource.read in scopes or resource.change not in scopes, (resource, role)
