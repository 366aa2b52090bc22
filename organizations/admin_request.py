"""The user and the organization of an admin request."""

from django.http import HttpRequest

from organizations.models import Organization, User
from organizations.types import ALL_SCOPES, Role


def request_user(request: HttpRequest) -> User:
    """Return the signed-in user; the admin site admits no one else."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("No user is signed in.")
    return user


def chosen_organization(request: HttpRequest) -> Organization | None:
    """Return the organization in the URL (`/o/<slug>/`), which the user may see, or None for a page of all of them."""
    organization: Organization | None = getattr(request, "organization", None)
    return organization


def may_change_any(request: HttpRequest) -> bool:
    """Whether the user may change the current organization, or one of theirs."""
    user, chosen = request_user(request), chosen_organization(request)
    if chosen is not None and chosen.closes_at is not None:
        return False
    if user.is_superuser:
        return True
    ids = list(user.roles) if chosen is None else [chosen.pk]
    return any(user.roles[pk].may_change for pk in ids if pk not in user.closing_ids)


def request_roles(request: HttpRequest) -> list[Role]:
    """Return the user's role in the current organization, or in each of theirs. Operators count as owners."""
    user, chosen = request_user(request), chosen_organization(request)
    if user.is_superuser:
        return [Role.OWNER]
    return list(user.roles.values()) if chosen is None else [user.roles[chosen.pk]]


def scopes_in(request: HttpRequest, organization_id: int | None) -> frozenset[str]:
    """Return the user's scopes in an organization; None means rows of operators."""
    user = request_user(request)
    if user.is_superuser:
        return ALL_SCOPES
    role = user.roles.get(organization_id) if organization_id is not None else None
    return role.scopes if role is not None else frozenset()
