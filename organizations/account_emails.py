"""The outbox of account emails. Rows are written here and sent by workers (`organizations.accounts`)."""

import secrets
from datetime import datetime
from typing import Any

from costtrack.clock import iso, utc_now
from costtrack.jobs import enqueue_on_commit
from organizations.models import AccountEmail, Membership, Organization, User
from organizations.types import AccountEmailKind

DELIVER_TASK = "organizations.deliver_email"
_TOKEN_BYTES = 12


def queue_invitation(membership: Membership) -> AccountEmail:
    return _queue(AccountEmailKind.INVITATION, organization_id=membership.organization_id, user_id=membership.user_id)


def queue_password_reset(address: str) -> AccountEmail:
    """Queue a reset without looking the user up, so that timing does not reveal which addresses are known."""
    return _queue(AccountEmailKind.PASSWORD_RESET, address=address)


def queue_security_notice(user: User, notice: str, *, network_address: str) -> AccountEmail:
    """`notice` is one of `organizations.accounts.mails.NOTICES`."""
    details = {"notice": notice, "network_address": network_address}
    return _queue(AccountEmailKind.SECURITY_NOTICE, user_id=user.pk, details=details)


def queue_closing_email(owner: User, kind: AccountEmailKind, *, organization: Organization, actor: str) -> AccountEmail:
    """`actor` closed or reopened the organization."""
    details = {"actor": actor}
    return _queue(kind, organization_id=organization.pk, user_id=owner.pk, details=details)


def queue_deletion_email(address: str, *, organization: Organization, now: datetime) -> AccountEmail:
    """The organization is gone when the message is sent, and maybe the user's account too."""
    details = {"organization": organization.name, "deleted_at": iso(now)}
    return _queue(AccountEmailKind.DELETED, address=address, details=details)


def _queue(kind: AccountEmailKind, **columns: Any) -> AccountEmail:
    now: datetime = utc_now()
    email = AccountEmail.objects.create(
        kind=kind,
        message_id=f"account-{secrets.token_hex(_TOKEN_BYTES)}",
        created_at=now,
        next_attempt_at=now,
        **columns,
    )
    enqueue_on_commit(DELIVER_TASK)
    return email
