"""What the pages of signing in have in their context: the theme's looks, and what the installation offers."""

from copy import copy
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from costtrack.organization_paths import for_installation
from organizations.models import User
from organizations.second_factor import lacks_second_factor


def sign_in_context(request: HttpRequest) -> dict[str, Any]:
    """A context processor; other pages have nothing of it."""
    if not request.path_info.startswith(_beginning()):
        return {}
    person = request.user
    # As for nobody: these pages have no sidebar, which is what takes the admin its time.
    nobody = copy(request)
    nobody.user = AnonymousUser()
    return {
        **admin.site.each_context(nobody),
        "overview_url": for_installation("index"),
        "single_sign_on": settings.OIDC_NAME,
        "second_factor_is_missing": SimpleLazyObject(lambda: isinstance(person, User) and lacks_second_factor(person)),
    }


def _beginning() -> str:
    return reverse("account_login").removesuffix("login")
