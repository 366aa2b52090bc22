"""The organization switcher at the top of the sidebar."""

from dataclasses import dataclass

from django.db.models import Q
from django.db.models.functions import Lower
from django.http import HttpRequest

from costtrack.organization_paths import installation_url, organization_url
from organizations.admin_request import chosen_organization
from organizations.models import Organization, User
from organizations.types import OrganizationName

_MAX_FOR_OPERATORS = 20


@dataclass(frozen=True, slots=True)
class Choice:
    name: str
    url: str
    is_shown: bool


@dataclass(frozen=True, slots=True)
class Switcher:
    """`choices` is empty for a user with one organization. `all_url` is the URL of the page of all organizations."""

    name: str
    plan: str
    choices: tuple[Choice, ...] = ()
    all_url: str = ""


def switcher(request: HttpRequest) -> Switcher | None:
    """Return the switcher, or None if no user is signed in."""
    user = request.user
    if not isinstance(user, User):
        return None
    chosen = chosen_organization(request)
    name, plan = (chosen.name, chosen.plan.name) if chosen is not None else ("costtrack", "All organizations")
    if user.is_superuser:
        return Switcher(
            name,
            plan,
            choices=_choices(offered_organizations(user, chosen), chosen),
            all_url=installation_url("organizations_organization_changelist"),
        )
    if len(user.roles) < 2:  # noqa: PLR2004 - one is no choice
        return Switcher(name, plan)
    choices = _choices(offered_organizations(user, chosen), chosen)
    return Switcher(name, plan, choices=choices, all_url=installation_url("index"))


def offered_organizations(user: User, chosen: Organization | None) -> list[OrganizationName]:
    """Return the organizations that the user can choose from, by name."""
    return _names_for_operator(chosen) if user.is_superuser else user.organization_names


def find_organizations(user: User, text: str, limit: int) -> list[OrganizationName]:
    """Return organizations of the user whose name or slug contains the text, by name; for operators, of all."""
    if not user.is_superuser:
        text = text.casefold()
        return [name for name in user.organization_names if text in f"{name.name} {name.slug}".casefold()][:limit]
    matches = Organization.objects.filter(Q(name__icontains=text) | Q(slug__icontains=text))
    columns = matches.order_by(Lower("name"), "id").values_list("id", "slug", "name")
    return [OrganizationName(*row) for row in columns[:limit]]


def _choices(names: list[OrganizationName], chosen: Organization | None) -> tuple[Choice, ...]:
    shown = chosen.pk if chosen is not None else None
    return tuple(
        Choice(choice.name, organization_url(choice.slug, "index"), is_shown=choice.id == shown) for choice in names
    )


def _names_for_operator(chosen: Organization | None) -> list[OrganizationName]:
    """Return the first organizations by name, and the current one. The page "All organizations" lists and searches
    all."""
    columns = Organization.objects.order_by(Lower("name"), "id").values_list("id", "slug", "name")
    names = {pk: OrganizationName(pk, slug, name) for pk, slug, name in columns[:_MAX_FOR_OPERATORS]}
    if chosen is not None:
        names[chosen.pk] = OrganizationName(chosen.pk, chosen.slug, chosen.name)
    return sorted(names.values(), key=OrganizationName.sort_key)
