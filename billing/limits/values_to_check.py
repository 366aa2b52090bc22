"""Which values of a limit that each has for itself may have reached a threshold, or be below one again.

A session that has ended long ago needs no second look: a value is looked at when something was received of it, and all
values when a window begins or the limit is not what it was.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

from billing.limits.cache import LimitSet
from billing.limits.evaluate import span_of
from billing.limits.threshold_events import lowest_level
from billing.models import LimitCrossing, LimitException, SpendLimit
from billing.types import ExceptionKind, LimitWindow
from organizations.models import Organization

_LATE = timedelta(minutes=5)
"""How much later than it was received an event may be seen: its transaction lasts so long at most."""

# No part of what a value has cost, in any window, is more than all that it was ever charged.
_SPENT_ENOUGH = """
SELECT value FROM billing_livescopetotal
WHERE organization_id = %(organization)s AND scope = %(scope)s AND value IN (
    SELECT value FROM billing_livescopetotal
    WHERE organization_id = %(organization)s AND scope = %(scope)s AND last_received_at > %(since)s
)
GROUP BY value HAVING sum(charged_usd) >= %(lowest)s OR (%(has_fallback)s AND sum(unpriced) > 0)
"""
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class LastCheck:
    """That an organization's values were looked at, and by which limits."""

    at: datetime
    revision: int


def values_to_check(
    *, organization: Organization, book: LimitSet, limit: SpendLimit, last: LastCheck | None, now: datetime
) -> list[str]:
    """The values (as rollups keep them) to compare with their crossings. `last` None: nothing is known of before."""
    is_known = last is not None and last.revision == book.revision
    if last is None or not is_known or _has_turned(organization, book, limit, last.at, now):
        since, with_open_ones = _EVER, True
    else:
        since = min(last.at, now) - _LATE
        # Out of a rolling window spend leaves all the time; to see it every minute is soon enough.
        is_rolling = limit.window == LimitWindow.ROLLING_7D
        with_open_ones = is_rolling and now.replace(second=0, microsecond=0) > last.at
    values = _received(organization, book, limit, since, now)
    values |= {one.value for one in book.exceptions.get(limit.pk, ()) if one.value and _pauses(one, now)}
    if with_open_ones:
        is_open = LimitCrossing.objects.of(organization).filter(limit=limit, resolved_at=None)
        values |= set(is_open.exclude(value="").values_list("value", flat=True))
    return sorted(values)


def _received(
    organization: Organization, book: LimitSet, limit: SpendLimit, since: datetime, now: datetime
) -> set[str]:
    """Of which something was received since, if they have ever cost so much as to have reached a threshold."""
    for_all = book.rule(limit.pk, "", now=now)
    if for_all is None:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            _SPENT_ENOUGH,
            {
                "organization": organization.pk,
                "scope": limit.scope,
                "since": since,
                "lowest": lowest_level(for_all),
                "has_fallback": limit.fallback_price is not None,
            },
        )
        return {value for (value,) in cursor.fetchall()}


def _has_turned(organization: Organization, book: LimitSet, limit: SpendLimit, last: datetime, now: datetime) -> bool:
    """Whether by the clock alone it is another limit, or another window, than it was at the last look."""
    turns = [limit.starts_at]
    if limit.window != LimitWindow.ROLLING_7D:
        turns.append(span_of(LimitWindow(limit.window), organization.calendar, now).start)
    for one in book.exceptions.get(limit.pk, ()):
        turns += [one.starts_at, one.ends_at]
    return any(turn is not None and last < turn <= now for turn in turns)


def _pauses(one: LimitException, now: datetime) -> bool:
    return one.kind == ExceptionKind.PAUSE and one.starts_at <= now and (one.ends_at is None or now < one.ends_at)
