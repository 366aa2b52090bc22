"""Invite, change and remove members. An organization never loses its last owner.

A membership counts when the invited user accepts it, so no organization can make rules for users who have not agreed.
`acting_as` is the actor's own role: only owners add, demote and remove owners. `caller_scopes` are the actor's scopes,
which for an API key may be fewer than those of the role: a role with more scopes is refused.

Each change locks the organization first and then reads what it decides by, so that changes of two members wait for each
other (docs/locking.md).
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from costtrack.clock import utc_now
from costtrack.errors import ConflictError, ForbiddenError, NotFoundError, TooManyRequestsError, field_error
from costtrack.tenancy import owner_scope
from organizations import audit, hooks
from organizations.account_emails import queue_invitation
from organizations.models import AuditEntry, Membership, Organization, User
from organizations.services.caller_scopes import check_can_grant
from organizations.services.organizations import lock_organization
from organizations.types import ALL_SCOPES, Role

MAX_USER_IDS = 20
MAX_INVITATIONS_PER_ADDRESS = 3
"""Invitations to one address in a day."""
MAX_INVITATIONS = 100
"""Invitations by an organization in an hour."""
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_INVITING = ("member.added", "member.invited")
_SEARCHED_ENTRIES = 1_000


@transaction.atomic
def add_member(
    *,
    organization: Organization,
    email: str,
    role: str,
    user_ids: Sequence[str] | None = None,
    acting_as: Role,
    actor: str,
    caller_scopes: Collection[str] = ALL_SCOPES,
) -> Membership:
    """Invite a user by email address, and create the user if there is none. The membership counts when the user
    accepts it.

    The result is the same for every address, so it does not reveal whether the installation knows it. Raises
    TooManyRequestsError if the address or the organization had too many invitations lately.
    """
    _check_role(role)
    _check_owners_business(role, acting_as)
    check_can_grant(Role(role).scopes, caller_scopes, param="role")
    user_ids = _checked_user_ids(user_ids)
    if user_ids is None and email != email.lower():
        user_ids = [email.lower(), email]  # the usage may have either
    lock_organization(organization)
    _check_invitations(organization, email, now=utc_now())
    user = _get_or_create_user(email)
    try:
        with transaction.atomic():
            membership = Membership.objects.create(
                organization=organization, user=user, role=role, user_ids=user_ids, accepted_at=None
            )
    except IntegrityError:
        raise ConflictError("email: this user is already a member.", param="email", code="already_member") from None
    audit.record(organization=organization, actor=actor, action="member.added", subject=user.email, role=role)
    queue_invitation(membership)
    return membership


@transaction.atomic
def invite_again(
    *, organization: Organization, membership: Membership, actor: str, caller_scopes: Collection[str] = ALL_SCOPES
) -> None:
    """Resend the invitation to a member who has not accepted it. Raises TooManyRequestsError as `add_member`."""
    lock_organization(organization)
    membership = _current(organization, membership)
    check_can_grant(Role(membership.role).scopes, caller_scopes)
    if membership.accepted_at is not None:
        raise ConflictError("This member has already joined.", code="already_joined")
    _check_invitations(organization, membership.user.email, now=utc_now())
    audit.record(organization=organization, actor=actor, action="member.invited", subject=membership.user.email)
    queue_invitation(membership)


@transaction.atomic
def accept_membership(*, membership: Membership, now: datetime) -> Membership:
    """Accept an invitation, by the invited user. Accepting it again changes nothing. Raises ConflictError if the
    organization is closing."""
    organization = membership.organization
    lock_organization(organization)
    membership = _current(organization, membership)
    if membership.accepted_at is None:
        if membership.organization.closes_at is not None:
            raise ConflictError("The organization is closed.", code="organization_closing")
        membership.accepted_at = now
        membership.save(update_fields=["accepted_at"])
        email = membership.user.email
        audit.record(organization=organization, actor=email, action="member.accepted", subject=email)
    return membership


def accept_only_invitation(user: User, *, now: datetime) -> None:
    """Accept the invitation of a user who chose a password by its link, if it is the only membership of the user. With
    several invitations the user decides after signing in."""
    memberships = list(Membership.objects.filter(user=user).select_related("organization")[:2])
    if len(memberships) == 1 and memberships[0].organization.closes_at is None:
        accept_membership(membership=memberships[0], now=now)


@transaction.atomic
def leave(*, membership: Membership) -> None:
    """Leave an organization, or decline its invitation. The last owner cannot leave."""
    organization = membership.organization
    lock_organization(organization)
    membership = _current(organization, membership)
    _check_owner_remains(organization, membership)
    email, is_member = membership.user.email, membership.accepted_at is not None
    _end(membership)
    action = "member.left" if is_member else "member.declined"
    audit.record(organization=organization, actor=email, action=action, subject=email)


@transaction.atomic
def change_role(
    *,
    organization: Organization,
    membership: Membership,
    role: str,
    acting_as: Role,
    actor: str,
    caller_scopes: Collection[str] = ALL_SCOPES,
) -> Membership:
    _check_role(role)
    lock_organization(organization)
    membership = _current(organization, membership)
    if membership.role == role:
        return membership
    _check_owners_business(role, acting_as)
    _check_owners_business(membership.role, acting_as)
    check_can_grant(Role(role).scopes - Role(membership.role).scopes, caller_scopes, param="role")
    _check_owner_remains(organization, membership)
    before, membership.role = membership.role, role
    membership.save(update_fields=["role"])
    audit.record(
        organization=organization,
        actor=actor,
        action="member.changed",
        subject=membership.user.email,
        role=role,
        before=before,
    )
    return membership


@transaction.atomic
def change_user_ids(
    *, organization: Organization, membership: Membership, user_ids: Sequence[str] | None, actor: str
) -> Membership:
    """Set which `user_id`s of events are the member's own usage. None: the member's email address."""
    user_ids = _checked_user_ids(user_ids)
    lock_organization(organization)
    membership = _current(organization, membership)
    if membership.user_ids == user_ids:
        return membership
    before, membership.user_ids = membership.own_user_ids, user_ids
    membership.save(update_fields=["user_ids"])
    audit.record(
        organization=organization,
        actor=actor,
        action="member.user_ids_changed",
        subject=membership.user.email,
        user_ids=membership.own_user_ids,
        before=before,
    )
    return membership


@transaction.atomic
def remove_member(*, organization: Organization, membership: Membership, acting_as: Role, actor: str) -> None:
    lock_organization(organization)
    membership = _current(organization, membership)
    _check_owners_business(membership.role, acting_as)
    _check_owner_remains(organization, membership)
    email = membership.user.email
    _end(membership)
    audit.record(organization=organization, actor=actor, action="member.removed", subject=email)


def _end(membership: Membership) -> None:
    now = utc_now()
    for hook in hooks.membership_ends:
        hook(membership=membership, now=now)
    membership.delete()


def _get_or_create_user(email: str) -> User:
    with owner_scope():  # a tenant scope shows only users who are members
        user = User.objects.filter(email__iexact=email).first()
        if user is not None:
            return user
        try:
            with transaction.atomic():
                return User.objects.create_user(email)
        except IntegrityError:  # a concurrent request added the same user
            return User.objects.get(email__iexact=email)


def _check_role(role: str) -> None:
    if role not in Role.values:
        raise field_error("role", f"must be one of {', '.join(Role.values)}.")


def _checked_user_ids(user_ids: Sequence[str] | None) -> list[str] | None:
    """Return the ids once each, without surrounding spaces."""
    if user_ids is None:
        return None
    cleaned = list(dict.fromkeys(text for each in user_ids if (text := each.strip())))
    if len(cleaned) > MAX_USER_IDS:
        raise field_error("user_ids", f"must be at most {MAX_USER_IDS}.")
    if any("\0" in text or len(text) > 255 for text in cleaned):  # noqa: PLR2004 - of the column
        raise field_error("user_ids", "each must have at most 255 characters, without NUL.")
    return cleaned


def _check_owners_business(role: str, acting_as: Role) -> None:
    if role == Role.OWNER and acting_as is not Role.OWNER:
        raise ForbiddenError("Only an owner may add, change or remove owners.", code="owners_only")


def _check_invitations(organization: Organization, email: str, *, now: datetime) -> None:
    """Count the invitations in the newest entries of the audit log, so that removing a member resets nothing."""
    entries = AuditEntry.objects.of(organization).order_by("-id")[:_SEARCHED_ENTRIES]
    invited = [
        (subject.casefold(), at)
        for action, subject, at in entries.values_list("action", "subject", "at")
        if action in _INVITING and at > now - _DAY
    ]
    if sum(subject == email.casefold() for subject, _ in invited) >= MAX_INVITATIONS_PER_ADDRESS:
        message = f"This address was invited {MAX_INVITATIONS_PER_ADDRESS} times in the last day. Try again tomorrow."
        raise TooManyRequestsError(message, code="too_many_invitations", param="email")
    if sum(at > now - _HOUR for _, at in invited) >= MAX_INVITATIONS:
        message = f"The organization sent {MAX_INVITATIONS} invitations in the last hour. Try again later."
        raise TooManyRequestsError(message, code="too_many_invitations")


def _current(organization: Organization, membership: Membership) -> Membership:
    """Return the current membership. The organization is locked."""
    rows = Membership.objects.of(organization).with_user().select_related("organization")
    current = rows.filter(pk=membership.pk).first()
    if current is None:
        raise NotFoundError("No such member.")
    return current


def _check_owner_remains(organization: Organization, membership: Membership) -> None:
    owners = Membership.objects.of(organization).accepted().filter(role=Role.OWNER)
    if set(owners.values_list("pk", flat=True)) == {membership.pk}:
        raise ConflictError(
            "An organization needs at least one owner. Make another member an owner first.", code="last_owner"
        )
