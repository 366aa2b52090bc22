"""Links from e-mails that let somebody choose a password: an invitation, or a way back for who has forgotten it.

A link is a hash over the person's present password and last sign-in, so it works once: choosing a password ends it, and
all others that were sent before. Opening it ends nothing, because mail scanners open links too: allauth moves the key
into the session and redirects to a page without it in the address.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.utils.http import base36_to_int, int_to_base36

from costtrack.organization_paths import for_sign_in
from organizations.models import User

INVITATION_LIFETIME = timedelta(days=7)
"""Django's own PASSWORD_RESET_TIMEOUT is this; a link that replaces a password ends before."""
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
    """The whole address."""
    token = PasswordLinkTokens().make_token(user)
    path = for_sign_in("account_reset_password_from_key", uidb36=int_to_base36(user.pk), key=token)
    return f"{settings.PUBLIC_URL}{path}"
