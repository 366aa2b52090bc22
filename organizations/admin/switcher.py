"""The head of the sidebar: which organization the pages are about, and the way to the others."""

from dataclasses import dataclass

from django.http import HttpRequest

from costtrack.organization_paths import for_installation, for_organization
from organizations.admin_request import chosen_organization
from organizations.models import Organization, User

_MAX_SHOWN = 20


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
    if len(person.roles) < 2 and not person.is_superuser:  # noqa: PLR2004 - one is no choice
        return Switcher(name, plan)
    visible = Organization.objects.visible_to(person).order_by("name", "id")
    found = list(visible[: _MAX_SHOWN + 1])
    return Switcher(
        name,
        plan,
        choices=tuple(
            Choice(one.name, for_organization(one.slug, "index"), is_shown=one == chosen) for one in found[:_MAX_SHOWN]
        ),
        all_url=for_installation("organizations_organization_changelist")
        if len(found) > _MAX_SHOWN or person.is_superuser
        else for_installation("index"),
    )
