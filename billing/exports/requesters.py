"""Who requests a file, as the admin's lists know users."""

from organizations.models import Organization, User
from organizations.principals import Access
from organizations.types import Role, Scope


def user_of(access: Access) -> User:
    """Return the user of a request. A credential counts as a user with its label and the role that its scopes give."""
    principal = access.principal
    if principal.user is not None:
        return principal.user
    return credential_user(principal.label, access.organization, access.scopes, is_operator=principal.is_operator)


def credential_user(label: str, organization: Organization, scopes: frozenset[str], *, is_operator: bool) -> User:
    """Return a user that is not stored, who sees what a credential with these scopes may see."""
    user = User(email=label, is_superuser=is_operator)
    role = Role.ADMIN if Scope.MANAGE in scopes else Role.VIEWER
    # Cached properties, which would read memberships.
    user.__dict__.update(roles={organization.pk: role}, closing_ids=frozenset())
    return user
