"""Update the threshold events of one limit and value, and write the notices, in one transaction.

An advisory lock allows one such transaction per organization. Authorizations and changes of limits do not take it.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Max, Q

from billing.limits.cache import LimitSet, client_ids, limit_set
from billing.limits.evaluate import window_span
from billing.limits.notifications import notify_summary, notify_threshold_event, resets_at
from billing.limits.status import statuses
from billing.limits.threshold_events import (
    RENOTIFY_AFTER,
    Changes,
    LimitSnapshot,
    plan_changes,
    plan_changes_without_limit,
    window_keys,
)
from billing.limits.types import Evaluation, Rule
from billing.models import SpendLimit, ThresholdEvent
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.money import ZERO
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

# In the upper half of the 64 bits, so that the keys do not collide with other advisory locks.
_ENFORCING = 0x4C494D << 36
_LOCK = "SELECT pg_advisory_xact_lock(%s)"


class LimitValue(NamedTuple):
    """A limit and one of its values, as rollups store it. Empty for a per-value limit: all values."""

    limit_id: int
    value: str


def reconcile(*, organization: Organization, limit_value: LimitValue, now: datetime, is_notified: bool = True) -> int:
    """Update the threshold events, and return the number of notices. With `is_notified=False` they are not written."""
    with tenant_scope(organization.pk):
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [_ENFORCING + organization.pk])
        now = _not_before_existing(organization, limit_value, now)
        all_limits = limit_set(organization)
        rule = all_limits.rule(limit_value.limit_id, limit_value.value, now=now)
        if rule is None:
            return _reconcile_without_limit(organization, limit_value, now, is_notified=is_notified)
        return _reconcile(organization, all_limits, rule, now, is_notified=is_notified)


def notify_remaining(*, organization: Organization, limit_id: int, count: int, now: datetime) -> None:
    """Write one notice for the values that got no notice of their own."""
    with tenant_scope(organization.pk):
        limit = SpendLimit.objects.of(organization).get(pk=limit_id)
        notify_summary(organization=organization, rule=_former_rule(organization, limit, ""), count=count, now=now)


def is_for_all_values(rule: Rule) -> bool:
    """Whether the rule stands for all values of a per-value limit; then only manual pauses matter."""
    return rule.is_per_value and not rule.value


def take_snapshot(
    *, organization: Organization, all_limits: LimitSet, rule: Rule, spent_usd: Decimal, now: datetime
) -> LimitSnapshot:
    for_all = all_limits.rule(rule.limit_id, "", now=now) if rule.is_per_value and rule.value else None
    return LimitSnapshot(
        rule=rule,
        spent_usd=None if is_for_all_values(rule) else spent_usd,
        span=window_span(rule.window, organization.calendar, now),
        now=now,
        is_paused_for_all=for_all is not None
        and for_all.is_paused_manually
        and for_all.manual_override == rule.manual_override,
    )


def _not_before_existing(organization: Organization, limit_value: LimitValue, now: datetime) -> datetime:
    """Return `now`, or a later time that another worker has written while this one waited for the lock."""
    rows = ThresholdEvent.objects.of(organization).filter(limit=limit_value.limit_id, value=limit_value.value)
    latest: dict[str, datetime | None] = rows.aggregate(crossed=Max("crossed_at"), resolved=Max("resolved_at"))
    return max([now, *(instant for instant in latest.values() if instant is not None)])


def _reconcile(
    organization: Organization, all_limits: LimitSet, rule: Rule, now: datetime, *, is_notified: bool
) -> int:
    evaluation = None
    if not is_for_all_values(rule):
        (status,) = statuses(organization=organization, rules=[rule], now=now)
        evaluation = status.evaluation
    spent_usd = ZERO if evaluation is None else evaluation.spent_usd
    snapshot = take_snapshot(organization=organization, all_limits=all_limits, rule=rule, spent_usd=spent_usd, now=now)
    changes = plan_changes(snapshot, _rows(organization, snapshot))
    _write(organization, changes, rule, evaluation, now)
    for notification in changes.notifications if is_notified else ():
        notify_threshold_event(
            organization=organization, rule=rule, evaluation=evaluation, notification=notification, now=now
        )
    return len(changes.notifications)


def _reconcile_without_limit(
    organization: Organization, limit_value: LimitValue, now: datetime, *, is_notified: bool
) -> int:
    limit = SpendLimit.objects.of(organization).get(pk=limit_value.limit_id)
    is_open = ThresholdEvent.objects.of(organization).filter(limit=limit, value=limit_value.value, resolved_at=None)
    changes = plan_changes_without_limit(is_open)
    rule = _former_rule(organization, limit, limit_value.value)
    _write(organization, changes, rule, None, now)
    for notification in changes.notifications if is_notified else ():
        notify_threshold_event(
            organization=organization, rule=rule, evaluation=None, notification=notification, now=now
        )
    return len(changes.notifications)


def _rows(organization: Organization, snapshot: LimitSnapshot) -> Iterable[ThresholdEvent]:
    """Return the rows that `plan_changes` needs."""
    rule = snapshot.rule
    is_recent = Q(crossed_at__gt=snapshot.now - RENOTIFY_AFTER) if snapshot.is_rolling else Q()
    return ThresholdEvent.objects.filter(
        Q(resolved_at=None) | Q(window_key__in=window_keys(snapshot)) | is_recent,
        organization=organization,
        limit=rule.limit_id,
        value=rule.value,
    )


def _write(
    organization: Organization, changes: Changes, rule: Rule, evaluation: Evaluation | None, now: datetime
) -> None:
    # A threshold has at most one open row, so the old one is resolved before the new one is written.
    for resolved in changes.resolved:
        _update(resolved.row, resolved_at=now, times=resolved.times)
    spent_usd = ZERO if evaluation is None else evaluation.spent_usd
    at = resets_at(rule, evaluation)
    for reopened in changes.reopened:
        restarted = {"crossed_at": now, "spent_usd": spent_usd} if reopened.is_notified else {}
        _update(reopened.row, resolved_at=None, resets_at=at, times=reopened.times, **restarted)
    ThresholdEvent.objects.bulk_create(
        ThresholdEvent(
            organization=organization,
            limit_id=rule.limit_id,
            value=rule.value,
            threshold=opened.reached.threshold,
            window_key=opened.key,
            amount_usd=opened.reached.amount_usd,
            spent_usd=spent_usd,
            crossed_at=now,
            resets_at=at,
        )
        for opened in changes.opened
    )


def _update(row: ThresholdEvent, **columns: Any) -> None:
    ThresholdEvent.objects.filter(organization=row.organization_id, pk=row.pk).update(**columns)


def _former_rule(organization: Organization, limit: SpendLimit, value: str) -> Rule:
    """Return the rule of a limit that is not in force, without exceptions."""
    display_value = value
    if limit.scope == LimitScope.CREDENTIAL:
        display_value = client_ids(organization.pk, [value]).get(value, value)
    return Rule(
        limit_id=limit.pk,
        scope=LimitScope(limit.scope),
        value=value,
        display_value=display_value,
        is_per_value=limit.is_per_value,
        window=LimitWindow(limit.window),
        amount_usd=limit.amount_usd,
        base_amount_usd=limit.amount_usd,
        action=LimitAction(limit.action),
        thresholds=tuple(limit.thresholds),
    )
