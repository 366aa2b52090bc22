"""The admin site. Members of organizations may use it, not only Django's staff users."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject, cached_property
from django.utils.module_loading import import_string
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite

from costtrack.names import clean_name
from costtrack.navigation import Navigation, matching_pages, navigation
from costtrack.organization_paths import sign_in_url
from costtrack.tenancy import owner_scope
from costtrack.unfold_settings import ADMIN_THEME

_MAX_TERM_LENGTH = 255


class _Resource(Protocol):
    """What a page shows; `organizations.permissions` has the table."""

    @property
    def read(self) -> str | None: ...


_pages: list[tuple[str, Callable[[HttpRequest], HttpResponseBase], str]] = []
_resources: dict[str, _Resource | None] = {}
"""By the names of the pages."""


def register_page(
    route: str, view: Callable[[HttpRequest], HttpResponseBase], *, name: str, resource: _Resource | None = None
) -> None:
    """Add an admin page that belongs to no model, as `admin:<name>`. Call it where an app's admin module is imported,
    before URLs are resolved. `resource` defaults to that of the view's class; the sidebar links to the page if the user
    may read it."""
    _pages.append((route, view, name))
    _resources[name] = resource or getattr(getattr(view, "view_class", None), "resource", None)


class CosttrackAdminSite(UnfoldAdminSite):
    site_title = "costtrack"
    site_header = "costtrack"
    index_title = "Overview"

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.is_authenticated and request.user.may_use_admin

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Redirect to the sign-in page (`organizations.accounts`), which returns to the requested page."""
        next_url = request.GET.get(REDIRECT_FIELD_NAME) or reverse("admin:index")
        if self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        user: Any = request.user
        if user.is_authenticated:
            if user.may_sign_in:
                return HttpResponseRedirect(sign_in_url("account_organizations"))
            _end_session(request)  # the account has lost its access
        return redirect_to_login(next_url, sign_in_url("account_login"))

    @method_decorator(never_cache)
    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        _end_session(request)
        return HttpResponseRedirect(sign_in_url("account_login"))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return HttpResponseRedirect(sign_in_url("account_change_password"))

    def get_urls(self) -> list[Any]:
        from costtrack.health.page import health_page  # imported late: it needs this site

        pages = [("health/", health_page, "health"), *_pages]
        own = [path(route, self.admin_view(view), name=name) for route, view, name in pages]
        return [*own, *super().get_urls()]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Build the list only where a template uses it: Django calls this for every page and checks each permission."""
        return SimpleLazyObject(lambda: super(CosttrackAdminSite, self).get_app_list(request, app_label))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        has_permission = self.has_permission(request)
        shown = navigation(request, partial(self._may_open, request)) if has_permission else Navigation(())
        return {**super().each_context(request), "navigation": shown}

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """The theme's own sidebar is replaced (`costtrack.navigation`)."""
        return []

    def _may_open(self, request: HttpRequest, view: str) -> bool:
        user: Any = request.user
        if not user.is_authenticated:
            return False
        if view.endswith("_changelist"):
            return bool(self._admin_by_view[view].has_view_permission(request))
        resource = _resources.get(view)
        if user.is_superuser or resource is None or resource.read is None:
            return True
        organization = getattr(request, "organization", None)
        roles = user.roles.values() if organization is None else [user.roles[organization.pk]]
        return any(resource.read in role.scopes for role in roles)

    @cached_property
    def _admin_by_view(self) -> dict[str, Any]:
        return {
            f"{model._meta.app_label}_{model._meta.model_name}_changelist": admin  # noqa: SLF001 - documented for this
            for model, admin in self._registry.items()
        }

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The palette: the pages that match `s` (all if it is empty), and what an app finds by
        `UNFOLD["COMMAND"]["search_callback"]`."""
        term = clean_name(request.GET.get("s", "").replace("\0", ""))[:_MAX_TERM_LENGTH]
        may_open = partial(self._may_open, request)
        results = matching_pages(navigation(request, may_open), term)
        if term:
            find = import_string(ADMIN_THEME["COMMAND"]["search_callback"])
            results += find(request, term)
        context = {"results": results, "term": term}
        return TemplateResponse(request, "unfold/helpers/command_results.html", context)


def _end_session(request: HttpRequest) -> None:
    """Sessions belong to no organization, so no tenant scope reaches them."""
    with owner_scope():
        logout(request)
