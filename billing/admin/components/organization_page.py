"""The base class of the dashboard pages: organization, access, filters in the URL, and automatic refresh.

A page's template extends `layout` and fills the block `live` with everything that changes. The browser requests the
same URL every few seconds and gets only that block (htmx).
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import resolve
from django.utils.cache import patch_vary_headers
from django.views.generic import View
from rest_framework.permissions import SAFE_METHODS

from billing.admin.components.cards import EmptyState
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.urls import admin_url
from billing.reports.usage.query import VisibleWindow, clip_to_history
from costtrack.calendar import Span
from costtrack.clock import utc_now
from costtrack.errors import DomainError, ForbiddenError
from costtrack.organization_paths import organization_url
from costtrack.replica.reads import ReplicaFailedError, reads
from costtrack.tenancy import same_scope
from organizations.admin.switcher import offered_organizations
from organizations.admin_request import chosen_organization, request_roles, request_user
from organizations.middleware import last_organization
from organizations.models import Organization, User
from organizations.permissions import USAGE, Resource
from organizations.plan_rights import PlanRights
from organizations.types import Role

_FULL_PAGE, _FRAGMENT = "admin/dashboard/full_page.html", "admin/dashboard/fragment.html"
EMPTY_PAGE = "admin/dashboard/empty_page.html"
_OF_ONE_ORGANIZATION = ("organization", "client_id")
"""Parameters that do not apply to another organization."""


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
    reads_replica: ClassVar[bool] = True
    """What the page shows may be read from the replica (`costtrack.replica.reads`)."""
    scripts: ClassVar[Sequence[str]] = ()
    """The page's own static files, besides those of every page."""

    organization: Organization
    user: User
    role: Role

    def page_context(self) -> dict[str, Any]:
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        organization = chosen_organization(request)
        slug = request.GET.get("organization")
        if organization is None or (slug is not None and slug != organization.slug):
            return _to_an_organization(request, slug, self.title)
        self.organization, self.user, (self.role,) = organization, request_user(request), request_roles(request)
        request.current_app = admin.site.name
        if self.reads_replica and request.method in SAFE_METHODS:
            before = dict(vars(self))
            try:
                with reads(self.user.email) as is_replica, same_scope():
                    response = self._response(request, *args, **kwargs)
                    return _finished(response) if is_replica else response
            except ReplicaFailedError:
                vars(self).clear()
                vars(self).update(before)
        return self._response(request, *args, **kwargs)

    def _response(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.now = utc_now()
        self.times = LocalTimes(self.organization.calendar, self.now)
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
            "as_of": self.times.recorded(self.now),
            "refresh_seconds": self.refresh_seconds,
            "page_stylesheets": self.stylesheets,  # the theme has `styles` and `scripts` of its own
            "page_scripts": self.scripts,
        }
        response = TemplateResponse(self.request, template, {**site_context, **common, **context}, status=status)
        patch_vary_headers(response, ["HX-Request"])
        return response


def _finished(response: HttpResponseBase) -> HttpResponseBase:
    """Return a response that reads nothing later, unless it is streamed."""
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise Http404  # the replica may lack the row
    return response.render() if isinstance(response, TemplateResponse) else response


def _to_an_organization(request: HttpRequest, slug: str | None, title: str) -> HttpResponseBase:
    """Redirect to the same page of the named organization, or of the one that the user visited last. Operators, who may
    open every organization, choose one instead."""
    user = request_user(request)
    if slug is not None:
        if not _may_open(user, slug):
            raise Http404
        return HttpResponseRedirect(_url_in(request, slug))
    if user.is_superuser and (offered := offered_organizations(user, None)):
        links = [(name.name, _url_in(request, name.slug)) for name in offered]
        links.append(("All organizations", admin_url("organizations_organization_changelist")))
        empty = EmptyState("domain", "Choose an organization", "This page shows one organization.", links)
        context = {**admin.site.each_context(request), "layout": _FULL_PAGE, "title": title, "empty": empty}
        return TemplateResponse(request, EMPTY_PAGE, context)
    last = last_organization(request, user)
    if last is None:
        context = {**admin.site.each_context(request), "title": "No organization yet", "cards": []}
        return TemplateResponse(request, "admin/index.html", {**context, "may_add": user.is_superuser})
    return HttpResponseRedirect(_url_in(request, last.slug))


def _may_open(user: User, slug: str) -> bool:
    """Whether the user may open the organization; a tenant scope shows only the rows of another one."""
    if user.is_superuser:
        return slug.isprintable() and Organization.objects.filter(slug=slug).exists()
    return slug in {name.slug for name in user.organization_names}


def _url_in(request: HttpRequest, slug: str) -> str:
    """Return the URL of the same page of an organization, without the filters that are ids of another one."""
    match = resolve(request.path_info)
    url = organization_url(slug, match.url_name or "index", *match.kwargs.values())
    query = request.GET.copy()
    for name in _OF_ONE_ORGANIZATION if "organization" in query else ():
        query.pop(name, None)
    return f"{url}?{query.urlencode()}" if query else url
