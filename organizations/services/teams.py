"""Create, change and remove teams. Each change locks the organization first."""

from collections.abc import Collection, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from costtrack.errors import ConflictError, field_error
from costtrack.names import clean_name
from organizations import audit
from organizations.models import Membership, Organization, Team
from organizations.services.organizations import lock_organization

MAX_TEAMS = 500
MAX_MEMBERS = 500
MAX_TEAM_ADDRESSES = 10


@transaction.atomic
def create_team(
    *,
    organization: Organization,
    name: str,
    display_name: str = "",
    members: Sequence[str] = (),
    addresses: Sequence[str] = (),
    actor: str,
) -> Team:
    """Create a team by the name that events carry in `team`. `members` are email addresses of members.

    Raises InvalidError naming the field, ConflictError if there is a team of this name, or too many teams.
    """
    lock_organization(organization)
    if Team.objects.of(organization).count() >= MAX_TEAMS:
        raise ConflictError(f"An organization can have {MAX_TEAMS} teams.", code="too_many_teams")
    team = Team(organization=organization)
    values = {"name": name, "display_name": display_name, "members": members, "addresses": addresses}
    _save(team, values, actor=actor, action="team.created")
    return team


@transaction.atomic
def update_team(*, organization: Organization, team: Team, values: dict[str, Any], actor: str) -> Team:
    """Change the given fields of `create_team`."""
    lock_organization(organization)
    current = Team.objects.of(organization).get_or_not_found("team", pk=team.pk)
    _save(current, values, actor=actor, action="team.changed")
    return current


@transaction.atomic
def remove_team(*, organization: Organization, team: Team, actor: str) -> None:
    """Remove a team. Its usage and limits by its name stay."""
    lock_organization(organization)
    Team.objects.row(team).delete()
    audit.record(organization=organization, actor=actor, action="team.removed", subject=team.name[:254])


def _save(team: Team, values: dict[str, Any], *, actor: str, action: str) -> None:
    organization, details = team.organization, dict(values)
    if "name" in values:
        details["name"] = team.name = _checked_name(values["name"])
    if "display_name" in values:
        details["display_name"] = team.display_name = clean_name(values["display_name"])
    if "members" in values:
        team.member_ids = _member_ids(organization, values["members"])
        details["members"] = list(values["members"])
    if "addresses" in values:
        details["addresses"] = team.addresses = _checked_addresses(values["addresses"])
    try:
        with transaction.atomic():
            team.save()
    except IntegrityError:
        raise ConflictError("name: there is a team of this name.", param="name", code="team_exists") from None
    audit.record(organization=organization, actor=actor, action=action, subject=team.name[:254], **details)


def _checked_name(name: str) -> str:
    name = clean_name(name)
    if not name or "\0" in name:
        raise field_error("name", "must be the name of the team in events.")
    return name


def _checked_addresses(addresses: Sequence[str]) -> list[str]:
    distinct = list({address.casefold(): address for address in addresses}.values())
    if len(distinct) > MAX_TEAM_ADDRESSES:
        raise field_error("addresses", f"must be at most {MAX_TEAM_ADDRESSES}.")
    return distinct


def _member_ids(organization: Organization, emails: Collection[str]) -> list[int]:
    """Return the ids of the memberships with these addresses, in the order of the addresses."""
    if len(emails) > MAX_MEMBERS:
        raise field_error("members", f"must be at most {MAX_MEMBERS}.")
    rows = Membership.objects.of(organization).values_list("user__email", "pk")
    ids = {email.casefold(): pk for email, pk in rows}
    unknown = [email for email in emails if email.casefold() not in ids]
    if unknown:
        raise field_error("members", f"not a member: {', '.join(unknown[:5])}.")
    return list(dict.fromkeys(ids[email.casefold()] for email in emails))
