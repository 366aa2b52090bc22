"""Where the admin begins: with the usage of the organization that the page is about, or of somebody's only one.
Operators and members of several choose first."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from costtrack.admin_site import register_page
from costtrack.organization_paths import for_organization
from organizations.admin_request import chosen_organization, person_of
from organizations.middleware import last_organization


def front_page(request: HttpRequest) -> HttpResponseBase:
    if chosen_organization(request) is not None:
        return HttpResponseRedirect(reverse("admin:usage"))
    person = person_of(request)
    if not person.is_superuser and len(person.roles) == 1:
        organization = last_organization(request, person)
        if organization is not None:
            return HttpResponseRedirect(for_organization(organization.slug, "usage"))
    return admin.site.index(request)


register_page("", front_page, name="index")
