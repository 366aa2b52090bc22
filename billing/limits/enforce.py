"""Enforcement: compare the spend of each limit with its threshold events, write what changed, and send notices.

For example, a limit of 100 USD has a threshold of 80 percent, and a fold brings its spend to 81 USD:

1. `enforce` compares all limits without a lock; usually nothing has changed. Here the threshold has no open event.
2. `reconcile` takes the organization's advisory lock, reads the exact spend again, and lets
   `billing.limits.threshold_events` decide: write an event for 80 percent, and notify it.
3. The event is written together with its notice (`billing.limits.notifications`), in one transaction. So each is
   written once, even if workers die or run at the same time, and emails go out from the outbox afterwards.

Authorizations and changes of limits do not take the lock. Enforcement does not decide whether a call may go ahead;
`billing.limits.authorize` does.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Max, Q, QuerySet

from billing.limits.balances import spend_of_rules
from billing.limits.cache import LimitSet, limit_set, rule_of
from billing.limits.limit_windows import window_span
from billing.limits.notifications import notify_summary, notify_threshold_event, resets_at
from billing.limits.per_value import LastCheck, values_to_check
from billing.limits.selectors import display_values
from billing.limits.status import statuses
from billing.limits.threshold_events import (
    Changes,
    LimitSnapshot,
    is_up_to_date,
    plan_changes,
    plan_changes_without_limit,
    window_keys,
)
from billing.limits.types import Evaluation, Rule
from billing.models import SpendLimit, ThresholdEvent
from costtrack.money import ZERO
from costtrack.tenancy import tenant_scope
from organizations.failures import log_failure
from organizations.models import Organization

logger = logging.getLogger(__name__)

_FAILED = "limits could not be enforced"
_BATCH_SIZE = 5000

MAX_NOTICES_PER_LIMIT = 20
"""Notices of one limit in one pass. Thousands of values may exceed a new per-value limit at once; one more notice then
gives the number of the others, and the list of threshold events names them."""

# In the upper half of the 64 bits, so that the keys do not collide with other advisory locks.
_ENFORCING = 0x4C494D << 36
_LOCK = "SELECT pg_advisory_xact_lock(%s)"

_last_checks: dict[int, LastCheck] = {}
"""The last check of each organization's per-value limits by this process. Without one, all values are checked."""


class LimitValue(NamedTuple):
    """A limit and one of its values, as rollups store it. Empty for a per-value limit: all values."""

    limit_id: int
    value: str


@dataclass(frozen=True, slots=True)
class EnforcementResult:
    """How many limits (or values of them) were reconciled, how many notices were written, and how many limits failed.

    A failure is logged, and retried by the next pass.
    """

    reconciled: int = 0
    notices: int = 0
    failed: int = 0

    def __add__(self, other: "EnforcementResult") -> "EnforcementResult":
        return EnforcementResult(
            self.reconciled + other.reconciled, self.notices + other.notices, self.failed + other.failed
        )


def enforce_all(*, now: datetime) -> EnforcementResult:
    """Enforce every organization's limits."""
    done = EnforcementResult()
    for organization in organizations_with_limits():
        result = EnforcementResult(failed=1)
        with log_failure(organization.pk, _FAILED):
            result = enforce(organization=organization, now=now)
        done += result
    return done


def organizations_with_limits() -> QuerySet[Organization]:
    """Return organizations that have limits, or open threshold events of limits that were removed. Those that are
    closing get no notices."""
    limits = SpendLimit.objects.not_removed().values_list("organization_id", flat=True)
    is_open = ThresholdEvent.objects.filter(resolved_at=None).values_list("organization_id", flat=True)
    ids = {*limits.distinct(), *is_open.distinct()}
    return Organization.objects.open().filter(pk__in=ids).order_by("pk")


def enforce(*, organization: Organization, now: datetime) -> EnforcementResult:
    """Update the threshold events of all limits of the organization, and write the notices."""
    all_limits, limit_values = _check_single_limits(organization, now)
    done = _reconcile_all(organization, limit_values, now)
    limits = all_limits.per_value_limits(now=now)
    last = _last_checks.get(organization.pk)
    for limit in limits:
        try:
            with tenant_scope(organization.pk):
                limit_values = _outdated_values(organization, all_limits, limit, last, now)
        except Exception:
            logger.exception(_FAILED, extra={"organization_id": organization.pk, "limit": limit.pk})
            done += EnforcementResult(failed=1)
        else:
            done += _reconcile_all(organization, limit_values, now)
    if limits and not done.failed:
        _last_checks[organization.pk] = LastCheck(now, all_limits.revision)
    return done


def _check_single_limits(organization: Organization, now: datetime) -> tuple[LimitSet, list[LimitValue]]:
    """Return the current limits, and those without per-value scope that must be reconciled."""
    all_limits = None
    try:
        with tenant_scope(organization.pk):
            all_limits = limit_set(organization)
            return all_limits, _outdated_single_limits(organization, all_limits, now)
    except Exception:
        if all_limits is None:
            raise
        # They were checked together. Reconcile all of them one by one, so that only the faulty ones fail.
        logger.exception(_FAILED, extra={"organization_id": organization.pk})
        return all_limits, [LimitValue(rule.limit_id, rule.value) for rule in all_limits.single_limit_rules(now=now)]


def _reconcile_all(organization: Organization, limit_values: Iterable[LimitValue], now: datetime) -> EnforcementResult:
    done = EnforcementResult()
    notice_counts: Counter[int] = Counter()
    for limit_value in limit_values:
        try:
            is_notified = notice_counts[limit_value.limit_id] < MAX_NOTICES_PER_LIMIT
            notices = reconcile(organization=organization, limit_value=limit_value, now=now, is_notified=is_notified)
            notice_counts[limit_value.limit_id] += notices
            done += EnforcementResult(reconciled=1, notices=notices if is_notified else 0)
        except Exception:
            extra = {"organization_id": organization.pk, "limit": limit_value.limit_id, "value": limit_value.value}
            logger.exception(_FAILED, extra=extra)
            done += EnforcementResult(failed=1)
    for limit_id, notices in notice_counts.items():
        if notices > MAX_NOTICES_PER_LIMIT:
            notify_remaining(
                organization=organization, limit_id=limit_id, count=notices - MAX_NOTICES_PER_LIMIT, now=now
            )
            done += EnforcementResult(notices=1)
    return done


def _outdated_single_limits(organization: Organization, all_limits: LimitSet, now: datetime) -> list[LimitValue]:
    """Return outdated limits of the organization or a single value, and limits that are no longer in force."""
    per_value = [limit.pk for limit in all_limits.per_value_limits(now=now)]
    is_open = ThresholdEvent.objects.of(organization).filter(resolved_at=None).exclude(limit__in=per_value)
    rows = _by_limit_value(is_open)
    rules = all_limits.single_limit_rules(now=now)
    outdated = _outdated(organization, all_limits, rules, rows, now)
    return outdated + sorted(rows.keys() - {LimitValue(rule.limit_id, rule.value) for rule in rules})


def _outdated_values(
    organization: Organization, all_limits: LimitSet, limit: SpendLimit, last: LastCheck | None, now: datetime
) -> list[LimitValue]:
    """Return the values of a per-value limit whose threshold events must be reconciled."""
    values = ["", *values_to_check(organization=organization, all_limits=all_limits, limit=limit, last=last, now=now)]
    outdated: list[LimitValue] = []
    for start in range(0, len(values), _BATCH_SIZE):
        batch = values[start : start + _BATCH_SIZE]
        rules = [rule for value in batch if (rule := all_limits.rule(limit.pk, value, now=now)) is not None]
        is_open = ThresholdEvent.objects.of(organization).filter(limit=limit, resolved_at=None, value__in=batch)
        outdated += _outdated(organization, all_limits, rules, _by_limit_value(is_open), now)
    return outdated


def _outdated(
    organization: Organization,
    all_limits: LimitSet,
    rules: Sequence[Rule],
    rows: dict[LimitValue, list[ThresholdEvent]],
    now: datetime,
) -> list[LimitValue]:
    """Return the rules whose open threshold events do not match their spend."""
    outdated = []
    for rule, spent_usd in zip(rules, spend_of_rules(organization=organization, rules=rules, now=now), strict=True):
        limit_value = LimitValue(rule.limit_id, rule.value)
        snapshot = take_snapshot(
            organization=organization, all_limits=all_limits, rule=rule, spent_usd=spent_usd, now=now
        )
        if not is_up_to_date(snapshot, rows.get(limit_value, [])):
            outdated.append(limit_value)
    return outdated


def _by_limit_value(rows: QuerySet[ThresholdEvent]) -> dict[LimitValue, list[ThresholdEvent]]:
    grouped: dict[LimitValue, list[ThresholdEvent]] = defaultdict(list)
    for row in rows:
        grouped[LimitValue(row.limit_id, row.value)].append(row)
    return grouped


# --- One limit and value, under the lock -----------------------------------------------------------------------


def reconcile(*, organization: Organization, limit_value: LimitValue, now: datetime, is_notified: bool = True) -> int:
    """Update the threshold events, and return the number of notices. With `is_notified=False` they are not written."""
    with tenant_scope(organization.pk):
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [_ENFORCING + organization.pk])
        now = _not_before_existing(organization, limit_value, now)
        all_limits = limit_set(organization)
        rule, evaluation = all_limits.rule(limit_value.limit_id, limit_value.value, now=now), None
        hit_at = None
        if rule is None:
            rule = _former_rule(organization, limit_value)
            changes = plan_changes_without_limit(_open_rows(organization, limit_value))
        else:
            if not is_for_all_values(rule):
                (status,) = statuses(organization=organization, rules=[rule], now=now)
                evaluation, hit_at = status.evaluation, status.hit_at
            spent_usd = ZERO if evaluation is None else evaluation.spent_usd
            snapshot = take_snapshot(
                organization=organization, all_limits=all_limits, rule=rule, spent_usd=spent_usd, now=now
            )
            changes = plan_changes(snapshot, _rows(organization, snapshot))
        _write(organization, changes, rule, evaluation, now)
        for notification in changes.notifications if is_notified else ():
            notify_threshold_event(
                organization=organization,
                rule=rule,
                evaluation=evaluation,
                hit_at=hit_at,
                notification=notification,
                now=now,
            )
        return len(changes.notifications)


def notify_remaining(*, organization: Organization, limit_id: int, count: int, now: datetime) -> None:
    """Write one notice for the values that got no notice of their own."""
    with tenant_scope(organization.pk):
        rule = _former_rule(organization, LimitValue(limit_id, ""))
        notify_summary(organization=organization, rule=rule, count=count, now=now)


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
        span=window_span(rule.window, organization.calendar, now, rule.period),
        now=now,
        is_paused_for_all=for_all is not None
        and for_all.is_paused_manually
        and for_all.manual_override == rule.manual_override,
    )


def _not_before_existing(organization: Organization, limit_value: LimitValue, now: datetime) -> datetime:
    """Return `now`, or a later time that another worker has written while this one waited for the lock."""
    rows = ThresholdEvent.objects.of(organization).filter(limit=limit_value.limit_id, value=limit_value.value)
    latest: dict[str, datetime | None] = rows.aggregate(reached=Max("reached_at"), resolved=Max("resolved_at"))
    return max([now, *(instant for instant in latest.values() if instant is not None)])


def _open_rows(organization: Organization, limit_value: LimitValue) -> QuerySet[ThresholdEvent]:
    rows = ThresholdEvent.objects.of(organization).filter(limit=limit_value.limit_id, value=limit_value.value)
    return rows.filter(resolved_at=None)


def _rows(organization: Organization, snapshot: LimitSnapshot) -> Iterable[ThresholdEvent]:
    """Return the rows that `plan_changes` needs."""
    rule = snapshot.rule
    earliest = snapshot.earliest_row
    is_recent = Q() if earliest is None else Q(reached_at__gt=earliest)
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
    for moved in changes.moved:
        _update(moved.row, window_key=moved.key, resets_at=at)
    for reopened in changes.reopened:
        restarted = {"reached_at": now, "spent_usd": spent_usd} if reopened.is_notified else {}
        columns = {"window_key": reopened.key, "resets_at": at, "times": reopened.times, **restarted}
        _update(reopened.row, resolved_at=None, **columns)
    ThresholdEvent.objects.bulk_create(
        ThresholdEvent(
            organization=organization,
            limit_id=rule.limit_id,
            value=rule.value,
            threshold=opened.reached.threshold,
            window_key=opened.key,
            amount_usd=opened.reached.amount_usd,
            spent_usd=spent_usd,
            reached_at=now,
            resets_at=at,
        )
        for opened in changes.opened
    )


def _update(row: ThresholdEvent, **columns: Any) -> None:
    ThresholdEvent.objects.filter(organization=row.organization_id, pk=row.pk).update(**columns)


def _former_rule(organization: Organization, limit_value: LimitValue) -> Rule:
    """Return the rule of a limit that is not in force, without overrides."""
    limit = SpendLimit.objects.of(organization).get(pk=limit_value.limit_id)
    value = limit_value.value
    pair = (limit.scope, value)
    return rule_of(limit, value, display_values(organization, [pair])[pair])
