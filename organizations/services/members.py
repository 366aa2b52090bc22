"""Add, change and remove members. An organization never loses its last owner.

`acting_as` is the actor's own role: only owners add, demote and remove owners. `caller_scopes` are the actor's scopes,
which for an API key may be fewer than those of the role: a role with more scopes is refused.
"""

from collections.abc import Collection

from django.db import IntegrityError, transaction

from costtrack.errors import ConflictError, ForbiddenError, NotFoundError, field_error
from organizations import audit
from organizations.account_emails import queue_invitation
from organizations.models import Membership, Organization, User
from organizations.services.caller_scopes import check_can_grant
from organizations.types import ALL_SCOPES, Role


@transaction.atomic
def add_member(
    *,
    organization: Organization,
    email: str,
    role: str,
    acting_as: Role,
    actor: str,
    caller_scopes: Collection[str] = ALL_SCOPES,
) -> Membership:
    """Add a member by e-mail address. Creates the user if there is none; a user without a password is sent a link to
    choose one."""
    _check_role(role)
    _check_owners_business(role, acting_as)
    check_can_grant(Role(role).scopes, caller_scopes, param="role")
    user = _get_or_create_user(email)
    try:
        with transaction.atomic():
            membership = Membership.objects.create(organization=organization, user=user, role=role)
    except IntegrityError:
        raise ConflictError("email: this user is already a member.", param="email", code="already_member") from None
    audit.record(organization=organization, actor=actor, action="member.added", subject=user.email, role=role)
    if not user.has_usable_password():
        queue_invitation(membership)
    return membership


@transaction.atomic
def invite_again(
    *, organization: Organization, membership: Membership, actor: str, caller_scopes: Collection[str] = ALL_SCOPES
) -> None:
    """Resend the invitation to a member who has not chosen a password yet."""
    membership = _current(organization, membership)
    check_can_grant(Role(membership.role).scopes, caller_scopes)
    if membership.user.has_usable_password():
        raise ConflictError("This member already has a password.", code="already_joined")
    audit.record(organization=organization, actor=actor, action="member.invited", subject=membership.user.email)
    queue_invitation(membership)


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
    owners = _locked_owners(organization)
    membership = _current(organization, membership)
    if membership.role == role:
        return membership
    _check_owners_business(role, acting_as)
    _check_owners_business(membership.role, acting_as)
    check_can_grant(Role(role).scopes - Role(membership.role).scopes, caller_scopes, param="role")
    _check_owner_remains(owners, membership)
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
def remove_member(*, organization: Organization, membership: Membership, acting_as: Role, actor: str) -> None:
    owners = _locked_owners(organization)
    membership = _current(organization, membership)
    _check_owners_business(membership.role, acting_as)
    _check_owner_remains(owners, membership)
    email = membership.user.email
    membership.delete()
    audit.record(organization=organization, actor=actor, action="member.removed", subject=email)


def _get_or_create_user(email: str) -> User:
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


def _check_owners_business(role: str, acting_as: Role) -> None:
    if role == Role.OWNER and acting_as is not Role.OWNER:
        raise ForbiddenError("Only an owner may add, change or remove owners.", code="owners_only")


def _locked_owners(organization: Organization) -> set[int]:
    """Lock and return the ids of the owners' memberships, so that a concurrent change sees the result of this one."""
    owners = Membership.objects.of(organization).filter(role=Role.OWNER).order_by("id")
    return set(owners.select_for_update().values_list("id", flat=True))


def _current(organization: Organization, membership: Membership) -> Membership:
    """Return the current membership, locked."""
    rows = Membership.objects.of(organization).select_related("user").select_for_update(of=("self",))
    current = rows.filter(pk=membership.pk).first()
    if current is None:
        raise NotFoundError("No such member.")
    return current


def _check_owner_remains(owners: set[int], membership: Membership) -> None:
    if owners == {membership.pk}:
        raise ConflictError(
            "An organization needs at least one owner. Make another member an owner first.", code="last_owner"
        )
