"""Actions that need a fresh sign-in: users who signed in a while ago confirm that it is them first, by their password,
an authenticator app or a passkey."""

import time

from allauth.account import app_settings
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import urlencode

from costtrack.errors import ForbiddenError
from costtrack.organization_paths import sign_in_url
from costtrack.tenancy import owner_scope
from organizations.models import User


def has_fresh_sign_in(request: HttpRequest, user: AbstractBaseUser) -> bool:
    """Whether the user signed in, or confirmed it, a moment ago."""
    records = get_authentication_records(request, user)
    return bool(records) and time.time() - records[-1]["at"] < app_settings.REAUTHENTICATION_TIMEOUT


def confirm_first(request: HttpRequest, user: User) -> HttpResponse | None:
    """Return a redirect to the confirmation, which returns to this page, or None if the sign-in is fresh."""
    if not _must_confirm(request, user):
        return None
    query = urlencode({REDIRECT_FIELD_NAME: request.get_full_path()})
    return HttpResponseRedirect(f"{sign_in_url('account_reauthenticate')}?{query}")


def check_fresh_sign_in(request: HttpRequest, user: User) -> None:
    """Raise ForbiddenError unless the sign-in is fresh."""
    if _must_confirm(request, user):
        raise ForbiddenError("Sign in again, and repeat the request.", code="fresh_sign_in_required")


def _must_confirm(request: HttpRequest, user: User) -> bool:
    """Users of single sign-on without a second factor have nothing to confirm with."""
    if has_fresh_sign_in(request, user):
        return False
    with owner_scope():  # a tenant scope shows no second factors
        return bool(get_reauthentication_flows(user))
