"""Adapters of allauth: who may sign in, redirects, and emails."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from costtrack.client_address import client_address
from costtrack.organization_paths import installation_url, sign_in_url
from organizations import security_log
from organizations.account_emails import queue_security_notice
from organizations.accounts.fresh_sign_in import has_fresh_sign_in
from organizations.accounts.mails import NOTICES
from organizations.accounts.second_factor_secrets import decrypt, encrypt
from organizations.models import User
from organizations.types import SecurityEventKind

WRONG_PASSWORD = "Incorrect email or password."  # noqa: S105 - a message
_BY_USER = "login_by_user"
"""The rate limit of attempts of one user from all addresses."""
NO_ACCESS = "Your account is not a member of any organization. Ask an owner or an admin to invite you."


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": WRONG_PASSWORD,
        "incorrect_code": "This code is incorrect or was already used.",
        "too_many_login_attempts": "Too many attempts. Wait a few minutes, or reset your password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Users without an organization pass with the correct password, and `pre_login` refuses them with the reason. A
        wrong password has the same response for every address, so that it does not reveal which ones are known."""
        user = super().authenticate(request, **credentials)
        return user if isinstance(user, User) else None

    def reauthenticate(self, user: AbstractBaseUser, password: str) -> bool:
        authenticated = self.authenticate(self.request, email=user.get_username(), password=password)
        return authenticated is not None and authenticated.may_sign_in and authenticated.pk == user.pk

    def pre_login(self, request: HttpRequest, user: AbstractBaseUser, **arguments: Any) -> HttpResponse | None:
        """Check access. All sign-in methods call this: passwords, passkeys, links from emails and single sign-on."""
        if isinstance(user, User) and user.may_sign_in:
            return super().pre_login(request, user, **arguments)
        email = str(user.get_username())
        security_log.record(SecurityEventKind.SIGN_IN_FAILED, email=email, address=client_address(request))
        return refuse(request, NO_ACCESS)

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Lead users without an accepted membership to their invitations."""
        user = request.user
        if isinstance(user, User) and not user.may_use_admin:
            return sign_in_url("account_organizations")
        return installation_url("index")

    def get_logout_redirect_url(self, request: HttpRequest) -> str:
        return sign_in_url("account_login")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return sign_in_url("mfa_index")

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        """Setting a password also ends a lockout after too many attempts."""
        super().set_password(user, password)
        self._delete_login_attempts_cached_email(self.request, email=user.get_username())
        ratelimit.clear(self.request, action=_BY_USER, key=user.get_username().lower())

    def is_reauthentication_required(self, *, app: str, **arguments: Any) -> bool:
        """Users who have just signed in need not sign in again."""
        is_fresh = has_fresh_sign_in(self.request, self.request.user)
        return not is_fresh and super().is_reauthentication_required(app=app, **arguments)

    def send_notification_mail(self, template_prefix: str, user: AbstractBaseUser, *_: Any, **__: Any) -> None:
        """Queue a security notice: a password was changed, a passkey was added. allauth's other notices do not
        occur."""
        if template_prefix in NOTICES and isinstance(user, User):
            queue_security_notice(user, template_prefix, network_address=self.get_client_ip(self.request))

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Limit the attempts of a user and a client address together, so that attempts from elsewhere do not lock the
        user out. Attempts of all addresses together have a much higher limit, which does not apply to addresses that
        the user has signed in from."""
        email, address = str(credentials.get("email", "")), client_address(request)
        try:
            super().pre_authenticate(request, **credentials)
            if not (_attempts_are_left(request, email) or security_log.is_known_address(email, address)):
                raise self.validation_error("too_many_login_attempts")
        except ValidationError:
            security_log.record(SecurityEventKind.LOCKED_OUT, email=email, address=address)
            raise

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        email = str(credentials.get("email", ""))
        security_log.record(SecurityEventKind.SIGN_IN_FAILED, email=email, address=client_address(request))

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        key: str = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{key}:{client_address(request)}"


def _attempts_are_left(request: HttpRequest, email: str) -> bool:
    return bool(ratelimit.consume(request, action=_BY_USER, key=email.lower()))


class MFAAdapter(DefaultMFAAdapter):
    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": AccountAdapter.error_messages["incorrect_code"],
    }

    def encrypt(self, text: str) -> str:
        return encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text)

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:  # noqa: A002 - its name there
        return f"Passkey {Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1}"

    def _get_site_name(self) -> str:
        return "costtrack"


def refuse(request: HttpRequest, why: str) -> HttpResponse:
    """Redirect to the sign-in page with an error message."""
    messages.error(request, why)
    return HttpResponseRedirect(sign_in_url("account_login"))
