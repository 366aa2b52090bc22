"""The template context of all admin pages."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from organizations.admin.switcher import switcher
from organizations.admin_request import chosen_organization
from organizations.clock import other_clock_url, shows_utc, zone_of
from organizations.models import Organization, User
from organizations.permissions import NOTIFICATIONS


def organization_context(request: HttpRequest) -> dict[str, Any]:
    """A context processor for admin pages only."""
    if not hasattr(request, "organization"):
        return {}
    organization = chosen_organization(request)
    has_zone = organization is not None and organization.time_zone != "UTC"
    return {
        "chosen_organization": organization,
        "shows_utc": shows_utc(request),
        "clock_zone": "UTC" if organization is None else zone_of(organization.calendar).key,
        "other_clock_url": other_clock_url(request) if has_zone else "",
        "shows_notices": organization is not None and _may_read_notices(request, organization),
        "switcher": SimpleLazyObject(lambda: switcher(request)),
    }


def _may_read_notices(request: HttpRequest, organization: Organization) -> bool:
    """Whether the bell is shown: to members who may see notices. Operators who are no members have read none."""
    role = request.user.roles.get(organization.pk) if isinstance(request.user, User) else None
    return role is not None and NOTIFICATIONS.read in role.scopes
