"""Who gets a notice by email: owners and admins, the user whose limit it is about, and addresses that the organization
has added. No one who has left: recipients are checked when a notice is written and again when it is sent.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count

from billing.models import Delivery, NotificationAddress, NotificationPreference
from billing.notifications.preferences import CATEGORIES, CATEGORY_NAMES, subscribed_addresses
from billing.types import Channel, LimitScope, NoticeKind
from costtrack.errors import ConflictError, field_error
from costtrack.names import clean_name
from organizations import audit
from organizations.models import Membership, MembershipQuerySet, Organization, Team
from organizations.selectors import own_user_ids
from organizations.services import lock_organization

MAX_ADDRESSES = 20
"""Addresses that an organization can add."""
MAX_PER_HOUR = 30
"""Emails about notices of an organization to one recipient in an hour."""
_HOUR = timedelta(hours=1)
_SEPARATOR = " x "


def recipients_of(*, organization: Organization, kind: NoticeKind, data: Mapping[str, Any]) -> list[str]:
    """Return the addresses of everyone whom a notice concerns."""
    return [
        *subscribed_addresses(organization=organization, kind=kind),
        *_added_addresses(organization, kind),
        *_concerned_users(organization, kind, data.get("limit") or {}),
        *_concerned_team(organization, kind, data.get("limit") or {}),
    ]


def allowed_recipients(*, organization: Organization, addresses: Collection[str]) -> dict[str, Membership | None]:
    """Return those of the addresses that may get notices now, with the membership of a member."""
    added = NotificationAddress.objects.of(organization).filter(address__in=addresses)
    members = _active_members(organization).filter(user__email__in=addresses).with_user()
    of_teams = Team.objects.of(organization).filter(addresses__overlap=list(addresses))
    team_addresses = {address for (several,) in of_teams.values_list("addresses") for address in several}
    return {
        **dict.fromkeys(team_addresses.intersection(addresses)),
        **dict.fromkeys(added.values_list("address", flat=True)),
        **{membership.user.email: membership for membership in members},
    }


def over_the_limit(*, organization: Organization, addresses: Sequence[str], now: datetime) -> set[str]:
    """Return those of the addresses that had `MAX_PER_HOUR` emails in the last hour."""
    recent = Delivery.objects.of(organization).filter(
        channel=Channel.EMAIL, recipient__in=addresses, created_at__gt=now - _HOUR
    )
    counts = recent.values("recipient").annotate(number=Count("pk")).order_by()
    return {row["recipient"] for row in counts if row["number"] >= MAX_PER_HOUR}


@transaction.atomic
def add_address(
    *, organization: Organization, address: str, categories: Sequence[str], actor: str, now: datetime
) -> NotificationAddress:
    """Send notices of these categories (empty: all) to an address, for example of the finance department."""
    lock_organization(organization)
    unknown = sorted(set(categories) - set(CATEGORY_NAMES))
    if unknown:
        raise field_error("categories", f"unknown: {', '.join(unknown)}. Must be of {', '.join(CATEGORY_NAMES)}.")
    existing = NotificationAddress.objects.of(organization)
    if existing.filter(address__iexact=address).exists():
        raise ConflictError("address: already added.", code="already_added", param="address")
    if existing.count() >= MAX_ADDRESSES:
        raise ConflictError(f"An organization can add {MAX_ADDRESSES} addresses.", code="too_many_addresses")
    row = NotificationAddress.objects.create(
        organization=organization,
        address=address,
        categories=[name for name in CATEGORY_NAMES if name in categories],
        created_at=now,
    )
    audit.record(
        organization=organization,
        actor=actor,
        action="notification_address.added",
        subject=address,
        categories=row.categories,
    )
    return row


@transaction.atomic
def remove_address(*, organization: Organization, row: NotificationAddress, actor: str) -> None:
    NotificationAddress.objects.row(row).delete()
    audit.record(organization=organization, actor=actor, action="notification_address.removed", subject=row.address)


def _added_addresses(organization: Organization, kind: NoticeKind) -> Iterable[str]:
    rows = NotificationAddress.objects.of(organization).order_by("pk")
    return [row.address for row in rows if not row.categories or CATEGORIES.get(kind) in row.categories]


def _concerned_users(organization: Organization, kind: NoticeKind, limit: Mapping[str, Any]) -> Iterable[str]:
    """Return the addresses of members whose own `user_id` the limit is about."""
    names = {organization.user_name(user_id) for user_id in _values(limit, LimitScope.USER)}
    if not names:
        return []
    members = _subscribed_members(organization, kind).with_user()
    return [member.user.email for member in members if not names.isdisjoint(own_user_ids(organization, member))]


def _values(limit: Mapping[str, Any], of_scope: LimitScope) -> Iterator[str]:
    """Return the values of a scope that a limit is about. Several conditions have their values in one text
    (`ada x gpt-4o`)."""
    further = limit.get("conditions") or []
    value = str(limit.get("scope_value") or "")
    values = value.split(_SEPARATOR) if any(not condition["scope_value"] for condition in further) else [value]
    first, *others = values
    remaining = iter(others)
    for scope, name in [
        (limit.get("scope"), first),
        *((condition["scope"], condition["scope_value"] or next(remaining, "")) for condition in further),
    ]:
        if scope == of_scope.value and name:
            yield name


def _concerned_team(organization: Organization, kind: NoticeKind, limit: Mapping[str, Any]) -> Iterable[str]:
    """Return the addresses of the team that the limit is about, and of its members."""
    names = [clean_name(name) for name in _values(limit, LimitScope.TEAM)]
    teams = list(Team.objects.of(organization).filter(name__in=names)) if names else []
    if not teams:
        return []
    member_ids = [pk for team in teams for pk in team.member_ids]
    members = _subscribed_members(organization, kind).filter(pk__in=member_ids)
    addresses = [address for team in teams for address in team.addresses]
    return [*members.values_list("user__email", flat=True), *addresses]


def _subscribed_members(organization: Organization, kind: NoticeKind) -> MembershipQuerySet:
    """Return the active members who have not turned off such notices."""
    members = _active_members(organization).order_by("pk")
    if kind not in CATEGORIES:
        return members
    declined = NotificationPreference.objects.of(organization).filter(**{CATEGORIES[kind]: False})
    return members.exclude(pk__in=declined.values("membership_id"))


def _active_members(organization: Organization) -> MembershipQuerySet:
    return Membership.objects.of(organization).accepted().filter(user__is_active=True)
