"""The forms of allauth in the style of the theme."""

from typing import Any

from allauth.account import forms as account
from allauth.core import ratelimit
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.ratelimit import respond_429
from allauth.mfa.base import forms as mfa
from allauth.mfa.totp import forms as totp
from allauth.mfa.webauthn import forms as webauthn
from django import forms
from django.core.validators import MaxLengthValidator
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.http import int_to_base36
from unfold.widgets import BASE_INPUT_CLASSES, CHECKBOX_CLASSES

from costtrack.client_address import client_address
from costtrack.clock import utc_now
from costtrack.organization_paths import sign_in_url
from organizations import security_log
from organizations.account_emails import queue_password_reset
from organizations.accounts.password_links import PasswordLinkTokens
from organizations.models import User
from organizations.services.members import accept_only_invitation
from organizations.types import SecurityEventKind

_MAX_NAME_LENGTH = 100
_LABELS = {
    "email": "Email",
    "oldpassword": "Current password",
    "password1": "New password",
    "password2": "Confirm password",
    "code": "Code",
}


class ThemeMixin(forms.Form):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.label = _LABELS.get(name, field.label)
            is_box = isinstance(field.widget, forms.CheckboxInput)
            field.widget.attrs["class"] = " ".join(CHECKBOX_CLASSES if is_box else BASE_INPUT_CLASSES)
            field.widget.attrs.pop("placeholder", None)  # the label says it
        first = next((field for field in self.fields.values() if not field.widget.is_hidden), None)
        if first is not None:
            first.widget.attrs["autofocus"] = ""


class LoginForm(ThemeMixin, account.LoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "Email"
        self.fields["login"].widget.attrs["autocomplete"] = "username webauthn"
        self.fields["password"].help_text = ""


class ResetPasswordForm(ThemeMixin, account.ResetPasswordForm):
    def clean_email(self) -> str:
        """Do not look the user up (the worker does), so that timing does not reveal which addresses are known."""
        return str(self.cleaned_data["email"])

    def save(self, request: HttpRequest, **_: Any) -> str:
        """Queue the email. The limit is that of the client address, so that others cannot use it up. From all addresses
        together there is a higher one, which does not apply to addresses that the user has signed in from."""
        email, address = str(self.cleaned_data["email"]), client_address(request)
        key = email.lower()
        if not ratelimit.consume(request, action="reset_password_by_client", key=f"{key} {address}"):
            raise ImmediateHttpResponse(respond_429(request))
        security_log.record(SecurityEventKind.RESET_REQUESTED, email=email, address=address)
        is_left = ratelimit.consume(request, action="reset_password_by_user", key=key)
        if is_left or security_log.is_known_address(email, address):
            queue_password_reset(email)
        return email


class ResetPasswordKeyForm(ThemeMixin, account.ResetPasswordKeyForm):
    @transaction.atomic
    def save(self) -> None:
        """Setting the password invalidates the link everywhere. With the user's row locked, only the first of two
        concurrent submissions succeeds; the other shows that the link is no longer valid."""
        self.user.refresh_from_db(from_queryset=User.objects.select_for_update(no_key=True))
        if not PasswordLinkTokens().check_token(self.user, self.temp_key):
            page = sign_in_url("account_reset_password_from_key", uidb36=int_to_base36(self.user.pk), key=self.temp_key)
            raise ImmediateHttpResponse(HttpResponseRedirect(page))
        is_invited = not self.user.has_usable_password()
        super().save()
        if is_invited:
            accept_only_invitation(self.user, now=utc_now())


class ChangePasswordForm(ThemeMixin, account.ChangePasswordForm):
    pass


class SetPasswordForm(ThemeMixin, account.SetPasswordForm):
    pass


class ReauthenticateForm(ThemeMixin, account.ReauthenticateForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = ""


class AuthenticateForm(ThemeMixin, mfa.AuthenticateForm):
    pass


class ReauthenticateWithCodeForm(ThemeMixin, mfa.ReauthenticateForm):
    pass


class ActivateTOTPForm(ThemeMixin, totp.ActivateTOTPForm):
    pass


class AddWebAuthnForm(ThemeMixin, webauthn.AddWebAuthnForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].validators.append(MaxLengthValidator(_MAX_NAME_LENGTH))
        alone = self.fields["passwordless"]
        alone.label, alone.initial = "Use as only factor", True
        alone.help_text = "Sign in without the password. Otherwise the passkey is the second factor after the password."


class EditWebAuthnForm(ThemeMixin, webauthn.EditWebAuthnForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].validators.append(MaxLengthValidator(_MAX_NAME_LENGTH))
