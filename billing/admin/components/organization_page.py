"""The base class of the dashboard pages: organization, access, filters in the URL, and automatic refresh.

A page's template extends `layout` and fills the block `live` with everything that changes. The browser requests the
same URL every few seconds and gets only that block (htmx).
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import resolve
from django.utils.cache import patch_vary_headers
from django.views.generic import View

from billing.admin.components.cards import EmptyState
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.urls import admin_url
from billing.reports.usage.query import VisibleWindow, clip_to_history
from costtrack.calendar import Span
from costtrack.clock import utc_now
from costtrack.errors import DomainError, ForbiddenError
from costtrack.organization_paths import organization_url
from organizations.admin_request import chosen_organization, request_roles, request_user
from organizations.middleware import last_organization
from organizations.models import Organization, User
from organizations.permissions import USAGE, Resource
from organizations.plan_rights import PlanRights
from organizations.types import Role

_FULL_PAGE, _FRAGMENT = "admin/dashboard/full_page.html", "admin/dashboard/fragment.html"
EMPTY_PAGE = "admin/dashboard/empty_page.html"


class OrganizationPage(View):
    """A subclass sets `title` and `template_name`, and implements `page_context()`.

    A DomainError is rendered as an error page with its status.
    """

    title: ClassVar[str]
    template_name: ClassVar[str]
    refresh_seconds: ClassVar[int] = 15
    """The refresh interval; 0 disables the refresh."""
    stylesheets: ClassVar[Sequence[str]] = ()
    resource: ClassVar[Resource] = USAGE
    """What the page shows, and so who may see it."""
    explains_plan: ClassVar[bool] = False
    """The page itself explains what the plan does not show; others respond with the API's refusal."""
    scripts: ClassVar[Sequence[str]] = ()
    """The page's own static files, besides those of every page."""

    organization: Organization
    user: User
    role: Role

    def page_context(self) -> dict[str, Any]:
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        organization = chosen_organization(request)
        if organization is None:
            return _to_an_organization(request)
        self.organization, self.user, (self.role,) = organization, request_user(request), request_roles(request)
        self.now = utc_now()
        self.times = LocalTimes(organization.calendar, self.now)
        request.current_app = admin.site.name
        try:
            self._check_access()
            return super().dispatch(request, *args, **kwargs)
        except DomainError as refused:
            links = [("Clear filters", request.path)]
            if refused.extra.get("plan"):
                links.append(("Compare plans", admin_url("plan")))
            empty = EmptyState("block", refused.message, links=links)
            return self._respond(EMPTY_PAGE, {"empty": empty}, status=refused.status)

    @property
    def plan_rights(self) -> PlanRights:
        return PlanRights(self.organization, self.user.is_superuser)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self._respond(self.template_name, self.page_context())

    def visible(self, span: Span) -> VisibleWindow:
        """Clip a span to the plan's history. Raises ForbiddenError if nothing of it is visible."""
        since = self.plan_rights.history_start(self.now)
        return clip_to_history(organization=self.organization, window=span, since=since)

    def _check_access(self) -> None:
        read = self.resource.read
        if read is not None and read not in self.role.scopes:
            raise ForbiddenError("Your role does not show this page.", code="missing_scope", extra={"scope": read})
        if self.resource.is_usage and not self.explains_plan:
            self.plan_rights.check_api()

    def _respond(self, template: str, context: dict[str, Any], *, status: int = HTTPStatus.OK) -> TemplateResponse:
        is_fragment = bool(self.request.headers.get("HX-Request"))
        site_context = {} if is_fragment else admin.site.each_context(self.request)
        common = {
            "layout": _FRAGMENT if is_fragment else _FULL_PAGE,
            "title": self.title,
            "organization": self.organization,
            "now": self.now,
            "as_of": self.times.exact(self.now),
            "refresh_seconds": self.refresh_seconds,
            "page_stylesheets": self.stylesheets,  # the theme has `styles` and `scripts` of its own
            "page_scripts": self.scripts,
        }
        response = TemplateResponse(self.request, template, {**site_context, **common, **context}, status=status)
        patch_vary_headers(response, ["HX-Request"])
        return response


def _to_an_organization(request: HttpRequest) -> HttpResponseRedirect | TemplateResponse:
    """Redirect to the same page of the organization that the user visited last."""
    organization = last_organization(request, request_user(request))
    if organization is None:
        context = {**admin.site.each_context(request), "title": "No organization yet", "cards": []}
        return TemplateResponse(request, "admin/index.html", {**context, "may_add": request_user(request).is_superuser})
    match = resolve(request.path_info)
    url = organization_url(organization.slug, match.url_name or "index", *match.kwargs.values())
    query = request.META.get("QUERY_STRING", "")
    return HttpResponseRedirect(f"{url}?{query}" if query else url)
