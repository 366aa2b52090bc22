"""Sending account emails: `costtrack.mail.sending` on the table `AccountEmail`."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import Q, QuerySet

from costtrack.mail.sending import BACKOFF, CLAIM, MAX_ERROR_LENGTH, RUN_SECONDS, SendResult, deliver, retry_delay_after
from organizations.accounts import mails
from organizations.accounts.password_links import RESET_LIFETIME
from organizations.models import AccountEmail, Membership, User
from organizations.types import AccountEmailKind

logger = logging.getLogger(__name__)

FAILED_RETENTION = timedelta(days=30)


def deliver_account_emails(*, now: datetime, seconds: float = RUN_SECONDS) -> SendResult:
    """Send due emails for about this many seconds."""
    AccountEmail.objects.filter(failed_at__lt=now - FAILED_RETENTION).delete()
    return deliver(_Outbox(), now=now, seconds=seconds)


class _Outbox:
    def claim(self, *, now: datetime, limit: int) -> list[AccountEmail]:
        with transaction.atomic():
            due = _due(now).select_related("organization", "user").order_by("next_attempt_at", "pk")
            claimed = list(due.select_for_update(of=("self",), skip_locked=True)[:limit])
            for email in claimed:
                email.claimed_until = now + CLAIM
            AccountEmail.objects.filter(pk__in=[email.pk for email in claimed]).update(claimed_until=now + CLAIM)
        return claimed

    def is_due(self, *, now: datetime) -> bool:
        return _due(now).exists()

    def compose(self, row: AccountEmail, *, now: datetime) -> EmailMultiAlternatives | None:
        match row.kind:
            case AccountEmailKind.INVITATION:
                return _invitation(row)
            case AccountEmailKind.PASSWORD_RESET:
                return _password_reset(row, now)
            case AccountEmailKind.CLOSING | AccountEmailKind.CLOSING_SOON | AccountEmailKind.REOPENED:
                return _closing(row)
            case AccountEmailKind.DELETED:
                content = mails.deleted(
                    row.details["organization"], at=datetime.fromisoformat(row.details["deleted_at"])
                )
                return mails.compose(content, row.address, row)
            case _:
                return _security_notice(row)

    def dropped(self, row: AccountEmail) -> None:
        row.delete()

    def succeeded(self, row: AccountEmail, *, status: int | None, now: datetime) -> None:
        row.delete()

    def failed(self, row: AccountEmail, *, error: str, status: int | None, now: datetime, is_permanent: bool) -> None:
        attempts = row.attempts + 1
        changes: dict[str, object] = {"attempts": attempts, "last_error": error[:MAX_ERROR_LENGTH]}
        if is_permanent or attempts > len(BACKOFF):
            changes["failed_at"] = now
            logger.warning(
                "email failed permanently", extra={"message_id": row.message_id, "kind": row.kind, "status": status}
            )
        else:
            changes["next_attempt_at"] = now + retry_delay_after(attempts)
        _claimed(row).update(claimed_until=None, **changes)

    def release_claim(self, rows: Sequence[AccountEmail], *, until: datetime, error: str | None = None) -> None:
        changes = {} if error is None else {"last_error": error[:MAX_ERROR_LENGTH]}
        for row in rows:
            _claimed(row).update(claimed_until=None, next_attempt_at=until, **changes)

    def postpone(self, *, now: datetime, until: datetime, error: str) -> None:
        with transaction.atomic():
            due = _due(now).select_for_update(skip_locked=True).values_list("pk", flat=True)
            AccountEmail.objects.filter(pk__in=list(due)).update(
                claimed_until=None, next_attempt_at=until, last_error=error[:MAX_ERROR_LENGTH]
            )


def _invitation(row: AccountEmail) -> EmailMultiAlternatives | None:
    """Compose an invitation, or None if it was accepted, declined or withdrawn, or the organization is closing."""
    membership = Membership.objects.select_related("user", "organization").filter(
        organization=row.organization_id, user=row.user_id
    )
    member = membership.first()
    if member is None or member.accepted_at is not None or not member.user.is_active:
        return None
    if member.organization.closes_at is not None:
        return None
    return mails.compose(mails.invitation(member.user, member.organization), member.user.email, row)


def _closing(row: AccountEmail) -> EmailMultiAlternatives | None:
    """Compose the email, or None if the organization was closed or reopened since then."""
    organization, user = row.organization, row.user
    if organization is None or user is None:
        return None
    kind = AccountEmailKind(row.kind)
    if (organization.closes_at is None) != (kind is AccountEmailKind.REOPENED):
        return None
    return mails.compose(mails.closing(kind, organization, actor=row.details["actor"]), user.email, row)


def _password_reset(row: AccountEmail, now: datetime) -> EmailMultiAlternatives | None:
    """Compose a password reset, or None if no user with access has this address, or the link would have expired."""
    user = User.objects.filter(email__iexact=row.address).first()
    if user is None or not user.may_sign_in or now - row.created_at > RESET_LIFETIME:
        return None
    return mails.compose(mails.password_reset(user), user.email, row)


def _security_notice(row: AccountEmail) -> EmailMultiAlternatives | None:
    if row.user is None:
        return None
    content = mails.notice(row.details["notice"], address=row.details["network_address"])
    return mails.compose(content, row.user.email, row)


def _due(now: datetime) -> QuerySet[AccountEmail]:
    is_free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    return AccountEmail.objects.filter(is_free, failed_at=None, next_attempt_at__lte=now)


def _claimed(row: AccountEmail) -> QuerySet[AccountEmail]:
    """Return the row if this worker still has its claim."""
    return AccountEmail.objects.filter(pk=row.pk, failed_at=None, claimed_until=row.claimed_until)
