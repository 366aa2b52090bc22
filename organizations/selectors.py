"""Queries: the organization of a request, the caller's access to it, and plans."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q, QuerySet

from costtrack.clock import iso
from costtrack.date_text import day_text
from costtrack.errors import ForbiddenError, InvalidError, NotFoundError
from organizations.models import Membership, Organization, Plan, Team, User
from organizations.principals import Access, Principal
from organizations.second_factor import lacks_second_factor
from organizations.types import Role, Scope


def visible_organizations(principal: Principal) -> QuerySet[Organization]:
    """Return all organizations for an operator, otherwise the credential's own or those of the user."""
    if principal.user is not None:
        return Organization.objects.visible_to(principal.user)
    if principal.organization is not None:
        return Organization.objects.filter(pk=principal.organization.pk)
    return Organization.objects.all() if principal.is_operator else Organization.objects.none()


def access_to(*, principal: Principal, slug: str) -> Access:
    """Return the access to the organization in the URL.

    Raises NotFoundError with the same message whether it does not exist or belongs to another tenant.
    """
    if principal.organization is not None and principal.organization.slug == slug:
        organization: Organization | None = principal.organization
    else:
        organization = find_organization(visible_organizations(principal).select_related("plan"), slug)
    if organization is None:
        closes_at = principal.user.closes_at(slug) if principal.user is not None else None
        if closes_at is not None:
            raise closing_refusal(closes_at)
        raise NotFoundError("No such organization.")
    return _access(principal, organization)


def closing_refusal(closes_at: datetime) -> ForbiddenError:
    """Return the error of a caller who may not use an organization that is closing."""
    return ForbiddenError(
        f"The organization is closed and will be deleted on {day_text(closes_at)}. Until then an owner can reopen it.",
        code="organization_closing",
        extra={"closes_at": iso(closes_at)},
    )


def find_organization(visible: QuerySet[Organization], slug: str) -> Organization | None:
    """Return the one of these organizations that has the slug, or had it if no organization has it now."""
    if not slug.isprintable():  # PostgreSQL rejects some characters
        return None
    return visible.filter(slug=slug).first() or visible.filter(former_slugs__slug=slug).first()


def access_without_url(*, principal: Principal, chosen: str | None) -> Access:
    """Return the access where the URL names no organization.

    That is the credential's own organization, or the one a user chooses (`chosen`, a slug); a user with only one need
    not choose.
    """
    if chosen is not None:
        return access_to(principal=principal, slug=chosen)
    if principal.organization is not None:
        return _access(principal, principal.organization)
    if principal.is_operator:
        raise InvalidError("The organization parameter is required.", param="organization")
    own = list(visible_organizations(principal).select_related("plan").order_by("slug")[:2])
    if not own:
        raise ForbiddenError("You are not a member of any organization.", code="no_organization")
    if len(own) > 1:
        raise InvalidError("The organization parameter is required.", param="organization")
    return _access(principal, own[0])


def role_in(organization: Organization, principal: Principal) -> Role:
    """Return the role that the principal acts with; see `Access`."""
    if principal.is_operator:
        return Role.OWNER
    if principal.user is not None:
        return principal.user.roles[organization.pk]
    return Role.ADMIN if Scope.MANAGE in principal.scopes else Role.VIEWER


def check_second_factor(principal: Principal, *, slug: str | None = None) -> None:
    """Raise ForbiddenError for a user without the second factor that the organization (or any of the user's, without a
    slug) requires."""
    if principal.user is not None and lacks_second_factor(principal.user, slug=slug):
        message = "Your organization requires a second factor. Set one up in the web UI first."
        raise ForbiddenError(message, code="second_factor_required")


def own_user_ids(organization: Organization, membership: Membership) -> list[str]:
    """Return the `user_id`s of the member's own usage as the ledger of the organization stores them."""
    return list(dict.fromkeys(organization.user_name(user_id) for user_id in membership.own_user_ids))


def list_team_members(organization: Organization, teams: Iterable[Team]) -> dict[int, list[str]]:
    """Return the email addresses of the members of each team, by its id; those who have left are skipped."""
    teams = list(teams)
    ids = {pk for team in teams for pk in team.member_ids}
    rows = Membership.objects.of(organization).filter(pk__in=ids) if ids else Membership.objects.none()
    emails = dict(rows.values_list("pk", "user__email"))
    return {team.pk: [emails[pk] for pk in team.member_ids if pk in emails] for team in teams}


def teams_of(membership: Membership) -> QuerySet[Team]:
    """Return the teams that the member is in, by name."""
    teams = Team.objects.filter(organization=membership.organization_id, member_ids__contains=[membership.pk])
    return teams.order_by("name")


def own_membership(access: Access) -> Membership:
    """Return the membership of the user. Raises ForbiddenError for credentials, and for operators without one."""
    members = Membership.objects.of(access.organization).accepted().with_user()
    user = access.principal.user
    membership = members.filter(user=user).first() if user is not None else None
    if membership is None:
        raise ForbiddenError("Only members have usage of their own. Sign in as a member.", code="members_only")
    return membership


def _access(principal: Principal, organization: Organization) -> Access:
    check_second_factor(principal, slug=organization.slug)
    role = role_in(organization, principal)
    scopes = role.scopes if principal.user is not None else principal.scopes
    return Access(principal=principal, organization=organization, role=role, scopes=scopes)


def cheapest_plan_with_api() -> Plan | None:
    """Return the cheapest plan with API access, for the message of a refusal."""
    return Plan.objects.filter(api_access=True).order_by("position", "code").first()


def cheapest_plan_with_exports() -> Plan | None:
    """Return the cheapest plan with exports, for the message of a refusal."""
    return Plan.objects.filter(api_access=True, exports=True).order_by("position", "code").first()


def cheapest_plan_with_history(days: int) -> Plan | None:
    """Return the cheapest plan that shows this many days of history."""
    is_enough = Q(history_days=None) | Q(history_days__gte=days)
    return Plan.objects.filter(is_enough, api_access=True).order_by("position", "code").first()


def changeable_organizations(user: User) -> QuerySet[Organization]:
    """Return the organizations in which the user may change things, which are not closing."""
    organizations = Organization.objects.open()
    if user.is_superuser:
        return organizations
    return organizations.filter(pk__in=[pk for pk, role in user.roles.items() if role.may_change])
