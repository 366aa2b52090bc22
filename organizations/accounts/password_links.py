"""Links in emails to choose a password: invitations and password resets.

A link is a hash of the user's current password and last sign-in, so it works once: choosing a password invalidates it
and all earlier links. Opening a link does not, because mail scanners open links too: allauth moves the key to the
session and redirects to a URL without it.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.utils.http import base36_to_int, int_to_base36

from costtrack.organization_paths import sign_in_url
from organizations.models import User

INVITATION_LIFETIME = timedelta(days=7)
"""Equal to Django's PASSWORD_RESET_TIMEOUT; password resets expire earlier."""
RESET_LIFETIME = timedelta(hours=1)


class PasswordLinkTokens(PasswordResetTokenGenerator):
    def check_token(self, user: Any, token: str | None) -> bool:
        if user is None or token is None or not super().check_token(user, token):
            return False
        if not user.has_usable_password():
            return True
        made_at = base36_to_int(token.partition("-")[0])
        return self._num_seconds(self._now()) - made_at <= RESET_LIFETIME.total_seconds()


def password_link(user: User) -> str:
    """Return the absolute URL."""
    token = PasswordLinkTokens().make_token(user)
    path = sign_in_url("account_reset_password_from_key", uidb36=int_to_base36(user.pk), key=token)
    return f"{settings.PUBLIC_URL}{path}"
