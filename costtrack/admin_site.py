"""The admin site: members of an organization come in, not only Django's staff."""

from typing import TYPE_CHECKING, Any

from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.urls import path
from unfold.sites import UnfoldAdminSite

if TYPE_CHECKING:
    from organizations.models import User


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

        return [path("health/", self.admin_view(health_page), name="health"), *super().get_urls()]

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The sidebar's search; a page number that cannot be is a 404."""
        try:
            return super().search(request, extra_context)
        except (ValueError, InvalidPage) as error:
            raise Http404 from error
