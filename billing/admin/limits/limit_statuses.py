"""How limits stand now, for the pages that show several of them: with a number of statements that does not grow with
the usage."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing.limits.cache import LimitSet, limit_set
from billing.limits.listing import percent_of
from billing.limits.status import statuses
from billing.limits.types import LimitStatus, Rule
from billing.limits.values_near_threshold import list_values_near_threshold
from billing.models import LimitCrossing, SpendLimit
from billing.types import LimitScope, LimitState
from organizations.models import Organization

_MAX_CROSSED = 20
_MAX_OVERRIDDEN = 10
_LATELY = timedelta(days=7)
_NOTICEABLE = Decimal("0.01")
"""What part of a limit a value must have spent to be shown; adding up all values might take long."""
_WORST_FIRST = (LimitState.PAUSED, LimitState.EXCEEDED, LimitState.WARNING, LimitState.OK)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands: of one that each value has for itself, how the worst of its values does.

    No status: it is not in force, or nothing has been spent under it.
    """

    limit: SpendLimit
    status: LimitStatus | None


def standings(*, organization: Organization, limits: Sequence[SpendLimit], now: datetime) -> dict[int, Standing]:
    """Of each limit, by its id."""
    book = limit_set(organization)
    wanted = {limit.pk for limit in limits}
    rules = [rule for rule in book.rules_of_single_limits(now=now) if rule.limit_id in wanted]
    of_each = [limit for limit in book.limits_of_each(now=now) if limit.pk in wanted]
    rules += _rules_of_values(organization, book, of_each, now=now, most=1)
    found = _worst_first(statuses(organization=organization, rules=rules, now=now))
    worst = {status.rule.limit_id: status for status in reversed(found)}
    return {limit.pk: Standing(limit, worst.get(limit.pk)) for limit in limits}


def worst_values(*, organization: Organization, limit: SpendLimit, now: datetime, most: int) -> list[LimitStatus]:
    """Of a limit that each value has for itself: those that somebody has paused, raised or opened, and those that have
    spent most. The worst first."""
    book = limit_set(organization)
    of_each = [known for known in book.limits_of_each(now=now) if known.pk == limit.pk]
    rules = _rules_of_values(organization, book, of_each, now=now, most=most)
    return _worst_first(statuses(organization=organization, rules=rules, now=now))[:most]


def _rules_of_values(
    organization: Organization, book: LimitSet, limits: Sequence[SpendLimit], *, now: datetime, most: int
) -> list[Rule]:
    wanted = [(limit, limit.amount_usd * _NOTICEABLE) for limit in limits]
    found = list_values_near_threshold(organization=organization, limit_minimums=wanted, now=now, most=most)
    rules = [
        book.rule(limit.pk, value, now=now)
        for limit, near in zip(limits, found, strict=True)
        for value in dict.fromkeys([*_excepted(book, limit, now), *near.values])
    ]
    return [rule for rule in rules if rule is not None]


def _excepted(book: LimitSet, limit: SpendLimit, now: datetime) -> list[str]:
    """The values that something else holds for now, the newest first."""
    rows = [row for row in book.exceptions.get(limit.pk, ()) if row.value and row.starts_at <= now]
    values = [row.value for row in reversed(rows) if row.ends_at is None or now < row.ends_at]
    return list(dict.fromkeys(values))[:_MAX_OVERRIDDEN]


def _worst_first(found: Iterable[LimitStatus]) -> list[LimitStatus]:
    return sorted(
        found, key=lambda status: (_WORST_FIRST.index(status.evaluation.state), -percent_of(status), status.rule.value)
    )


def standings_of_note(*, organization: Organization, now: datetime) -> list[LimitStatus]:
    """What a first look should show: the organization's own limits, and those of values that have come above a
    threshold lately, or are paused by hand. The worst first."""
    crossed = LimitCrossing.objects.of(organization).filter(resolved_at=None, crossed_at__gte=now - _LATELY)
    crossed = crossed.order_by("-crossed_at", "-id")
    rules = list(_rules_of_note(limit_set(organization), crossed[:_MAX_CROSSED], now))
    found = statuses(organization=organization, rules=rules, now=now)
    return _worst_first(found)


def _rules_of_note(book: LimitSet, crossed: Iterable[LimitCrossing], now: datetime) -> Iterator[Rule]:
    known: set[tuple[int, str]] = set()
    own = [
        rule for rule in book.rules_of_single_limits(now=now) if rule.scope is LimitScope.ORGANIZATION or rule.by_hand
    ]
    of_values = (book.rule(crossing.limit_id, crossing.value, now=now) for crossing in crossed)
    for rule in (*own, *of_values):
        if rule is not None and (rule.limit_id, rule.value) not in known:
            known.add((rule.limit_id, rule.value))
            yield rule
