"""The admin site: members of an organization come in, not only Django's staff."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import path
from unfold.sites import UnfoldAdminSite

if TYPE_CHECKING:
    from organizations.models import User

_pages: list[tuple[str, Callable[[HttpRequest], HttpResponseBase], str]] = []


def register_page(route: str, view: Callable[[HttpRequest], HttpResponseBase], *, name: str) -> None:
    """Add a page that belongs to no model, for those who may come in: `admin:<name>`. To be called where an app's
    admin is imported, before addresses are looked up."""
    _pages.append((route, view, name))


def may_enter(user: "User") -> bool:
    """Operators, and members of at least one organization."""
    return user.is_active and (user.is_superuser or bool(user.roles))


class CosttrackAdminSite(UnfoldAdminSite):
    site_title = "costtrack"
    site_header = "costtrack"
    index_title = "Overview"

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        return user.is_authenticated and may_enter(user)

    def get_urls(self) -> list[Any]:
        from costtrack.health.page import health_page  # it needs this site, which is being made

        pages = [("health/", health_page, "health"), *_pages]
        own = [path(route, self.admin_view(view), name=name) for route, view, name in pages]
        return [*own, *super().get_urls()]

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The sidebar's search; a page number that cannot be is a 404."""
        try:
            return super().search(request, extra_context)
        except (ValueError, InvalidPage) as error:
            raise Http404 from error
