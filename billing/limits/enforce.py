"""Enforcement: compare the spend of each limit with its threshold events, write what changed, and send notices.

All limits are first compared without a lock; usually nothing has changed. Differences are then reconciled for one limit
and value at a time (`billing.limits.record_threshold_events`), under a lock and after reading again. So each threshold
event is written once, together with its notice, even if workers die or run at the same time. Enforcement does not
decide whether a call may go ahead; `billing.limits.authorize` does.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from billing.limits.bulk_spend import spend_of_rules
from billing.limits.cache import LimitSet, limit_set
from billing.limits.record_threshold_events import LimitValue, notify_remaining, reconcile, take_snapshot
from billing.limits.threshold_events import is_up_to_date
from billing.limits.types import Rule
from billing.limits.values_to_check import LastCheck, values_to_check
from billing.models import SpendLimit, ThresholdEvent
from costtrack.tenancy import tenant_scope
from organizations.failures import log_failure
from organizations.models import Organization

logger = logging.getLogger(__name__)

_FAILED = "limits could not be enforced"
_BATCH_SIZE = 5000

MAX_NOTICES_PER_LIMIT = 20
"""Notices of one limit in one pass. Thousands of values may exceed a new per-value limit at once; one more notice then
gives the number of the others, and the list of threshold events names them."""

_last_checks: dict[int, LastCheck] = {}
"""The last check of each organization's per-value limits by this process. Without one, all values are checked."""


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
    """Return organizations that have limits, or open threshold events of limits that were removed."""
    limits = SpendLimit.objects.not_removed().values_list("organization_id", flat=True)
    is_open = ThresholdEvent.objects.filter(resolved_at=None).values_list("organization_id", flat=True)
    return Organization.objects.filter(pk__in={*limits.distinct(), *is_open.distinct()}).order_by("pk")


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
