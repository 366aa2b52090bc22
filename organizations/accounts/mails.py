"""The content of account emails (templates/emails)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from costtrack.date_text import day_text
from costtrack.mail.sending import message_id_header
from costtrack.organization_paths import organization_url, sign_in_url
from organizations.accounts.password_links import INVITATION_LIFETIME, RESET_LIFETIME, password_link
from organizations.models import AccountEmail, Organization, User
from organizations.types import AccountEmailKind


@dataclass(frozen=True, slots=True)
class Content:
    """The texts of an email and the URL of its button. `why` explains why the recipient gets it."""

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
        "Your password was reset with a link from an email.",
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
        why=f"You received this email because someone at {name} entered this address. "
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
        why="You received this email because this address was entered on the sign-in page. If that was not you, "
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
        why="You received this email because the sign-in settings of your account were changed.",
    )


def closing(kind: AccountEmailKind, organization: Organization, *, actor: str) -> Content:
    """Without the organization's name in the subject, like an invitation."""
    name, url = f"\u201c{organization.name}\u201d", settings.PUBLIC_URL + _page_of(organization)
    why = f"You received this email because you are an owner of {name}."
    if organization.closes_at is None:
        return Content(
            subject="Your organization on costtrack is open again",
            headline="The organization is open again",
            lead=f"{actor} reopened the organization {name}. API keys and pages work as before.",
            button="View organization",
            url=url,
            note="Nothing was deleted, and usage that was recorded in the meantime is included.",
            why=why,
        )
    on = _day(organization.closes_at, organization)
    is_soon = kind is AccountEmailKind.CLOSING_SOON
    return Content(
        subject=f"Your organization on costtrack will be deleted on {on}",
        headline=f"The organization will be deleted on {on}",
        lead=f"{actor} closed the organization {name}. "
        + (
            "All of its data will be deleted in less than a week."
            if is_soon
            else "Its API keys are refused from now on."
        )
        + " Until then owners can read everything, download an archive of all data, and reopen the organization.",
        button="Download archive or reopen",
        url=url,
        note=f"On {on} all usage, limits, prices, credentials and members are deleted. This cannot be undone.",
        why=why,
    )


def deleted(name: str, *, at: datetime) -> Content:
    return Content(
        subject="Your organization on costtrack was deleted",
        headline="The organization was deleted",
        lead=f"The organization \u201c{name}\u201d and all of its data were deleted on {day_text(at)}. "
        "Accounts of members who belong to no other organization were deleted too.",
        button="Open costtrack",
        url=settings.PUBLIC_URL + sign_in_url("account_login"),
        note="The data cannot be restored.",
        why=f"You received this email because you were an owner of \u201c{name}\u201d.",
    )


def compose(content: Content, address: str, row: AccountEmail) -> EmailMultiAlternatives:
    """The message for a row of the outbox. All attempts have the same Message-ID."""
    context = {"email": content, "subject": content.subject, "url": content.url}
    text = render_to_string("emails/account.txt", context)
    message = EmailMultiAlternatives(
        subject=" ".join(content.subject.split()),
        body=text,
        to=[address],
        headers={
            "Message-ID": message_id_header(row),
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
        },
    )
    message.attach_alternative(render_to_string("emails/account.html", context), "text/html")
    return message


def _page_of(organization: Organization) -> str:
    return organization_url(organization.slug, "organizations_organization_change", organization.pk)


def _day(instant: datetime, organization: Organization) -> str:
    return day_text(organization.calendar.date_of(instant))


def _humanize(lifetime: timedelta) -> str:
    return f"{lifetime.days} days" if lifetime.days else f"{int(lifetime.total_seconds() // 60)} minutes"
