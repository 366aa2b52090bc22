"""The limits of an organization and how they stand: of those that every value has for itself, the values that matter.
Read-only."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.limits.cache import LimitSet, limit_set
from billing.limits.status import statuses
from billing.limits.threshold_events import lowest_level
from billing.limits.types import LimitStatus, Rule
from billing.limits.values_near_threshold import ValuesNearThreshold, list_values_near_threshold
from billing.types import LimitScope, LimitState
from organizations.models import Organization

MAX_VALUES = 50
_PERCENT = Decimal(100)


@dataclass(frozen=True, slots=True)
class LimitFilter:
    """Which limits; None: all. `value` is as rollups keep it (a credential by its number).

    `of_credential` leaves those that the credential has for itself, and the organization's.
    """

    scope: LimitScope | None = None
    value: str | None = None
    state: LimitState | None = None
    of_credential: str | None = None

    def has(self, scope: LimitScope, value: str) -> bool:
        is_covering = scope is LimitScope.ORGANIZATION or (
            scope is LimitScope.CREDENTIAL and value == self.of_credential
        )
        is_seen = self.of_credential is None or is_covering
        return is_seen and self.scope in (None, scope) and self.value in (None, value)

    def has_each(self, scope: LimitScope) -> bool:
        """Of limits that every value has for itself."""
        if self.of_credential is None:
            return self.scope in (None, scope)
        return self.has(scope, self.of_credential)

    @property
    def only_value(self) -> str | None:
        """The only one that is wanted of a limit that every value has for itself; None: any."""
        return self.value if self.of_credential is None else self.of_credential


@dataclass(frozen=True, slots=True)
class EachStatus:
    """A limit that every value has for itself. `rule` is what holds for a value of which nothing else is said.

    `values` are those that are at a threshold or beyond, and those that somebody has made an exception for; the largest
    share comes first. If one value was asked for, it is that. `left_out` is how many more may be at a threshold, and
    `used` how many values something was received of since the window began (None: one was asked for).
    """

    rule: Rule
    values: tuple[LimitStatus, ...]
    left_out: int = 0
    used: int | None = None


def list_limits(*, organization: Organization, filters: LimitFilter, now: datetime) -> list[LimitStatus | EachStatus]:
    """In the order in which they were made. All of it is of one moment."""
    book = limit_set(organization)
    ones = [rule for rule in book.rules_of_single_limits(now=now) if filters.has(rule.scope, rule.value)]
    eaches = list(_eaches(organization, book, filters, now))
    rules = [*ones, *(rule for each in eaches for rule in each.rules)]
    stands = iter(statuses(organization=organization, rules=rules, now=now))
    listed: list[LimitStatus | EachStatus] = [
        status for status in (next(stands) for _ in ones) if filters.state in (None, status.evaluation.state)
    ]
    for each in eaches:
        values = _that_matter([next(stands) for _ in each.rules], each, filters.state)
        if values or filters.state is None:
            listed.append(EachStatus(each.rule, tuple(values), each.left_out, each.used))
    return sorted(listed, key=lambda one: one.rule.limit_id)


def percent_of(status: LimitStatus) -> Decimal:
    """Spend as a part of the amount."""
    amount = status.rule.amount_usd
    return status.evaluation.spent_usd * _PERCENT / amount if amount else _PERCENT


@dataclass(frozen=True, slots=True)
class _Each:
    """A limit that every value has for itself, and those of its values that are looked at."""

    rule: Rule
    rules: Sequence[Rule]
    left_out: int = 0
    used: int | None = None


def _eaches(organization: Organization, book: LimitSet, filters: LimitFilter, now: datetime) -> Iterator[_Each]:
    rules = [rule for limit in book.limits_of_each(now=now) for rule in _of(book, limit.pk, [""], now)]
    asked = [(rule, filters.only_value) for rule in rules if filters.has_each(rule.scope)]
    open_ones = [rule for rule, value in asked if value is None]
    near = iter(_near(organization, book, open_ones, now))
    for rule, value in asked:
        if value is not None:
            yield _Each(rule, _of(book, rule.limit_id, [value], now))
            continue
        found = next(near)
        values = dict.fromkeys([*_excepted(book, rule.limit_id, now), *found.values])
        rules = _of(book, rule.limit_id, values, now)
        yield _Each(rule, rules, found.near - len(found.values), found.used)


def _near(
    organization: Organization, book: LimitSet, rules: Sequence[Rule], now: datetime
) -> list[ValuesNearThreshold]:
    limits = {limit.pk: limit for limit in book.limits}
    limit_minimums = [(limits[rule.limit_id], lowest_level(rule)) for rule in rules]
    return list_values_near_threshold(
        organization=organization, limit_minimums=limit_minimums, now=now, most=MAX_VALUES
    )


def _excepted(book: LimitSet, limit_id: int, now: datetime) -> list[str]:
    """The values that somebody has made an exception for."""
    values = {one.value for one in book.exceptions.get(limit_id, ()) if one.value}
    return [rule.value for rule in _of(book, limit_id, sorted(values), now) if _is_excepted(rule)]


def _of(book: LimitSet, limit_id: int, values: Iterable[str], now: datetime) -> list[Rule]:
    rules = (book.rule(limit_id, value, now=now) for value in values)
    return [rule for rule in rules if rule is not None]


def _is_excepted(rule: Rule) -> bool:
    return rule.by_hand is not None or rule.amount_usd != rule.base_amount_usd


def _that_matter(found: Iterable[LimitStatus], each: _Each, state: LimitState | None) -> list[LimitStatus]:
    """One that was asked for matters however it stands."""
    is_asked_for = each.used is None
    kept = [
        status
        for status in found
        if (is_asked_for or status.evaluation.state is not LimitState.OK or _is_excepted(status.rule))
        and state in (None, status.evaluation.state)
    ]
    return sorted(kept, key=lambda status: (-percent_of(status), status.rule.value))
