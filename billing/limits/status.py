"""Compute the exact state of limits, for pages, the API and enforcement: of given rules, or of all limits in force.

A per-value limit is listed with those of its values that have reached a threshold or have an override, because it may
have millions of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.limits.balances import read_balances
from billing.limits.cache import LimitSet, known_value, limit_set
from billing.limits.evaluate import evaluate, fits_at, needs_event_detail
from billing.limits.forecast import forecast
from billing.limits.pace import WeeklyPace, read_paces
from billing.limits.per_value import ValuesNearThreshold, list_values_near_threshold, lowest_of_values
from billing.limits.spend_times import split
from billing.limits.types import Balance, LimitStatus, Rule
from billing.types import LimitScope, LimitState
from costtrack.calendar import Calendar
from costtrack.clock import DAY
from costtrack.money import ZERO
from organizations.models import Organization


def statuses(*, organization: Organization, rules: Sequence[Rule], now: datetime) -> list[LimitStatus]:
    """Return the status of each rule, in order."""
    balances = read_balances(organization=organization, rules=rules, now=now)
    return _statuses(organization, rules, balances, now)


def exact_fit(
    *, organization: Organization, rule: Rule, balance: Balance, usd: Decimal, now: datetime
) -> datetime | None:
    """Return when a call of that amount would be authorized (None if unknown). While a balance changes quickly, it can
    be up to an hour late."""

    def fit(rule: Rule, balance: Balance) -> datetime | None:
        return fits_at(rule, balance, usd=usd, calendar=organization.calendar, now=now)

    (detailed,) = _with_event_detail(organization, [rule], [balance], fit)
    return fit(rule, detailed)


def _statuses(
    organization: Organization, rules: Sequence[Rule], balances: Sequence[Balance], now: datetime
) -> list[LimitStatus]:
    calendar = organization.calendar

    def resets_at(rule: Rule, balance: Balance) -> datetime | None:
        return evaluate(rule, balance, calendar=calendar, now=now).resets_at

    detailed = _with_event_detail(organization, rules, balances, resets_at)
    recent = [sum((bucket.usd for bucket in balance.spend if bucket.end > now - DAY), ZERO) for balance in detailed]
    paces = read_paces(organization=organization, rules=rules, recent_usd=recent, now=now)
    return [
        _status(rule, balance, recent_usd, pace, calendar, now)
        for rule, balance, recent_usd, pace in zip(rules, detailed, recent, paces, strict=True)
    ]


def _status(
    rule: Rule, balance: Balance, recent_usd: Decimal, pace: WeeklyPace | None, calendar: Calendar, now: datetime
) -> LimitStatus:
    return LimitStatus(
        rule=rule,
        evaluation=evaluate(rule, balance, calendar=calendar, now=now),
        unpriced=balance.unpriced,
        unpriced_since=balance.unpriced_since,
        hit_at=forecast(rule, balance, recent_usd=recent_usd, pace=pace, calendar=calendar, now=now),
        has_history=pace is not None,
    )


def _with_event_detail(
    organization: Organization,
    rules: Sequence[Rule],
    balances: Sequence[Balance],
    boundary: Callable[[Rule, Balance], datetime | None],
) -> list[Balance]:
    """Return the balances with parts of hours, down to events, wherever `boundary` falls into an hour.

    Without them `boundary` would return the end of the hour instead of the time of an event.
    """
    detailed = list(balances)
    while inexact := [
        (index, bucket)
        for index, (rule, balance) in enumerate(zip(rules, detailed, strict=True))
        if (bucket := needs_event_detail(rule, balance, boundary(rule, balance))) is not None
    ]:
        requests = [(rules[index], detailed[index], bucket) for index, bucket in inexact]
        divided = split(organization=organization, requests=requests)
        for (index, _), balance in zip(inexact, divided, strict=True):
            detailed[index] = balance
    return detailed


MAX_VALUES = 50
_PERCENT = Decimal(100)


@dataclass(frozen=True, slots=True)
class LimitFilter:
    """Which limits to list; None: all. `value` is as rollups store it (a credential by its primary key).

    `of_credential` keeps only limits of that credential and of the organization.
    """

    scope: LimitScope | None = None
    value: str | None = None
    state: LimitState | None = None
    of_credential: str | None = None

    def has(self, scope: LimitScope, value: str) -> bool:
        is_covering = scope is LimitScope.ORGANIZATION or (
            scope is LimitScope.CREDENTIAL and value == self.of_credential
        )
        is_visible = self.of_credential is None or is_covering
        return is_visible and self.scope in (None, scope) and self.value in (None, value)

    def has_per_value(self, scope: LimitScope) -> bool:
        """Whether per-value limits of the scope are listed."""
        if self.of_credential is None:
            return self.scope in (None, scope)
        return self.has(scope, self.of_credential)

    @property
    def only_value(self) -> str | None:
        """The only value to list of a per-value limit; None: any."""
        return self.value if self.of_credential is None else self.of_credential


def _own_value(organization: Organization, rule: Rule, filters: LimitFilter, now: datetime) -> str:
    """Return the value of the rule's scope in the spelling of the filters."""
    is_name = filters.value is not None and rule.scope not in (LimitScope.ORGANIZATION, LimitScope.CREDENTIAL)
    return known_value(organization, rule.scope, rule.own_value, now=now) if is_name else rule.own_value


@dataclass(frozen=True, slots=True)
class PerValueStatus:
    """A per-value limit. `rule` applies to values without an override.

    `values` are those that have reached a threshold or have an override, the highest percentage first; or only the
    requested value. `left_out` is how many more may have reached a threshold, and `used` how many values have received
    events since the window began (None if one value was requested).
    """

    rule: Rule
    values: tuple[LimitStatus, ...]
    left_out: int = 0
    used: int | None = None


def list_limits(
    *, organization: Organization, filters: LimitFilter, now: datetime
) -> list[LimitStatus | PerValueStatus]:
    """Return the limits in the order of their creation, with balances from one snapshot."""
    all_limits = limit_set(organization)
    rules_now = all_limits.single_limit_rules(now=now)
    single_rules = [rule for rule in rules_now if filters.has(rule.scope, _own_value(organization, rule, filters, now))]
    per_value = list(_per_value_limits(organization, all_limits, filters, now))
    rules = [*single_rules, *(rule for limit in per_value for rule in limit.rules)]
    results = iter(statuses(organization=organization, rules=rules, now=now))
    listed: list[LimitStatus | PerValueStatus] = [
        status for status in (next(results) for _ in single_rules) if filters.state in (None, status.evaluation.state)
    ]
    for limit in per_value:
        values = _relevant([next(results) for _ in limit.rules], limit, filters.state)
        if values or filters.state is None:
            listed.append(PerValueStatus(limit.rule, tuple(values), limit.left_out, limit.used))
    return sorted(listed, key=lambda status: status.rule.limit_id)


def percent_of(status: LimitStatus) -> Decimal:
    """Return spend in percent of the amount."""
    amount = status.rule.amount_usd
    return status.evaluation.spent_usd * _PERCENT / amount if amount else _PERCENT


@dataclass(frozen=True, slots=True)
class _PerValueLimit:
    """A per-value limit with the rules of the values to evaluate."""

    rule: Rule
    rules: Sequence[Rule]
    left_out: int = 0
    used: int | None = None


def _per_value_limits(
    organization: Organization, all_limits: LimitSet, filters: LimitFilter, now: datetime
) -> Iterator[_PerValueLimit]:
    rules = [rule for limit in all_limits.per_value_limits(now=now) for rule in _rules(all_limits, limit.pk, [""], now)]
    selected = [(rule, filters.only_value) for rule in rules if filters.has_per_value(rule.scope)]
    unfiltered = [rule for rule, value in selected if value is None]
    near = iter(_near(organization, all_limits, unfiltered, now))
    for rule, value in selected:
        if value is not None:
            yield _PerValueLimit(rule, _rules(all_limits, rule.limit_id, [value], now))
            continue
        near_values = next(near)
        values = dict.fromkeys([*_excepted(all_limits, rule.limit_id, now), *near_values.values])
        rules = _rules(all_limits, rule.limit_id, values, now)
        yield _PerValueLimit(rule, rules, near_values.near - len(near_values.values), near_values.used)


def _near(
    organization: Organization, all_limits: LimitSet, rules: Sequence[Rule], now: datetime
) -> list[ValuesNearThreshold]:
    limits = {limit.pk: limit for limit in all_limits.limits}
    limit_minimums = [(limits[rule.limit_id], lowest_of_values(limits[rule.limit_id], rule)) for rule in rules]
    return list_values_near_threshold(
        organization=organization, limit_minimums=limit_minimums, now=now, max_values=MAX_VALUES
    )


def _excepted(all_limits: LimitSet, limit_id: int, now: datetime) -> list[str]:
    """Return the values that currently have an override."""
    values = {override.value for override in all_limits.overrides.get(limit_id, ()) if override.value}
    return [rule.value for rule in _rules(all_limits, limit_id, sorted(values), now) if _is_excepted(rule)]


def _rules(all_limits: LimitSet, limit_id: int, values: Iterable[str], now: datetime) -> list[Rule]:
    rules = (all_limits.rule(limit_id, value, now=now) for value in values)
    return [rule for rule in rules if rule is not None]


def _is_excepted(rule: Rule) -> bool:
    return rule.manual_override is not None or rule.amount_usd != rule.base_amount_usd


def _relevant(found: Iterable[LimitStatus], limit: _PerValueLimit, state: LimitState | None) -> list[LimitStatus]:
    """Return the statuses to list; a requested value is always listed."""
    is_requested = limit.used is None
    relevant = [
        status
        for status in found
        if (is_requested or status.evaluation.state is not LimitState.OK or _is_excepted(status.rule))
        and state in (None, status.evaluation.state)
    ]
    return sorted(relevant, key=lambda status: (-percent_of(status), status.rule.value))
