"""The template context of all admin pages."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from organizations.admin.switcher import switcher
from organizations.admin_request import chosen_organization
from organizations.models import Organization, User
from organizations.permissions import NOTIFICATIONS


def organization_context(request: HttpRequest) -> dict[str, Any]:
    """A context processor for admin pages only."""
    if not hasattr(request, "organization"):
        return {}
    organization = chosen_organization(request)
    return {
        "chosen_organization": organization,
        "shows_notices": organization is not None and _may_read_notices(request, organization),
        "switcher": SimpleLazyObject(lambda: switcher(request)),
    }


def _may_read_notices(request: HttpRequest, organization: Organization) -> bool:
    """Whether the bell is shown: to members who may see notices. Operators who are no members have read none."""
    role = request.user.roles.get(organization.pk) if isinstance(request.user, User) else None
    return role is not None and NOTIFICATIONS.read in role.scopes
