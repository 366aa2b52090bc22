"""Enforcement: what was spent under each limit is compared with the crossings that are written, and what differs is
written and told.

First everything is looked at, without any lock; mostly there is nothing to do. What differs is settled one limit and
value at a time (`billing.limits.record_threshold_events`), which looks again behind a lock: so, whatever dies at
whatever moment and whoever does the same at once, each crossing is written once and its notice with it. Whether a call
may go ahead is not decided here (`billing.limits.authorize`), and usage is never refused: this only tells.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from billing.limits.bulk_spend import spend_of_rules
from billing.limits.cache import LimitSet, limit_set
from billing.limits.record_threshold_events import Place, notify_rest, reconcile, standing_of
from billing.limits.threshold_events import is_settled
from billing.limits.types import Rule
from billing.limits.values_to_check import LastCheck, values_to_check
from billing.models import LimitCrossing, SpendLimit
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

logger = logging.getLogger(__name__)

_FAILED = "limits could not be enforced"
_VALUES_AT_ONCE = 5000

MAX_NOTIFIED = 20
"""Notices of one limit in one pass. A new limit of each value may be passed by thousands of them: of the others one
notice says how many there are, and the list of crossings who."""

_looks: dict[int, LastCheck] = {}
"""When this process has last looked at the values of an organization's limits. A process that knows nothing of it
looks at all of them."""


@dataclass(frozen=True, slots=True)
class Enforced:
    """How many limits, or values of them, were settled, how many notices that took, and how many could not be (which is
    logged, and tried again by the next pass)."""

    settled: int = 0
    notices: int = 0
    failed: int = 0

    def __add__(self, other: "Enforced") -> "Enforced":
        return Enforced(self.settled + other.settled, self.notices + other.notices, self.failed + other.failed)


def enforce_all(*, now: datetime) -> Enforced:
    """Enforce every organization's limits."""
    done = Enforced()
    for organization in with_limits():
        try:
            done += enforce(organization=organization, now=now)
        except Exception:
            # One organization must not hold up the others; the next pass tries again.
            logger.exception(_FAILED, extra={"organization_id": organization.pk})
            done += Enforced(failed=1)
    return done


def with_limits() -> QuerySet[Organization]:
    """The organizations that have limits, or crossings of limits that they had."""
    limits = SpendLimit.objects.in_place().filter(organization=OuterRef("pk"))
    is_open = LimitCrossing.objects.filter(organization=OuterRef("pk"), resolved_at=None)
    return Organization.objects.filter(Exists(limits) | Exists(is_open)).order_by("pk")


def enforce(*, organization: Organization, now: datetime) -> Enforced:
    """Write and tell what has changed since the last time, for every limit of the organization."""
    book, places = _look_at_those_of_one(organization, now)
    done = _settle_each(organization, places, now)
    limits = book.limits_of_each(now=now)
    last = _looks.get(organization.pk)
    for limit in limits:
        try:
            with tenant_scope(organization.pk):
                places = _unsettled_of_each(organization, book, limit, last, now)
        except Exception:
            logger.exception(_FAILED, extra={"organization_id": organization.pk, "limit": limit.pk})
            done += Enforced(failed=1)
        else:
            done += _settle_each(organization, places, now)
    if limits and not done.failed:
        _looks[organization.pk] = LastCheck(now, book.revision)
    return done


def _look_at_those_of_one(organization: Organization, now: datetime) -> tuple[LimitSet, list[Place]]:
    """The limits as they are now, and those for one value or the whole organization that are to be settled."""
    book = None
    try:
        with tenant_scope(organization.pk):
            book = limit_set(organization)
            return book, _unsettled_of_one(organization, book, now)
    except Exception:
        if book is None:
            raise
        # They were looked at together. One by one, only those fail that have something wrong with them.
        logger.exception(_FAILED, extra={"organization_id": organization.pk})
        return book, [Place(rule.limit_id, rule.value) for rule in book.rules_of_single_limits(now=now)]


def _settle_each(organization: Organization, places: Iterable[Place], now: datetime) -> Enforced:
    done = Enforced()
    told: Counter[int] = Counter()
    for place in places:
        try:
            is_told = told[place.limit_id] < MAX_NOTIFIED
            notices = reconcile(organization=organization, place=place, now=now, is_told=is_told)
            told[place.limit_id] += notices
            done += Enforced(settled=1, notices=notices if is_told else 0)
        except Exception:
            extra = {"organization_id": organization.pk, "limit": place.limit_id, "value": place.value}
            logger.exception(_FAILED, extra=extra)
            done += Enforced(failed=1)
    for limit_id, notices in told.items():
        if notices > MAX_NOTIFIED:
            notify_rest(organization=organization, limit_id=limit_id, count=notices - MAX_NOTIFIED, now=now)
            done += Enforced(notices=1)
    return done


def _unsettled_of_one(organization: Organization, book: LimitSet, now: datetime) -> list[Place]:
    """Limits for one value or the whole organization, and those that hold no longer."""
    each = [limit.pk for limit in book.limits_of_each(now=now)]
    is_open = LimitCrossing.objects.of(organization).filter(resolved_at=None).exclude(limit__in=each)
    rows = _by_place(is_open)
    rules = book.rules_of_single_limits(now=now)
    found = _unsettled(organization, book, rules, rows, now)
    return found + sorted(rows.keys() - {Place(rule.limit_id, rule.value) for rule in rules})


def _unsettled_of_each(
    organization: Organization, book: LimitSet, limit: SpendLimit, last: LastCheck | None, now: datetime
) -> list[Place]:
    """A limit that every value has for itself."""
    values = ["", *values_to_check(organization=organization, book=book, limit=limit, last=last, now=now)]
    found: list[Place] = []
    for start in range(0, len(values), _VALUES_AT_ONCE):
        some = values[start : start + _VALUES_AT_ONCE]
        rules = [rule for value in some if (rule := book.rule(limit.pk, value, now=now)) is not None]
        is_open = LimitCrossing.objects.of(organization).filter(limit=limit, resolved_at=None, value__in=some)
        found += _unsettled(organization, book, rules, _by_place(is_open), now)
    return found


def _unsettled(
    organization: Organization,
    book: LimitSet,
    rules: Sequence[Rule],
    rows: dict[Place, list[LimitCrossing]],
    now: datetime,
) -> list[Place]:
    """Those of which the open crossings are not what they are to be."""
    found = []
    for rule, spent_usd in zip(rules, spend_of_rules(organization=organization, rules=rules, now=now), strict=True):
        place = Place(rule.limit_id, rule.value)
        standing = standing_of(organization=organization, book=book, rule=rule, spent_usd=spent_usd, now=now)
        if not is_settled(standing, rows.get(place, [])):
            found.append(place)
    return found


def _by_place(rows: QuerySet[LimitCrossing]) -> dict[Place, list[LimitCrossing]]:
    found: dict[Place, list[LimitCrossing]] = defaultdict(list)
    for row in rows:
        found[Place(row.limit_id, row.value)].append(row)
    return found
