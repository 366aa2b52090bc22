"""Close and reopen organizations.

A closed organization is deleted after a grace period (`COSTTRACK_CLOSING_DAYS`). Until then its API keys are refused,
except for recording usage, its owners can read everything, and it can be reopened (docs/access.md). `billing.deletion`
deletes its data.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from costtrack.clock import iso
from costtrack.errors import ConflictError, ForbiddenError, field_error
from costtrack.tenancy import owner_scope
from organizations import audit
from organizations.account_emails import queue_closing_email, queue_deletion_email
from organizations.models import Closing, Membership, Organization, User
from organizations.types import AccountEmailKind, Role

REMINDED_BEFORE = timedelta(days=7)


@transaction.atomic
def close_organization(
    *, organization: Organization, confirmation: str, acting_as: Role, actor: str, now: datetime
) -> Organization:
    """Close the organization, by an owner or an operator. `confirmation` is its slug. The owners get an email.

    Raises ForbiddenError for others, InvalidError for another slug, ConflictError if it is already closed.
    """
    organization = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    if acting_as is not Role.OWNER:
        raise ForbiddenError("Only an owner may close the organization.", code="owners_only")
    if organization.closes_at is not None:
        raise ConflictError("The organization is already closed.", code="organization_closing")
    if confirmation != organization.slug:
        raise field_error("slug", f"must be {organization.slug}.")
    organization.closes_at = now + timedelta(days=settings.CLOSING_DAYS)
    with owner_scope():  # no code in a tenant scope can do this otherwise
        organization.save(update_fields=["closes_at"])
        Closing.objects.create(organization=organization, closed_at=now, closed_by=actor)
        _notify_owners(organization, AccountEmailKind.CLOSING, actor=actor)
    audit.record(
        organization=organization,
        actor=actor,
        action="organization.closed",
        subject=organization.slug,
        closes_at=iso(organization.closes_at),
    )
    return organization


@transaction.atomic
def reopen_organization(*, organization: Organization, acting_as: Role, actor: str, now: datetime) -> Organization:
    """Reopen a closed organization, by an owner or an operator, before its deletion begins."""
    organization = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    if acting_as is not Role.OWNER:
        raise ForbiddenError("Only an owner may reopen the organization.", code="owners_only")
    if organization.closes_at is None:
        raise ConflictError("The organization is not closed.", code="organization_open")
    if organization.closes_at <= now:
        raise ConflictError("The data of the organization is already being deleted.", code="organization_closed")
    organization.closes_at = None
    with owner_scope():
        organization.save(update_fields=["closes_at"])
        Closing.objects.filter(organization=organization).delete()
        _notify_owners(organization, AccountEmailKind.REOPENED, actor=actor)
    audit.record(organization=organization, actor=actor, action="organization.reopened", subject=organization.slug)
    return organization


def remind_owners(*, now: datetime) -> None:
    """Send the owners of organizations that close within a week an email, once, unless they were closed since then."""
    due = Closing.objects.filter(
        reminded_at=None, organization__closes_at__gt=now, organization__closes_at__lte=now + REMINDED_BEFORE
    )
    for organization_id in list(due.values_list("organization_id", flat=True)):
        with transaction.atomic():
            organization = Organization.objects.select_for_update(no_key=True).get(pk=organization_id)
            closing = due.filter(organization=organization).first()
            if closing is None or organization.closes_at is None:
                continue
            Closing.objects.filter(organization=organization).update(reminded_at=now)
            if closing.closed_at < organization.closes_at - REMINDED_BEFORE:
                _notify_owners(organization, AccountEmailKind.CLOSING_SOON, actor=closing.closed_by)


def finish_deletion(*, organization: Organization, now: datetime) -> None:
    """Delete the organization itself, its memberships, and the accounts of members who have no other one.

    All other rows are deleted, and the organization is locked. The installation's audit log has what was deleted, and
    the owners get an email.
    """
    closing = Closing.objects.get(organization=organization)
    owners = list(_owners(organization))
    users = list(Membership.objects.of(organization).values_list("user_id", flat=True))
    Membership.objects.of(organization).delete()
    accounts = _delete_accounts(users)
    Closing.objects.filter(organization=organization).delete()
    Organization.objects.filter(pk=organization.pk).delete()
    audit.record(
        organization=None,
        actor=closing.closed_by,
        action="organization.deleted",
        subject=organization.slug,
        name=organization.name,
        closed_at=iso(closing.closed_at),
        deleted_at=iso(now),
        rows={table: count for table, count in sorted(closing.deleted_rows.items()) if count},
        members=len(users),
        accounts=accounts,
        cost_usd=closing.cost_usd,
    )
    for owner in owners:
        queue_deletion_email(owner.email, organization=organization, now=now)


def _delete_accounts(user_ids: Iterable[int]) -> int:
    """Delete the accounts of these users who are members of no organization and no operators; return their number."""
    leaving = User.objects.filter(pk__in=user_ids, is_superuser=False, memberships=None)
    accounts = leaving.count()
    leaving.delete()
    return accounts


def _owners(organization: Organization) -> Iterable[User]:
    members = Membership.objects.of(organization).accepted().filter(role=Role.OWNER, user__is_active=True)
    return [membership.user for membership in members.select_related("user").order_by("pk")]


def _notify_owners(organization: Organization, kind: AccountEmailKind, *, actor: str) -> None:
    for owner in _owners(organization):
        queue_closing_email(owner, kind, organization=organization, actor=actor)
