"""Single sign-on with OpenID Connect, where settings name a provider.

The user with the email address that the provider has verified is signed in. Signing in never creates users, and
nothing from the provider is stored.
"""

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base.constants import AuthProcess
from django.http import HttpRequest

from organizations.accounts.adapter import refuse
from organizations.models import User

UNKNOWN = "No account exists for this email address. Ask an owner of your organization to add it."
FAILED = "Single sign-on failed. Try again, or use your password."


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        user = _find_user(sociallogin)
        # Accounts cannot be connected, so this is only for signing in.
        if user is None or not user.may_sign_in or sociallogin.state.get("process") != AuthProcess.LOGIN:
            raise ImmediateHttpResponse(refuse(request, UNKNOWN))
        sociallogin.user = user

    def on_authentication_error(self, request: HttpRequest, *_: object, **__: object) -> None:
        raise ImmediateHttpResponse(refuse(request, FAILED))


def _find_user(login: SocialLogin) -> User | None:
    """Find the user by the verified address. Only true, or "true" as some providers send, counts as verified."""
    verified = [address.email for address in login.email_addresses if address.verified in (True, "true")]
    if len(verified) != 1 or not verified[0].isprintable():
        return None
    return User.objects.filter(email__iexact=verified[0]).first()
