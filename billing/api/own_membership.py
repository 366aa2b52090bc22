"""The membership of the caller, for what members have for themselves."""

from costtrack.errors import ForbiddenError
from organizations.models import Membership
from organizations.principals import Access


def own_membership(access: Access) -> Membership:
    """Return the caller's membership, with its user. Raises ForbiddenError for credentials, and for operators who are
    no members."""
    user = access.principal.user
    members = Membership.objects.of(access.organization).accepted().with_user()
    membership = members.filter(user=user).first() if user is not None else None
    if membership is None:
        message = "Only members have preferences and reports. Sign in as a member of the organization."
        raise ForbiddenError(message, code="members_only")
    return membership
