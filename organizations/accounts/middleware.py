"""Nobody works in the admin without the second factor that their organization asks for."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from costtrack.organization_paths import for_sign_in
from organizations.models import User
from organizations.second_factor import lacks_second_factor


class SecondFactorMiddleware:
    """Leads to the page where one is set up, which says why, before anything else of the admin but signing out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._admin, self._logout = reverse("admin:index"), reverse("admin:logout")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if not path.startswith(self._admin) or path == self._logout:
            return self.get_response(request)
        user = request.user
        if not isinstance(user, User) or not lacks_second_factor(user):
            return self.get_response(request)
        return HttpResponseRedirect(for_sign_in("mfa_index"))
