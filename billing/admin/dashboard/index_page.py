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


def front_page(request: HttpRequest) -> HttpResponseBase:
    if chosen_organization(request) is not None:
        return HttpResponseRedirect(reverse("admin:usage"))
    user = request_user(request)
    if not user.is_superuser and len(user.roles) == 1:
        organization = last_organization(request, user)
        if organization is not None:
            return HttpResponseRedirect(organization_url(organization.slug, "usage"))
    return admin.site.index(request)


register_page("", front_page, name="index")
