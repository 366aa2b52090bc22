"""Who looks at a page of the admin, and about which organization it is."""

from django.http import HttpRequest

from organizations.models import Organization, User
from organizations.types import ALL_SCOPES, Role


def person_of(request: HttpRequest) -> User:
    """Who is signed in; the admin site lets nobody else as far as this."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("Nobody is signed in.")
    return user


def chosen_organization(request: HttpRequest) -> Organization | None:
    """The one that the address names (`/o/<slug>/`), which the person may see; None: the page is about all of them."""
    organization: Organization | None = getattr(request, "organization", None)
    return organization


def roles_here(request: HttpRequest) -> list[Role]:
    """What the person is in the organization that the page is about, or in each of theirs. Operators are owners."""
    person, chosen = person_of(request), chosen_organization(request)
    if person.is_superuser:
        return [Role.OWNER]
    return list(person.roles.values()) if chosen is None else [person.roles[chosen.pk]]


def scopes_in(request: HttpRequest, organization_id: int | None) -> frozenset[str]:
    """What the person may do in an organization; None stands for the operators' own rows."""
    person = person_of(request)
    if person.is_superuser:
        return ALL_SCOPES
    role = person.roles.get(organization_id) if organization_id is not None else None
    return role.scopes if role is not None else frozenset()
