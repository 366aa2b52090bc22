"""The status of several limits at once, with a number of queries that does not grow with the usage."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing.limits.cache import LimitSet, limit_set
from billing.limits.per_value import list_values_near_threshold
from billing.limits.status import percent_of, statuses
from billing.limits.types import LimitStatus, Rule
from billing.models import SpendLimit, ThresholdEvent
from billing.types import LimitScope, LimitState
from organizations.models import Organization

_MAX_REACHED = 20
_MAX_OVERRIDDEN = 10
_LATELY = timedelta(days=7)
_NOTICEABLE = Decimal("0.01")
"""The share of a limit that a value must have spent to be shown, because summing up all values may be slow."""
_WORST_FIRST = (LimitState.PAUSED, LimitState.EXCEEDED, LimitState.WARNING, LimitState.OK)


@dataclass(frozen=True, slots=True)
class ListedLimit:
    """A limit with its status; for a per-value limit, the status of its worst value.

    `status` is None if the limit is not in force or has no spend.
    """

    limit: SpendLimit
    status: LimitStatus | None


def listed_limits(*, organization: Organization, limits: Sequence[SpendLimit], now: datetime) -> dict[int, ListedLimit]:
    """Return each limit with its status, keyed by the limit's id."""
    org_limits = limit_set(organization)
    limit_ids = {limit.pk for limit in limits}
    rules = [rule for rule in org_limits.single_limit_rules(now=now) if rule.limit_id in limit_ids]
    per_value = [limit for limit in org_limits.per_value_limits(now=now) if limit.pk in limit_ids]
    rules += _rules_of_values(organization, org_limits, per_value, now=now, max_values=1)
    ordered = _worst_first(statuses(organization=organization, rules=rules, now=now))
    worst = {status.rule.limit_id: status for status in reversed(ordered)}
    return {limit.pk: ListedLimit(limit, worst.get(limit.pk)) for limit in limits}


def status_of(limit: SpendLimit, now: datetime, *, value: str = "") -> LimitStatus | None:
    """Return the status of a limit; for a per-value limit, that of a stored value. None if the limit is not in force or
    the value is missing."""
    org_limits = limit_set(limit.organization)
    if limit.is_per_value and value:
        rule = org_limits.rule(limit.pk, value, now=now)
    else:
        rule = next((rule for rule in org_limits.single_limit_rules(now=now) if rule.limit_id == limit.pk), None)
    if rule is None:
        return None
    (status,) = statuses(organization=limit.organization, rules=[rule], now=now)
    return status


def worst_values(*, organization: Organization, limit: SpendLimit, now: datetime, max_values: int) -> list[LimitStatus]:
    """Return the values of a per-value limit that have an override or the highest spend, the worst first."""
    org_limits = limit_set(organization)
    per_value = [known for known in org_limits.per_value_limits(now=now) if known.pk == limit.pk]
    rules = _rules_of_values(organization, org_limits, per_value, now=now, max_values=max_values)
    return _worst_first(statuses(organization=organization, rules=rules, now=now))[:max_values]


def _rules_of_values(
    organization: Organization, org_limits: LimitSet, limits: Sequence[SpendLimit], *, now: datetime, max_values: int
) -> list[Rule]:
    minimums = [(limit, limit.amount_usd * _NOTICEABLE) for limit in limits]
    near_values = list_values_near_threshold(
        organization=organization, limit_minimums=minimums, now=now, max_values=max_values
    )
    rules = [
        org_limits.rule(limit.pk, value, now=now)
        for limit, near in zip(limits, near_values, strict=True)
        for value in dict.fromkeys([*_overridden(org_limits, limit, now), *near.values])
    ]
    return [rule for rule in rules if rule is not None]


def _overridden(org_limits: LimitSet, limit: SpendLimit, now: datetime) -> list[str]:
    """Return the values with an override now, the newest override first."""
    rows = [row for row in org_limits.overrides.get(limit.pk, ()) if row.value and row.starts_at <= now]
    values = [row.value for row in reversed(rows) if row.ends_at is None or now < row.ends_at]
    return list(dict.fromkeys(values))[:_MAX_OVERRIDDEN]


def _worst_first(limit_statuses: Iterable[LimitStatus]) -> list[LimitStatus]:
    return sorted(
        limit_statuses,
        key=lambda status: (_WORST_FIRST.index(status.evaluation.state), -percent_of(status), status.rule.value),
    )


def notable_statuses(*, organization: Organization, now: datetime) -> list[LimitStatus]:
    """Return what an overview shows: the organization's own limits, and limits of values that reached a threshold in
    the last days or have a manual override. The worst first."""
    recent = ThresholdEvent.objects.of(organization).filter(resolved_at=None, reached_at__gte=now - _LATELY)
    recent = recent.order_by("-reached_at", "-id")
    rules = list(_notable_rules(limit_set(organization), recent[:_MAX_REACHED], now))
    return _worst_first(statuses(organization=organization, rules=rules, now=now))


def _notable_rules(org_limits: LimitSet, recent: Iterable[ThresholdEvent], now: datetime) -> Iterator[Rule]:
    known: set[tuple[int, str]] = set()
    own = [
        rule
        for rule in org_limits.single_limit_rules(now=now)
        if rule.scope is LimitScope.ORGANIZATION or rule.manual_override
    ]
    of_values = (
        org_limits.rule(threshold_event.limit_id, threshold_event.value, now=now) for threshold_event in recent
    )
    for rule in (*own, *of_values):
        if rule is not None and (rule.limit_id, rule.value) not in known:
            known.add((rule.limit_id, rule.value))
            yield rule
