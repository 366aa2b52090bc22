"""Reports of spend that members get by email after each week or month.

A report is a notice to one member. Its subscription is locked while the notice is written, in one transaction with the
note that the period is reported, so each period has one report however many workers write reports at a time. The notice
is delivered like any other; who has left or unsubscribed in the meantime gets nothing (`billing.notifications.emails`).
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q

from billing.limits.refusal import describe_limit
from billing.limits.status import LimitFilter, PerValueStatus, list_limits, percent_of
from billing.limits.types import LimitStatus
from billing.models import Notice, ReportSubscription
from billing.notifications.outbox import notify
from billing.notifications.recipients import MAX_PER_HOUR, over_the_limit
from billing.notifications.report_subscriptions import (
    ReportPeriod,
    last_report_period,
    may_see_reports,
    possible_recipients,
)
from billing.reports.forecast.forecasts import forecasts
from billing.reports.usage.breakdown import RANK_BY, View, series
from billing.reports.usage.figures import ZERO_FIGURES, Figures, GroupBy, UsageFilter
from billing.reports.usage.totals import grouped, totals
from billing.types import LimitScope, NoticeKind, ReportFrequency, ReportScope, amount_text
from costtrack.clock import DAY, iso
from costtrack.errors import DomainError, InvalidError, TooManyRequestsError
from costtrack.money import plain
from costtrack.tenancy import tenant_scope
from organizations.failures import log_failure
from organizations.models import Organization
from organizations.plan_rights import PlanRights

MAX_LISTED = 5
"""Teams, models and users with the most spend, and limits."""
_TOPS = {"teams": GroupBy.TEAM, "models": GroupBy.MODEL, "users": GroupBy.USER}
_LIMIT_SCOPES = {ReportScope.TEAM: LimitScope.TEAM, ReportScope.TAG: LimitScope.TAG}


def send_due_reports(*, now: datetime) -> int:
    """Write the reports that are due, of all organizations; return their number. After an interruption of more than one
    period, only the last one is reported."""
    subscribed = ReportSubscription.objects.values("organization_id")
    reports = 0
    for organization in Organization.objects.open().select_related("plan").filter(pk__in=subscribed):
        with log_failure(organization.pk, "reports of spend could not be written"):
            reports += _send_due(organization, now)
    return reports


def send_now(*, organization: Organization, subscription: ReportSubscription, now: datetime) -> Notice:
    """Write the report of the last period to its subscriber, whether it was sent before or not. Raises
    TooManyRequestsError if the subscriber had too many emails in the last hour."""
    address = possible_recipients(organization).get(pk=subscription.membership_id).user.email
    if over_the_limit(organization=organization, addresses=[address], now=now):
        raise TooManyRequestsError(f"You had {MAX_PER_HOUR} emails of this organization in the last hour.")
    return _notify(organization, subscription, address, now)


def preview(*, organization: Organization, subscription: ReportSubscription, now: datetime) -> Notice:
    """Return the notice of the last period's report, which is not stored."""
    data = report_data(organization=organization, subscription=subscription, now=now)
    return Notice(kind=NoticeKind.REPORT, subject=str(subscription), data=data, created_at=now)


def report_data(*, organization: Organization, subscription: ReportSubscription, now: datetime) -> dict[str, Any]:
    """Return the report of the last period, as the `data` of its notice. Amounts are those of Explore for the same days
    and filter."""
    period = last_report_period(organization.calendar, ReportFrequency(subscription.frequency), now)
    calendar = organization.calendar
    data: dict[str, Any] = {
        "organization": organization.slug,
        "report": {
            "subscription": subscription.pk,
            "frequency": subscription.frequency,
            "scope": subscription.scope,
            "value": subscription.value,
            "start": iso(period.span.start),
            "end": iso(period.span.end),
            "first_day": period.first_day.isoformat(),
            "last_day": (calendar.date_of(period.span.end) - DAY).isoformat(),
        },
        "as_of": iso(now),
        "time_zone": organization.time_zone,
    }
    try:
        return {**data, **_figures(organization, subscription, period, now)}
    except DomainError as refused:
        return {**data, "problem": refused.message}


def _send_due(organization: Organization, now: datetime) -> int:
    if PlanRights(organization).api_refusal() is not None:
        return 0
    is_due = Q()
    for frequency in ReportFrequency:
        period = last_report_period(organization.calendar, frequency, now)
        is_due |= Q(frequency=frequency, last_period__lt=period.first_day)
    with tenant_scope(organization.pk):
        due = ReportSubscription.objects.of(organization).filter(is_due).order_by("pk")
        subscription_ids = list(due.values_list("pk", flat=True))
    reports = 0
    for pk in subscription_ids:
        with log_failure(organization.pk, "a report of spend could not be written", subscription=pk):
            reports += _send_if_due(organization, pk, is_due, now)
    return reports


def _send_if_due(organization: Organization, subscription_id: int, is_due: Q, now: datetime) -> bool:
    """Write the report, unless another worker has or is about to."""
    with tenant_scope(organization.pk), transaction.atomic():
        due = ReportSubscription.objects.of(organization).filter(is_due, pk=subscription_id)
        subscription = due.select_for_update(of=("self",), skip_locked=True).first()
        if subscription is None:
            return False
        frequency = ReportFrequency(subscription.frequency)
        subscription.last_period = last_report_period(organization.calendar, frequency, now).first_day
        subscription.save(update_fields=["last_period"])
        member = possible_recipients(organization).filter(pk=subscription.membership_id).first()
        if member is None or not may_see_reports(member):
            return False
        _notify(organization, subscription, member.user.email, now)
    return True


def _notify(organization: Organization, subscription: ReportSubscription, address: str, now: datetime) -> Notice:
    return notify(
        organization=organization,
        kind=NoticeKind.REPORT,
        subject=f"{organization.name}: {subscription}",
        data=report_data(organization=organization, subscription=subscription, now=now),
        now=now,
        to=[address],
        webhooks=(),
    )


def _figures(
    organization: Organization, subscription: ReportSubscription, period: ReportPeriod, now: datetime
) -> dict[str, Any]:
    """Raises ForbiddenError if the plan does not show the whole period."""
    rights = PlanRights(organization)
    rights.check_visible(period.span.start, now=now)
    has_before = rights.is_visible(period.before.start, now=now)
    filters = _filters(subscription)
    windows = [period.span, period.before] if has_before else [period.span]
    tops: dict[str, list[list[str]]] | None
    try:
        figures = totals(organization=organization, filters=filters, windows=windows)
        tops = {name: _top(organization, filters, period, by) for name, by in _TOPS.items()}
    except InvalidError:
        # Breakdowns of a tag are read event by event; sums of tags have a rollup.
        by_tag = grouped(organization=organization, filters=UsageFilter(), windows=windows, by=GroupBy.TAG)
        figures = [sums.get(subscription.value, ZERO_FIGURES) for sums in by_tag]
        tops = None
    return {
        **_sums(figures[0]),
        "previous": _sums(figures[1]) if has_before else None,
        "top": tops,
        "limits": _limits(organization, subscription, now),
        "forecast": _forecast(organization, subscription, now),
    }


def _filters(subscription: ReportSubscription) -> UsageFilter:
    match ReportScope(subscription.scope):
        case ReportScope.TEAM:
            return UsageFilter(team=subscription.value)
        case ReportScope.TAG:
            return UsageFilter(tag=subscription.value)
    return UsageFilter()


def _sums(figures: Figures) -> dict[str, Any]:
    return {
        "spend_usd": plain(figures.cost_usd),
        "requests": figures.requests,
        "tokens": figures.total_tokens,
        "unpriced_events": figures.unpriced_events,
    }


def _top(organization: Organization, filters: UsageFilter, period: ReportPeriod, by: GroupBy) -> list[list[str]]:
    """Return names and amounts; usage without a name has an empty one."""
    rows = series(
        organization=organization,
        filters=filters,
        windows=[period.span],
        by=by,
        rank_by=RANK_BY[View.COST],
        limit=MAX_LISTED,
    )
    return [[row.name, plain(row.total.cost_usd)] for row in rows]


def _limits(organization: Organization, subscription: ReportSubscription, now: datetime) -> list[dict[str, str]]:
    scope = _LIMIT_SCOPES.get(ReportScope(subscription.scope))
    filters = LimitFilter() if scope is None else LimitFilter(scope=scope, value=subscription.value)
    statuses: list[LimitStatus] = []
    for status in list_limits(organization=organization, filters=filters, now=now):
        statuses += status.values if isinstance(status, PerValueStatus) else [status]
    statuses.sort(key=lambda status: (-percent_of(status), status.rule.limit_id, status.rule.value))
    return [_limit(status) for status in statuses[:MAX_LISTED]]


def _limit(status: LimitStatus) -> dict[str, str]:
    unit = status.rule.unit
    return {
        "name": describe_limit(status.rule),
        "used": f"{amount_text(status.evaluation.spent_usd, unit)} of {amount_text(status.rule.amount_usd, unit)}",
        "state": status.evaluation.state.value,
    }


def _forecast(
    organization: Organization, subscription: ReportSubscription, now: datetime
) -> dict[str, str | None] | None:
    """Return the forecast of the current month; None without one: tags have none, nor have teams without much spend."""
    if subscription.scope == ReportScope.TAG:
        return None
    by = GroupBy.TEAM if subscription.scope == ReportScope.TEAM else None
    rows = forecasts(organization=organization, by=by, now=now)
    month = next((row.periods[-1] for row in rows if row.key == subscription.value), None)
    if month is None:
        return None
    return {
        "start": iso(month.span.start),
        "end": iso(month.span.end),
        "spent_usd": plain(month.spent_usd),
        "expected_usd": _plain_or_none(month.expected_usd),
        "low_usd": _plain_or_none(month.low_usd),
        "high_usd": _plain_or_none(month.high_usd),
    }


def _plain_or_none(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
