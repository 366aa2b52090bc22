"""What allauth asks this project: who may come in, where they go then, and how e-mails are sent."""

import time
from typing import Any

from allauth import app_settings
from allauth.account import app_settings as account_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core.internal.httpkit import clean_client_ip
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from costtrack.admin_site import may_enter
from costtrack.organization_paths import for_installation, for_sign_in
from organizations.account_emails import queue_security_notice
from organizations.accounts.mails import NOTICES
from organizations.accounts.secrets import decrypt, encrypt
from organizations.models import User

NOT_TOGETHER = "Incorrect e-mail address or password."
NO_WAY_IN = "This account has no access: it is not a member of any organization."


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": NOT_TOGETHER,
        "incorrect_code": "This code is not right, or was used before.",
        "too_many_login_attempts": "Too many attempts. Wait some minutes, or reset the password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Whoever may not come in is as unknown as anybody else, so that nobody learns which addresses are known."""
        user = super().authenticate(request, **credentials)
        return user if isinstance(user, User) and may_enter(user) else None

    def reauthenticate(self, user: AbstractBaseUser, password: str) -> bool:
        found = self.authenticate(self.request, email=user.get_username(), password=password)
        return found is not None and found.pk == user.pk

    def pre_login(self, request: HttpRequest, user: AbstractBaseUser, **arguments: Any) -> HttpResponse | None:
        """Every way in leads here: passwords, passkeys, links from e-mails and single sign-on."""
        if isinstance(user, User) and may_enter(user):
            return super().pre_login(request, user, **arguments)
        return refuse(request, NO_WAY_IN)

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return for_installation("index")

    def get_logout_redirect_url(self, request: HttpRequest) -> str:
        return for_sign_in("account_login")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return for_sign_in("mfa_index")

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        """A new password is also the way out for somebody whom too many attempts have locked out."""
        super().set_password(user, password)
        self._delete_login_attempts_cached_email(self.request, email=user.get_username())

    def is_reauthentication_required(self, *, app: str, **arguments: Any) -> bool:
        """Who has signed in a moment ago is not asked again."""
        records = get_authentication_records(self.request, self.request.user)
        is_recent = bool(records) and time.time() - records[-1]["at"] < account_settings.REAUTHENTICATION_TIMEOUT
        return not is_recent and super().is_reauthentication_required(app=app, **arguments)

    def send_notification_mail(self, template_prefix: str, user: AbstractBaseUser, *_: Any, **__: Any) -> None:
        """Security notices: a password was changed, a passkey was added. Others that allauth has do not occur."""
        if template_prefix in NOTICES and isinstance(user, User):
            queue_security_notice(user, template_prefix, network_address=self.get_client_ip(self.request))

    def get_client_ip(self, request: HttpRequest) -> str:
        """What the counted proxies (`COSTTRACK_TRUSTED_PROXIES`) say. Whatever they do not say, or nobody has counted,
        is not believed: then it is the address that the connection comes from. A Unix socket has none."""
        count = app_settings.TRUSTED_PROXY_COUNT
        hops = request.headers.get("x-forwarded-for", "").split(",")
        said = hops[-count] if 0 < count <= len(hops) else ""
        return clean_client_ip(said) or clean_client_ip(request.META.get("REMOTE_ADDR", "")) or "unknown"


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
    """Back to the sign-in page, which says why."""
    messages.error(request, why)
    return HttpResponseRedirect(for_sign_in("account_login"))
