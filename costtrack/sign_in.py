"""The form that people sign in with: by e-mail address, and not only Django's staff."""

from typing import TYPE_CHECKING

from django.contrib.auth.forms import AuthenticationForm as DjangoAuthenticationForm
from unfold.forms import AuthenticationForm

from costtrack.admin_site import may_enter

if TYPE_CHECKING:
    from organizations.models import User


class SignInForm(AuthenticationForm):
    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "This e-mail address and this password do not go together.",
    }

    def confirm_login_allowed(self, user: "User") -> None:
        """In the same words as for a wrong password, so that nobody learns which addresses are known."""
        DjangoAuthenticationForm.confirm_login_allowed(self, user)
        if not may_enter(user):
            raise self.get_invalid_login_error()
