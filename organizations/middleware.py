"""Row-level security for the admin (see `costtrack.tenancy`)."""

from collections.abc import Callable
from http import HTTPStatus

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from costtrack.tenancy import tenant_scope


class AdminTenantScopeMiddleware:
    """Members who are not operators use the admin inside their organizations' tenant scope."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._prefix = reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(self._prefix):
            return self.get_response(request)
        user = request.user
        if not user.is_authenticated or user.is_superuser:
            return self.get_response(request)
        with tenant_scope(*user.roles):
            response = self.get_response(request)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                transaction.set_rollback(True)
            return response
