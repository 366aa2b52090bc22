"""The admin's index: redirects to the usage page of the current or only organization. Operators and members of several
organizations see the overview."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from costtrack.admin_site import register_page
from costtrack.organization_paths import organization_url
from organizations.admin_request import chosen_organization, request_user
from organizations.middleware import last_organization
from organizations.models import Organization, User
from organizations.permissions import USAGE


def front_page(request: HttpRequest) -> HttpResponseBase:
    user, chosen = request_user(request), chosen_organization(request)
    if chosen is not None:
        return HttpResponseRedirect(reverse(f"admin:{_front_page_in(user, chosen)}"))
    if not user.is_superuser and len(user.roles) == 1:
        organization = last_organization(request, user)
        if organization is not None:
            return HttpResponseRedirect(organization_url(organization.slug, _front_page_in(user, organization)))
    return admin.site.index(request)


def _front_page_in(user: User, organization: Organization) -> str:
    """Return the name of the first page: of all usage, or of the own for a role that sees only that."""
    return "usage" if user.is_superuser or USAGE.read in user.roles[organization.pk].scopes else "own_usage"


register_page("", front_page, name="index")
