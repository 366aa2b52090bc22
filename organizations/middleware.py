"""The organization of an admin request, and its row-level security (see `costtrack.tenancy`)."""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import get_script_prefix, resolve, reverse
from rest_framework.permissions import SAFE_METHODS

from costtrack.organization_paths import script_prefix, split
from costtrack.replica.last_writes import remember_write
from costtrack.tenancy import tenant_scope
from organizations.models import Organization, User
from organizations.principals import Principal
from organizations.selectors import closing_refusal, find_organization

_REOPEN = "organizations_organization_reopen"
_LAST_SLUG_KEY = "organization"
"""Session key of the slug of the organization that was viewed last."""


class OrganizationPathMiddleware:
    """Strips `/o/<slug>` from the path (see `costtrack.organization_paths`). Only the admin has such URLs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._admin = reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        match = split(request.path_info)
        if match is None:
            return self.get_response(request)
        slug, rest = match
        prefix = f"{get_script_prefix()}o/{slug}"
        if rest == "/":
            return HttpResponseRedirect(f"{prefix}{self._admin}")
        if not rest.startswith(self._admin):
            return self.get_response(request)
        request.path_info = rest
        request.META["SCRIPT_NAME"] = prefix
        request.organization_slug = slug  # type: ignore[attr-defined]
        with script_prefix(f"{prefix}/"):
            return self.get_response(request)


class AdminTenantScopeMiddleware:
    """Runs admin requests of members in a tenant scope: of the organization in the URL, or of all of theirs. Sets
    `request.organization`; the organization of another tenant is a 404."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._prefix = reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not request.path_info.startswith(self._prefix) or not user.is_authenticated:
            return self.get_response(request)
        organization = _resolve_organization(request, user)
        if organization is not None and organization.slug != request.organization_slug:  # type: ignore[attr-defined]
            return _redirect_to(request, organization)
        request.organization = organization  # type: ignore[attr-defined]
        if organization is not None and organization.closes_at is not None and not _may_send(request):
            messages.error(request, "The organization is closed, so it cannot be changed.")
            return HttpResponseRedirect(request.get_full_path())
        if user.is_superuser:
            return self.get_response(request)
        with tenant_scope(*([organization.pk] if organization is not None else user.roles)):
            response = self.get_response(request)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                transaction.set_rollback(True)
            return response


class LastWriteMiddleware:
    """Remembers what a caller has written last, so that the caller's next report shows it. Only installations with a
    read replica have it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # Of an API, the authentication has set a `Principal`.
        user: User | Principal | AnonymousUser | None = getattr(request, "user", None)
        if request.method not in SAFE_METHODS and user is not None and user.is_authenticated:
            remember_write(user.label if isinstance(user, Principal) else user.email)
        return response


def _redirect_to(request: HttpRequest, organization: Organization) -> HttpResponse:
    """Redirect from the URL with a former slug to the same page. Forms are sent again."""
    _, _, query = request.get_full_path().partition("?")
    path = f"{get_script_prefix().removesuffix(f'/o/{request.organization_slug}/')}/o/{organization.slug}"  # type: ignore[attr-defined]
    url = f"{path}{quote(request.path_info)}"
    return HttpResponseRedirect(f"{url}?{query}" if query else url, preserve_request=True)


def _resolve_organization(request: HttpRequest, user: User) -> Organization | None:
    slug: str | None = getattr(request, "organization_slug", None)
    if slug is None:
        return None
    organization = find_organization(Organization.objects.visible_to(user).select_related("plan"), slug)
    if organization is None:
        closes_at = user.closes_at(slug)
        if closes_at is not None:
            raise PermissionDenied(closing_refusal(closes_at).message)
        raise Http404
    if organization.slug != slug:
        return organization
    if request.session.get(_LAST_SLUG_KEY) != slug:
        request.session[_LAST_SLUG_KEY] = slug
    return organization


def _may_send(request: HttpRequest) -> bool:
    """Whether the request is one that an organization that is closing still allows: reading, and reopening it."""
    return request.method in ("GET", "HEAD") or resolve(request.path_info).url_name == _REOPEN


def last_organization(request: HttpRequest, user: User) -> Organization | None:
    """Return the organization viewed last, or the first one by name; None if the user has none."""
    visible = Organization.objects.visible_to(user).order_by("name", "id")
    return visible.filter(slug=request.session.get(_LAST_SLUG_KEY, "")).first() or visible.first()
