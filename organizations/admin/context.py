"""The template context of all admin pages."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from organizations.admin.switcher import switcher
from organizations.admin_request import chosen_organization


def organization_context(request: HttpRequest) -> dict[str, Any]:
    """A context processor for admin pages only."""
    if not hasattr(request, "organization"):
        return {}
    return {
        "chosen_organization": chosen_organization(request),
        "switcher": SimpleLazyObject(lambda: switcher(request)),
    }
