"""What every page has: whose it is, who may see it, filters in its address, and numbers that refresh by themselves.

A page's template extends the `layout` of its context and fills the block `live`: all of it that changes. The browser
asks for the same address again every few seconds, and is answered with that block alone.
"""

from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import resolve
from django.utils.cache import patch_vary_headers
from django.views.generic import View

from costtrack.clock import utc_now
from costtrack.errors import DomainError
from costtrack.organization_paths import for_organization
from organizations.admin_request import chosen_organization, person_of, roles_here
from organizations.middleware import last_organization
from organizations.models import Organization, User
from organizations.types import Role

_WHOLE, _PART = "admin/dashboard/whole.html", "admin/dashboard/part.html"
_REFUSED = "admin/dashboard/refused.html"


class OrganizationPage(View):
    """A subclass says its title and template, and answers `page_context()`.

    A DomainError becomes a page that says what is the matter, with its status.
    """

    title: ClassVar[str]
    template_name: ClassVar[str]
    refresh_seconds: ClassVar[int] = 15
    """How often the numbers are asked for again; 0: never."""

    organization: Organization
    person: User
    role: Role

    def page_context(self) -> dict[str, Any]:
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        organization = chosen_organization(request)
        if organization is None:
            return _to_an_organization(request)
        self.organization, self.person, (self.role,) = organization, person_of(request), roles_here(request)
        self.now = utc_now()
        request.current_app = admin.site.name
        try:
            return super().dispatch(request, *args, **kwargs)
        except DomainError as refused:
            return self._answer(_REFUSED, {"refused": refused}, status=refused.status)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self._answer(self.template_name, self.page_context())

    def _answer(self, template: str, context: dict[str, Any], *, status: int = HTTPStatus.OK) -> TemplateResponse:
        is_part = bool(self.request.headers.get("HX-Request"))
        around = {} if is_part else admin.site.each_context(self.request)
        common = {
            "layout": _PART if is_part else _WHOLE,
            "title": self.title,
            "organization": self.organization,
            "now": self.now,
            "refresh_seconds": self.refresh_seconds,
        }
        response = TemplateResponse(self.request, template, {**around, **common, **context}, status=status)
        patch_vary_headers(response, ["HX-Request"])
        return response


def _to_an_organization(request: HttpRequest) -> HttpResponseRedirect | TemplateResponse:
    """The same page of the organization that was looked at last."""
    organization = last_organization(request, person_of(request))
    if organization is None:
        context = {**admin.site.each_context(request), "title": "No organization yet", "cards": []}
        return TemplateResponse(request, "admin/index.html", {**context, "may_add": person_of(request).is_superuser})
    match = resolve(request.path_info)
    url = for_organization(organization.slug, match.url_name or "index", *match.kwargs.values())
    query = request.META.get("QUERY_STRING", "")
    return HttpResponseRedirect(f"{url}?{query}" if query else url)
