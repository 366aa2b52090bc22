"""Members: people in organizations. An organization that has an owner never loses its last one.

`acting_as` is the actor's own role: only owners make, demote and remove owners. `held_scopes` are what the actor may
do, which is less than the role for an API key: a role with more scopes than that is refused.
"""

from collections.abc import Collection

from django.db import IntegrityError, transaction

from costtrack.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from organizations import audit
from organizations.account_emails import queue_invitation
from organizations.models import Membership, Organization, User
from organizations.services.held_scopes import check_held
from organizations.types import ALL_SCOPES, Role


@transaction.atomic
def add_member(
    *,
    organization: Organization,
    email: str,
    role: str,
    acting_as: Role,
    actor: str,
    held_scopes: Collection[str] = ALL_SCOPES,
) -> Membership:
    """Add a person by e-mail address. One that nobody knows yet becomes a new person; whoever has no password is sent
    a link to choose one."""
    _check_role(role)
    _check_owners_business(role, acting_as)
    check_held(Role(role).scopes, held_scopes, param="role")
    user = _person(email)
    try:
        with transaction.atomic():
            membership = Membership.objects.create(organization=organization, user=user, role=role)
    except IntegrityError:
        raise ConflictError("email: already a member.", param="email", code="already_member") from None
    audit.record(organization=organization, actor=actor, action="member.added", subject=user.email, role=role)
    if not user.has_usable_password():
        queue_invitation(membership)
    return membership


@transaction.atomic
def invite_again(
    *, organization: Organization, membership: Membership, actor: str, held_scopes: Collection[str] = ALL_SCOPES
) -> None:
    """Send another link to a member who has not chosen a password yet."""
    membership = _current(organization, membership)
    check_held(Role(membership.role).scopes, held_scopes)
    if membership.user.has_usable_password():
        raise ConflictError("This member has a password already.", code="already_joined")
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
    held_scopes: Collection[str] = ALL_SCOPES,
) -> Membership:
    _check_role(role)
    owners = _locked_owners(organization)
    membership = _current(organization, membership)
    if membership.role == role:
        return membership
    _check_owners_business(role, acting_as)
    _check_owners_business(membership.role, acting_as)
    check_held(Role(role).scopes - Role(membership.role).scopes, held_scopes, param="role")
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


def _person(email: str) -> User:
    found = User.objects.filter(email__iexact=email).first()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            return User.objects.create_user(email)
    except IntegrityError:  # somebody else has just added the same person
        return User.objects.get(email__iexact=email)


def _check_role(role: str) -> None:
    if role not in Role.values:
        raise InvalidError(f"role: choose one of {', '.join(Role.values)}.", param="role")


def _check_owners_business(role: str, acting_as: Role) -> None:
    if role == Role.OWNER and acting_as is not Role.OWNER:
        raise ForbiddenError("Only an owner may add, change or remove owners.", code="owners_only")


def _locked_owners(organization: Organization) -> set[int]:
    """The owners' memberships, locked: of two changes at the same moment, the second sees what the first left."""
    owners = Membership.objects.of(organization).filter(role=Role.OWNER).order_by("id")
    return set(owners.select_for_update().values_list("id", flat=True))


def _current(organization: Organization, membership: Membership) -> Membership:
    """The membership as it is now, behind the locks."""
    rows = Membership.objects.of(organization).select_related("user").select_for_update(of=("self",))
    found = rows.filter(pk=membership.pk).first()
    if found is None:
        raise NotFoundError("No such member.")
    return found


def _check_owner_remains(owners: set[int], membership: Membership) -> None:
    if owners == {membership.pk}:
        raise ConflictError(
            "An organization keeps at least one owner; make somebody else one first.", code="last_owner"
        )
