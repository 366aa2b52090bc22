"""Members' preferences for notices by email."""

from collections.abc import Mapping

from django.db import transaction

from billing.models import NotificationPreference
from billing.types import NoticeKind
from costtrack.errors import InvalidError
from organizations import audit
from organizations.models import Membership, Organization
from organizations.types import Role

CATEGORIES: Mapping[NoticeKind, str] = {
    NoticeKind.THRESHOLD: "warnings",
    NoticeKind.EXCEEDED: "warnings",
    NoticeKind.PAUSED: "pauses",
    NoticeKind.RESUMED: "pauses",
    NoticeKind.INCREASE_REQUESTED: "requests",
    NoticeKind.INCREASE_GRANTED: "requests",
    NoticeKind.INCREASE_DECLINED: "requests",
    NoticeKind.UNPRICED_USAGE: "usage",
    NoticeKind.FLAGGED_USAGE: "usage",
    NoticeKind.ANOMALY: "usage",
    NoticeKind.MONTH_CLOSED: "usage",
    NoticeKind.WEBHOOK_DISABLED: "webhooks",
}
"""The field of `NotificationPreference` that each kind belongs to. Test messages belong to none."""

CATEGORY_NAMES: tuple[str, ...] = tuple(dict.fromkeys(CATEGORIES.values()))
_NOTIFIED_ROLES = tuple(role.value for role in Role if role.may_change)


def subscribed_addresses(*, organization: Organization, kind: NoticeKind) -> list[str]:
    """Return the email addresses of the active owners and admins who subscribed to this kind of notice."""
    members = Membership.objects.of(organization).accepted().filter(role__in=_NOTIFIED_ROLES, user__is_active=True)
    if kind in CATEGORIES:
        declined = NotificationPreference.objects.of(organization).filter(**{CATEGORIES[kind]: False})
        members = members.exclude(pk__in=declined.values("membership_id"))
    return list(members.order_by("pk").values_list("user__email", flat=True))


def preference_of(membership: Membership) -> NotificationPreference:
    """Return the member's preference, or the default, which is not stored."""
    preference = NotificationPreference.objects.filter(membership=membership).first()
    return preference or NotificationPreference(organization_id=membership.organization_id, membership=membership)


@transaction.atomic
def change_preference(
    *, organization: Organization, membership: Membership, changes: Mapping[str, bool]
) -> NotificationPreference:
    """Turn categories of notices on or off, for the member's own emails.

    Raises InvalidError if `changes` is empty.
    """
    if not changes:
        raise InvalidError(f"At least one of {', '.join(CATEGORY_NAMES)} is required.")
    preference, _ = NotificationPreference.objects.update_or_create(
        organization=organization, membership=membership, defaults=dict(changes)
    )
    audit.record(
        organization=organization,
        actor=membership.user.email,
        action="notification_preference.changed",
        subject=membership.user.email,
        **{name: "on" if is_on else "off" for name, is_on in sorted(changes.items())},
    )
    return preference
