"""The template context of the sign-in pages."""

from copy import copy
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from costtrack.organization_paths import installation_url
from organizations.models import User
from organizations.second_factor import lacks_second_factor
from organizations.security_log import recent_events


def sign_in_context(request: HttpRequest) -> dict[str, Any]:
    """A context processor for the sign-in pages only."""
    if not request.path_info.startswith(_beginning()):
        return {}
    user = request.user
    # As for an anonymous user: these pages have no sidebar, which is slow to build.
    anonymous = copy(request)
    anonymous.user = AnonymousUser()
    return {
        **admin.site.each_context(anonymous),
        "overview_url": installation_url("index"),
        "single_sign_on": settings.OIDC_NAME,
        "security_events": SimpleLazyObject(lambda: recent_events(user) if isinstance(user, User) else []),
        "second_factor_is_missing": SimpleLazyObject(lambda: isinstance(user, User) and lacks_second_factor(user)),
    }


def _beginning() -> str:
    return reverse("account_login").removesuffix("login")
