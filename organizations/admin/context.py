"""The template context of all admin pages."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from organizations.admin.switcher import switcher
from organizations.admin_request import chosen_organization, scopes_in
from organizations.permissions import NOTIFICATIONS


def organization_context(request: HttpRequest) -> dict[str, Any]:
    """A context processor for admin pages only."""
    if not hasattr(request, "organization"):
        return {}
    organization = chosen_organization(request)
    return {
        "chosen_organization": organization,
        "shows_notices": organization is not None and NOTIFICATIONS.read in scopes_in(request, organization.pk),
        "switcher": SimpleLazyObject(lambda: switcher(request)),
    }
