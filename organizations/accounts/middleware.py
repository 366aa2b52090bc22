"""Enforces the second factor for users whose organization requires one."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from costtrack.organization_paths import sign_in_url
from organizations.models import User
from organizations.second_factor import lacks_second_factor


class SecondFactorMiddleware:
    """Redirects users without the required second factor to its setup page, from every admin page except logout: from
    the pages of an organization that requires it, and from pages of all organizations if one does."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._admin, self._logout = reverse("admin:index"), reverse("admin:logout")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if not path.startswith(self._admin) or path == self._logout:
            return self.get_response(request)
        user = request.user
        if not isinstance(user, User) or not lacks_second_factor(
            user, slug=getattr(request, "organization_slug", None)
        ):
            return self.get_response(request)
        return HttpResponseRedirect(sign_in_url("mfa_index"))
