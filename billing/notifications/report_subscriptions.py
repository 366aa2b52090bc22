"""Members' subscriptions to reports of spend: when a report is due, who may get it, and how it is unsubscribed from.

The reports themselves are written by `billing.spend_reports`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from django.core import signing
from django.db import transaction

from billing.models import ReportSubscription
from billing.types import ReportFrequency, ReportScope
from costtrack.calendar import Calendar, Span, Unit
from costtrack.errors import ConflictError, ForbiddenError, NotFoundError, field_error
from costtrack.names import clean_name
from costtrack.organization_paths import unprefixed_url
from organizations import audit
from organizations.models import Membership, MembershipQuerySet, Organization
from organizations.services import lock_organization
from organizations.tenant_models import OrganizationScopedQuerySet
from organizations.types import Role, Scope

MAX_SUBSCRIPTIONS = 20
"""Of one member."""
SENT_AT = time(7)
"""The local time on the first day after a week or month from which its report is sent."""
_MAX_VALUE_LENGTH = 255
_SALT = "costtrack.report_subscription"
_UNITS = {ReportFrequency.WEEKLY: Unit.WEEK, ReportFrequency.MONTHLY: Unit.MONTH}


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """A week or month of an organization's calendar, and the one before it."""

    span: Span
    before: Span
    first_day: date


def last_report_period(calendar: Calendar, frequency: ReportFrequency, now: datetime) -> ReportPeriod:
    """Return the last period whose report is due: its first following day has begun, and it is `SENT_AT` there."""
    unit = _UNITS[frequency]
    span = calendar.period_before(unit, now)
    if now < datetime.combine(calendar.date_of(span.end), SENT_AT, calendar.zone).astimezone(UTC):
        span = calendar.period_before(unit, span.start)
    return ReportPeriod(span, calendar.period_before(unit, span.start), calendar.date_of(span.start))


def subscriptions_of(membership: Membership) -> OrganizationScopedQuerySet[ReportSubscription]:
    subscriptions = ReportSubscription.objects.filter(organization=membership.organization_id, membership=membership)
    return subscriptions.order_by("frequency", "scope", "value", "pk")


@transaction.atomic
def subscribe(
    *,
    organization: Organization,
    membership: Membership,
    frequency: ReportFrequency,
    scope: ReportScope,
    value: str,
    now: datetime,
) -> ReportSubscription:
    """Send a member a report after each week or month, beginning with the current one.

    Raises ForbiddenError for a member who sees only the own usage, InvalidError for a missing value or one that the
    organization cannot have, and ConflictError if the member has the subscription or too many.
    """
    if not may_see_reports(membership):
        raise ForbiddenError("Members who see only their own usage get no reports.", code="own_usage_only")
    lock_organization(organization)
    value = _valid_value(scope, value)
    existing = subscriptions_of(membership)
    if existing.filter(frequency=frequency, scope=scope, value=value).exists():
        raise ConflictError("You already get this report.", code="already_subscribed")
    if existing.count() >= MAX_SUBSCRIPTIONS:
        raise ConflictError(f"A member can have {MAX_SUBSCRIPTIONS} reports.", code="too_many_subscriptions")
    subscription = ReportSubscription.objects.create(
        organization=organization,
        membership=membership,
        frequency=frequency,
        scope=scope,
        value=value,
        last_period=last_report_period(organization.calendar, frequency, now).first_day,
        created_at=now,
    )
    _record(organization, subscription, membership.user.email, "report.subscribed")
    return subscription


@transaction.atomic
def unsubscribe(*, organization: Organization, subscription: ReportSubscription) -> None:
    """End a subscription. A report that is written but not sent yet is not sent any more."""
    membership = Membership.objects.of(organization).with_user().get(pk=subscription.membership_id)
    ReportSubscription.objects.row(subscription).delete()
    _record(organization, subscription, membership.user.email, "report.unsubscribed")


def may_see_reports(membership: Membership) -> bool:
    """Whether a member may see the spend of the organization."""
    return Scope.COSTS_READ in Role(membership.role).scopes


def possible_recipients(organization: Organization) -> MembershipQuerySet:
    """Return the members who have joined and not left, whatever their roles."""
    return Membership.objects.of(organization).accepted().filter(user__is_active=True).with_user()


def is_still_subscribed(*, organization: Organization, member: Membership | None, data: Mapping[str, Any]) -> bool:
    """Whether the report of a notice may be sent: its recipient is a member who still sees the spend, and has not
    unsubscribed."""
    if member is None or not may_see_reports(member):
        return False
    own = ReportSubscription.objects.of(organization).filter(membership=member)
    return own.filter(pk=data["report"]["subscription"]).exists()


def unsubscribe_url(organization_id: int | None, subscription_id: int) -> str:
    """Return the path of the page on which a report is unsubscribed from without signing in. It names the subscription,
    signed, and works until the subscription has ended."""
    token = signing.Signer(salt=_SALT).sign(f"{organization_id}-{subscription_id}")
    return unprefixed_url("report_unsubscribe", token)


def subscription_in(token: str) -> tuple[int, int]:
    """Return the organization's and the subscription's id of an unsubscribe link. Raises NotFoundError."""
    try:
        organization_id, _, subscription_id = signing.Signer(salt=_SALT).unsign(token).partition("-")
    except signing.BadSignature:
        raise NotFoundError("This link is incomplete or invalid.") from None
    return int(organization_id), int(subscription_id)


def _valid_value(scope: ReportScope, value: str) -> str:
    value = clean_name(value)
    if scope is ReportScope.ORGANIZATION:
        if value:
            raise field_error("value", "Must be empty for the organization.")
    elif not value:
        raise field_error("value", f"The {ReportScope(scope).label.lower()} is required.")
    if len(value) > _MAX_VALUE_LENGTH:
        raise field_error("value", f"Must have up to {_MAX_VALUE_LENGTH} characters.")
    return value


def _record(organization: Organization, subscription: ReportSubscription, email: str, action: str) -> None:
    audit.record(organization=organization, actor=email, action=action, subject=email, report=str(subscription))
