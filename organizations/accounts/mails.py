"""The e-mails about somebody's account, in the look of all others (templates/emails)."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from costtrack.mail.sending import message_id_header
from costtrack.organization_paths import for_sign_in
from organizations.accounts.password_links import INVITATION_LIFETIME, RESET_LIFETIME, password_link
from organizations.models import AccountEmail, Organization, User


@dataclass(frozen=True, slots=True)
class Content:
    """What is said, and where the button leads. `why` says why the recipient gets it."""

    subject: str
    headline: str
    lead: str
    button: str
    url: str
    note: str
    why: str


NOTICES = {
    "account/email/password_changed": ("Your password was changed", "The password of your account was changed."),
    "account/email/password_reset": ("Your password was changed", "A link from an e-mail set a new password."),
    "account/email/password_set": ("Your account has a password now", "A password was set for your account."),
    "mfa/email/totp_activated": ("Authenticator app added", "Signing in asks for a code of your app from now on."),
    "mfa/email/totp_deactivated": ("Authenticator app removed", "Signing in asks for no code of an app any more."),
    "mfa/email/webauthn_added": ("Passkey added", "A passkey was added to your account."),
    "mfa/email/webauthn_removed": ("Passkey removed", "A passkey was removed from your account."),
    "mfa/email/recovery_codes_generated": ("New recovery codes", "The recovery codes from before work no longer."),
}
"""Subject and sentence of each security notice, by allauth's name for it."""


def invitation(user: User, organization: Organization) -> Content:
    return Content(
        subject=f"You are invited to {organization.name} on costtrack",
        headline=f"Welcome to {organization.name}",
        lead=f"You were added to {organization.name}, which follows what its AI costs with costtrack. "
        "Choose a password to come in.",
        button="Choose a password",
        url=password_link(user),
        note=f"The link works once, within {_in_words(INVITATION_LIFETIME)}. "
        "When it has ended, an owner of the organization can send another one.",
        why=f"You get this e-mail because somebody of {organization.name} added this address. "
        "If you do not know them, ignore it: nothing happens then.",
    )


def password_reset(user: User) -> Content:
    return Content(
        subject="Choose a new password for costtrack",
        headline="Choose a new password",
        lead="Somebody, hopefully you, asked for a new password for this address.",
        button="Choose a new password",
        url=password_link(user),
        note=f"The link works once, within {_in_words(RESET_LIFETIME)}.",
        why="You get this e-mail because this address was typed into the sign-in page. If that was not you, ignore it: "
        "your password stays as it is.",
    )


def notice(name: str, *, address: str) -> Content:
    headline, sentence = NOTICES[name]
    return Content(
        subject=f"{headline}: costtrack",
        headline=headline,
        lead=sentence,
        button="Look at your sign-in settings",
        url=settings.PUBLIC_URL + for_sign_in("mfa_index"),
        note=f"It was done from the address {address}. If that was not you, reset your password now, and tell an "
        "operator of your installation.",
        why="You get this e-mail because something about signing in to your account was changed.",
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


def _in_words(lifetime: timedelta) -> str:
    return f"{lifetime.days} days" if lifetime.days else f"{int(lifetime.total_seconds() // 60)} minutes"
