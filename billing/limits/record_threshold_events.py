"""Making the crossings of one limit, for one value, what they are to be, and telling of it: in one transaction, and
only one of an organization at a time.

The lock is an advisory one of its own: authorizations and changes of limits do not know it.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Max, Q

from billing.limits.cache import LimitSet, client_ids, limit_set
from billing.limits.evaluate import span_of
from billing.limits.notifications import notify_summary, notify_threshold_event, resets_at
from billing.limits.status import statuses
from billing.limits.threshold_events import QUIET, Standing, Step, step, step_without_limit, window_keys
from billing.limits.types import Evaluation, Rule
from billing.models import LimitCrossing, SpendLimit
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.money import ZERO
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

# In the upper half of the 64 bits, so that organizations' numbers do not meet other users of such locks.
_ENFORCING = 0x4C494D << 36
_LOCK = "SELECT pg_advisory_xact_lock(%s)"


class Place(NamedTuple):
    """A limit and one of its values, as rollups keep it. Empty, of a limit that each has for itself: all of them."""

    limit_id: int
    value: str


def reconcile(*, organization: Organization, place: Place, now: datetime, is_told: bool = True) -> int:
    """Answers how many notices came of it, or would have if it were told."""
    with tenant_scope(organization.pk):
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [_ENFORCING + organization.pk])
        now = _no_earlier_than_others(organization, place, now)
        book = limit_set(organization)
        rule = book.rule(place.limit_id, place.value, now=now)
        if rule is None:
            return _settle_without_limit(organization, place, now, is_told=is_told)
        return _settle(organization, book, rule, now, is_told=is_told)


def notify_rest(*, organization: Organization, limit_id: int, count: int, now: datetime) -> None:
    """Tell of those that were not told one by one."""
    with tenant_scope(organization.pk):
        limit = SpendLimit.objects.of(organization).get(pk=limit_id)
        notify_summary(organization=organization, rule=_former_rule(organization, limit, ""), count=count, now=now)


def is_for_all(rule: Rule) -> bool:
    """Whether the rule is not about one value, but about what is done by hand with all of them."""
    return rule.is_of_each and not rule.value


def standing_of(
    *, organization: Organization, book: LimitSet, rule: Rule, spent_usd: Decimal, now: datetime
) -> Standing:
    for_all = book.rule(rule.limit_id, "", now=now) if rule.is_of_each and rule.value else None
    return Standing(
        rule=rule,
        spent_usd=None if is_for_all(rule) else spent_usd,
        span=span_of(rule.window, organization.calendar, now),
        now=now,
        is_paused_for_all=for_all is not None and for_all.is_paused_by_hand and for_all.by_hand == rule.by_hand,
    )


def _no_earlier_than_others(organization: Organization, place: Place, now: datetime) -> datetime:
    """Who had to wait may come from before the end of a window, which others have seen already."""
    rows = LimitCrossing.objects.of(organization).filter(limit=place.limit_id, value=place.value)
    seen: dict[str, datetime | None] = rows.aggregate(crossed=Max("crossed_at"), resolved=Max("resolved_at"))
    return max([now, *(instant for instant in seen.values() if instant is not None)])


def _settle(organization: Organization, book: LimitSet, rule: Rule, now: datetime, *, is_told: bool) -> int:
    evaluation = None
    if not is_for_all(rule):
        (status,) = statuses(organization=organization, rules=[rule], now=now)
        evaluation = status.evaluation
    spent_usd = ZERO if evaluation is None else evaluation.spent_usd
    standing = standing_of(organization=organization, book=book, rule=rule, spent_usd=spent_usd, now=now)
    taken = step(standing, _rows(organization, standing))
    _write(organization, taken, rule, evaluation, now)
    for told in taken.notifications if is_told else ():
        notify_threshold_event(organization=organization, rule=rule, evaluation=evaluation, told=told, now=now)
    return len(taken.notifications)


def _settle_without_limit(organization: Organization, place: Place, now: datetime, *, is_told: bool) -> int:
    limit = SpendLimit.objects.of(organization).get(pk=place.limit_id)
    is_open = LimitCrossing.objects.of(organization).filter(limit=limit, value=place.value, resolved_at=None)
    taken = step_without_limit(is_open)
    rule = _former_rule(organization, limit, place.value)
    _write(organization, taken, rule, None, now)
    for told in taken.notifications if is_told else ():
        notify_threshold_event(organization=organization, rule=rule, evaluation=None, told=told, now=now)
    return len(taken.notifications)


def _rows(organization: Organization, standing: Standing) -> Iterable[LimitCrossing]:
    """What `step` asks for."""
    rule = standing.rule
    is_recent = Q(crossed_at__gt=standing.now - QUIET) if standing.is_rolling else Q()
    return LimitCrossing.objects.filter(
        Q(resolved_at=None) | Q(window_key__in=window_keys(standing)) | is_recent,
        organization=organization,
        limit=rule.limit_id,
        value=rule.value,
    )


def _write(organization: Organization, taken: Step, rule: Rule, evaluation: Evaluation | None, now: datetime) -> None:
    # A threshold has one open crossing: the old one goes before the new one comes.
    for resolved in taken.resolved:
        _update(resolved.row, resolved_at=now, times=resolved.times)
    spent_usd = ZERO if evaluation is None else evaluation.spent_usd
    at = resets_at(rule, evaluation)
    for reopened in taken.reopened:
        begun = {"crossed_at": now, "spent_usd": spent_usd} if reopened.is_told else {}
        _update(reopened.row, resolved_at=None, resets_at=at, times=reopened.times, **begun)
    LimitCrossing.objects.bulk_create(
        LimitCrossing(
            organization=organization,
            limit_id=rule.limit_id,
            value=rule.value,
            threshold=opened.mark.threshold,
            window_key=opened.key,
            amount_usd=opened.mark.amount_usd,
            spent_usd=spent_usd,
            crossed_at=now,
            resets_at=at,
        )
        for opened in taken.opened
    )


def _update(row: LimitCrossing, **columns: Any) -> None:
    LimitCrossing.objects.filter(organization=row.organization_id, pk=row.pk).update(**columns)


def _former_rule(organization: Organization, limit: SpendLimit, value: str) -> Rule:
    """A limit that is not in force, as it would hold."""
    shown = value
    if limit.scope == LimitScope.CREDENTIAL:
        shown = client_ids(organization.pk, [value]).get(value, value)
    return Rule(
        limit_id=limit.pk,
        scope=LimitScope(limit.scope),
        value=value,
        display_value=shown,
        is_of_each=limit.is_of_each,
        window=LimitWindow(limit.window),
        amount_usd=limit.amount_usd,
        base_amount_usd=limit.amount_usd,
        action=LimitAction(limit.action),
        thresholds=tuple(limit.thresholds),
    )
