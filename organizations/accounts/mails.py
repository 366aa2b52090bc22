"""The content of account e-mails (templates/emails)."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from costtrack.mail.sending import message_id_header
from costtrack.organization_paths import sign_in_url
from organizations.accounts.password_links import INVITATION_LIFETIME, RESET_LIFETIME, password_link
from organizations.models import AccountEmail, Organization, User


@dataclass(frozen=True, slots=True)
class Content:
    """The texts of an e-mail and the URL of its button. `why` explains why the recipient gets it."""

    subject: str
    headline: str
    lead: str
    button: str
    url: str
    note: str
    why: str


NOTICES = {
    "account/email/password_changed": ("Your password was changed", "The password of your account was changed."),
    "account/email/password_reset": (
        "Your password was changed",
        "Your password was reset with a link from an e-mail.",
    ),
    "account/email/password_set": ("A password was set", "A password was set for your account."),
    "mfa/email/totp_activated": ("Authenticator app added", "From now on, signing in requires a code from your app."),
    "mfa/email/totp_deactivated": ("Authenticator app removed", "Signing in no longer requires a code from an app."),
    "mfa/email/webauthn_added": ("Passkey added", "A passkey was added to your account."),
    "mfa/email/webauthn_removed": ("Passkey removed", "A passkey was removed from your account."),
    "mfa/email/recovery_codes_generated": ("New recovery codes", "Your previous recovery codes no longer work."),
}
"""Subject and sentence of each security notice, by allauth's name for it."""


def invitation(user: User, organization: Organization) -> Content:
    """The subject and the headline have no words of the sender: an organization's name is chosen by its admins."""
    name = f"\u201c{organization.name}\u201d"
    has_account = user.has_usable_password()
    return Content(
        subject="Invitation to an organization on costtrack",
        headline="You are invited to an organization",
        lead=f"An admin of the organization {name} invited you. It tracks AI costs with costtrack. "
        + ("Sign in to accept or decline." if has_account else "Choose a password to sign in and accept."),
        button="View invitation" if has_account else "Choose a password",
        url=settings.PUBLIC_URL + sign_in_url("account_organizations") if has_account else password_link(user),
        note="Nothing changes for you until you accept."
        if has_account
        else f"The link works once, within {_humanize(INVITATION_LIFETIME)}. "
        "If it has expired, an owner of the organization can send a new one.",
        why=f"You received this e-mail because someone at {name} entered this address. "
        "If you do not know them, you can ignore it.",
    )


def password_reset(user: User) -> Content:
    return Content(
        subject="Choose a new password for costtrack",
        headline="Choose a new password",
        lead="Someone, hopefully you, requested a new password for this address.",
        button="Choose a new password",
        url=password_link(user),
        note=f"The link works once, within {_humanize(RESET_LIFETIME)}.",
        why="You received this e-mail because this address was entered on the sign-in page. If that was not you, "
        "ignore it: your password does not change.",
    )


def notice(name: str, *, address: str) -> Content:
    headline, sentence = NOTICES[name]
    return Content(
        subject=f"{headline}: costtrack",
        headline=headline,
        lead=sentence,
        button="View sign-in settings",
        url=settings.PUBLIC_URL + sign_in_url("mfa_index"),
        note=f"The request came from {address}. If that was not you, reset your password now, and contact your "
        "administrator.",
        why="You received this e-mail because the sign-in settings of your account were changed.",
    )


def compose(content: Content, user: User, row: AccountEmail) -> EmailMultiAlternatives:
    """The message for a row of the outbox. All attempts have the same Message-ID."""
    context = {"email": content, "subject": content.subject, "url": content.url}
    text = render_to_string("emails/account.txt", context)
    message = EmailMultiAlternatives(
        subject=" ".join(content.subject.split()),
        body=text,
        to=[user.email],
        headers={
            "Message-ID": message_id_header(row),
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
        },
    )
    message.attach_alternative(render_to_string("emails/account.html", context), "text/html")
    return message


def _humanize(lifetime: timedelta) -> str:
    return f"{lifetime.days} days" if lifetime.days else f"{int(lifetime.total_seconds() // 60)} minutes"
