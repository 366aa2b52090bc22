"""Saved views on the explorer's page: their links, and the forms that save, rename and delete them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase

from billing import saved_views
from billing.admin.components.files import access_of
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.urls import admin_url
from billing.admin.dashboard.explore.explore_form import ExploreForm
from billing.models import SavedView
from costtrack.admin_site import register_page
from costtrack.errors import DomainError, InvalidError

PARAMETER = "view"
"""The id of the view that is shown, in the URL besides its parameters."""
_DEFAULT = f"range={ExploreForm.default_range}"
"""Without parameters the explorer would open the default view."""


@dataclass(frozen=True, slots=True)
class ViewLink:
    view: SavedView
    url: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class SavedViews:
    """`current` is the view that is shown, if the user may change it. `parameters` are those that would be saved."""

    links: Sequence[ViewLink]
    current: SavedView | None
    parameters: str
    may_share: bool


def saved_views_of(views: Sequence[SavedView], request: HttpRequest, *, may_share: bool) -> SavedViews:
    shown = request.GET.get(PARAMETER, "")
    links = [ViewLink(view, url_of(view), is_current=str(view.pk) == shown) for view in views]
    current = next((link.view for link in links if link.is_current), None)
    if current is not None and current.is_shared and not may_share:
        current = None
    return SavedViews(links, current, known_parameters(request.GET), may_share)


def url_of(view: SavedView) -> str:
    """Return the URL of the explorer with the parameters of a view."""
    path = admin_url("explore")
    return f"{path}?{view.parameters}{'&' if view.parameters else ''}{PARAMETER}={view.pk}"


def known_parameters(query: QueryDict) -> str:
    """Return the query string without what is no parameter of the explorer, such as the page."""
    known = query.copy()
    for name in query:
        if name not in saved_views.PARAMETERS or not query[name]:
            del known[name]
    return known.urlencode()


class ExploreViewsPage(OrganizationPage):
    """Receives the forms, and returns to the explorer."""

    title: ClassVar[str] = "Saved views"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return HttpResponseRedirect(admin_url("explore"))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        data = request.POST
        try:
            view = self._change(data)
        except DomainError as refused:
            messages.error(request, refused.message)
            parameters = known_parameters(QueryDict(data.get("parameters", "")))
            return HttpResponseRedirect(f"{admin_url('explore')}?{parameters or _DEFAULT}")
        return HttpResponseRedirect(url_of(view) if view is not None else f"{admin_url('explore')}?{_DEFAULT}")

    def _change(self, data: QueryDict) -> SavedView | None:
        """Return the view to show; None after it was deleted."""
        access, action, name = access_of(self), data.get("action", ""), data.get("name", "")
        if action == "create":
            view = saved_views.create_view(
                access=access,
                name=name,
                parameters=known_parameters(QueryDict(data.get("parameters", ""))),
                is_shared=bool(data.get("is_shared")),
                now=self.now,
            )
            messages.success(self.request, f"The view {view.name} is saved.")
            return view
        view_id = _id(data.get("view", ""))
        if action == "rename":
            return saved_views.change_view(access=access, view_id=view_id, changes={"name": name})
        if action in ("default", "no_default"):
            changes = {"is_default": action == "default"}
            return saved_views.change_view(access=access, view_id=view_id, changes=changes)
        if action == "delete":
            saved_views.delete_view(access=access, view_id=view_id)
            messages.success(self.request, "The view is deleted.")
            return None
        raise InvalidError("Unknown action.", param="action")


def _id(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(2**62)) else 0


register_page("explore/views/", ExploreViewsPage.as_view(), name="explore_views")
