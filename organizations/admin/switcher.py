"""The head of the sidebar: which organization the pages are about, and the way to the others."""

from dataclasses import dataclass

from django.db.models.functions import Lower
from django.http import HttpRequest

from costtrack.organization_paths import for_installation, for_organization
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
    """`choices` is empty for somebody who has nothing to choose. `all_url` leads to what is about all of them."""

    name: str
    plan: str
    choices: tuple[Choice, ...] = ()
    all_url: str = ""


def switcher(request: HttpRequest) -> Switcher | None:
    """None: nobody is signed in."""
    person = request.user
    if not isinstance(person, User):
        return None
    chosen = chosen_organization(request)
    name, plan = (chosen.name, chosen.plan.name) if chosen is not None else ("costtrack", "All organizations")
    if person.is_superuser:
        return Switcher(
            name,
            plan,
            choices=_choices(_names_for_operator(chosen), chosen),
            all_url=for_installation("organizations_organization_changelist"),
        )
    if len(person.roles) < 2:  # noqa: PLR2004 - one is no choice
        return Switcher(name, plan)
    return Switcher(name, plan, choices=_choices(person.organization_names, chosen), all_url=for_installation("index"))


def _choices(names: list[OrganizationName], chosen: Organization | None) -> tuple[Choice, ...]:
    shown = chosen.pk if chosen is not None else None
    return tuple(Choice(one.name, for_organization(one.slug, "index"), is_shown=one.id == shown) for one in names)


def _names_for_operator(chosen: Organization | None) -> list[OrganizationName]:
    """The first ones of the installation by name, and the one that the page is about. The list behind "All
    organizations" has every one of them, with a search."""
    columns = Organization.objects.order_by(Lower("name"), "id").values_list("id", "slug", "name")
    names = {pk: OrganizationName(pk, slug, name) for pk, slug, name in columns[:_MAX_FOR_OPERATORS]}
    if chosen is not None:
        names[chosen.pk] = OrganizationName(chosen.pk, chosen.slug, chosen.name)
    return sorted(names.values(), key=OrganizationName.sort_key)
