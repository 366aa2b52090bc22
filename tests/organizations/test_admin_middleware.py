"""Members' admin requests run under row-level security."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from organizations.middleware import AdminTenantScopeMiddleware
from organizations.models import AuditEntry, Organization, User


def visible(user: User | AnonymousUser, path: str = "/admin/") -> list[str]:
    """The organizations that a view sees that forgot every filter."""
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.extend(Organization.objects.order_by("slug").values_list("slug", flat=True))
        return HttpResponse()

    request = RequestFactory().get(path)
    request.user = user
    AdminTenantScopeMiddleware(view)(request)
    return seen


def test_the_database_shows_members_their_own_organizations_only(owner: User, stranger: User) -> None:
    assert visible(owner) == ["acme"]
    assert visible(stranger) == ["globex"]


def test_operators_and_pages_outside_of_the_admin_are_not_in_a_scope(
    owner: User, stranger: User, operator: User
) -> None:
    assert visible(operator) == ["acme", "globex"]
    assert visible(owner, "/organizations") == ["acme", "globex"]
    assert visible(AnonymousUser(), "/admin/login/") == ["acme", "globex"]


@pytest.mark.parametrize(("status", "entries"), [(200, 1), (400, 1), (500, 0)])
def test_writes_of_a_failing_page_are_rolled_back(
    owner: User, organization: Organization, status: int, entries: int
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        AuditEntry.objects.create(organization=organization, actor="x", action="x", subject="x")
        return HttpResponse(status=status)

    request = RequestFactory().get("/admin/")
    request.user = owner
    AdminTenantScopeMiddleware(view)(request)
    assert AuditEntry.objects.count() == entries
