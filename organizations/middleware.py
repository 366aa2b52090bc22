"""Which organization a page of the admin is about, and row-level security for it (see `costtrack.tenancy`)."""

from collections.abc import Callable
from http import HTTPStatus

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import get_script_prefix, reverse

from costtrack.organization_paths import script_prefix, split
from costtrack.tenancy import tenant_scope
from organizations.models import Organization, User

_LAST = "organization"
"""In the session: the slug of the organization whose pages were looked at last."""


class OrganizationPathMiddleware:
    """Takes `/o/<slug>` off the path (see `costtrack.organization_paths`). Only the admin has such addresses."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._admin = reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        found = split(request.path_info)
        if found is None:
            return self.get_response(request)
        slug, rest = found
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
    """Members who are not operators use the admin inside a tenant scope: of the organization that the address names,
    or of all that are theirs. `request.organization` is the one that is named; another's is unknown."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._prefix = reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not request.path_info.startswith(self._prefix) or not user.is_authenticated:
            return self.get_response(request)
        organization = _named(request, user)
        request.organization = organization  # type: ignore[attr-defined]
        if user.is_superuser:
            return self.get_response(request)
        with tenant_scope(*([organization.pk] if organization is not None else user.roles)):
            response = self.get_response(request)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                transaction.set_rollback(True)
            return response


def _named(request: HttpRequest, user: User) -> Organization | None:
    slug: str | None = getattr(request, "organization_slug", None)
    if slug is None:
        return None
    visible = Organization.objects.visible_to(user).select_related("plan")
    # A slug that no organization can have is not asked for: PostgreSQL refuses some characters.
    organization = visible.filter(slug=slug).first() if slug.isprintable() else None
    if organization is None:
        raise Http404
    if request.session.get(_LAST) != slug:
        request.session[_LAST] = slug
    return organization


def last_organization(request: HttpRequest, user: User) -> Organization | None:
    """The one that was looked at last, else the first one by name; None: the person has none."""
    visible = Organization.objects.visible_to(user).order_by("name", "id")
    return visible.filter(slug=request.session.get(_LAST, "")).first() or visible.first()
