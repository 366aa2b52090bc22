"""Select the values of a per-value limit that may have reached a threshold, or fallen below one.

A value is checked when it has new events, so that old sessions are not checked again and again. All values are checked
when a window begins or the limit has changed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from billing.limits.cache import LimitSet
from billing.limits.evaluate import window_span
from billing.limits.threshold_events import lowest_threshold_usd
from billing.models import LimitCrossing, LimitException, SpendLimit
from billing.types import ExceptionKind, LimitWindow
from costtrack.calendar import EPOCH
from organizations.models import Organization

_COMMIT_DELAY = timedelta(minutes=5)
"""How long after it was received an event may become visible: the maximum duration of its transaction."""

# A value's spend in any window is at most the total that it was ever charged.
_CANDIDATES = """
SELECT value FROM billing_livescopetotal
WHERE organization_id = %(organization)s AND scope = %(scope)s AND value IN (
    SELECT value FROM billing_livescopetotal
    WHERE organization_id = %(organization)s AND scope = %(scope)s AND last_received_at > %(since)s
)
GROUP BY value HAVING sum(charged_usd) >= %(lowest)s OR (%(has_fallback)s AND sum(unpriced) > 0)
"""
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class LastCheck:
    """When the values of an organization were last checked, and the revision of its limits at that time."""

    at: datetime
    revision: int


def values_to_check(
    *, organization: Organization, all_limits: LimitSet, limit: SpendLimit, last: LastCheck | None, now: datetime
) -> list[str]:
    """Return the values (as rollups store them) to compare with their threshold events. `last` None: first check."""
    is_known = last is not None and last.revision == all_limits.revision
    if last is None or not is_known or _has_window_or_limit_changed(organization, all_limits, limit, last.at, now):
        since, include_open_events = EPOCH, True
    else:
        since = min(last.at, now) - _COMMIT_DELAY
        # Spend leaves a rolling window all the time; it is enough to check that every minute.
        is_rolling = limit.window == LimitWindow.ROLLING_7D
        include_open_events = is_rolling and now.replace(second=0, microsecond=0) > last.at
    values = _candidates(organization, all_limits, limit, since, now)
    values |= {
        exception.value
        for exception in all_limits.exceptions.get(limit.pk, ())
        if exception.value and _pauses(exception, now)
    }
    if include_open_events:
        is_open = LimitCrossing.objects.of(organization).filter(limit=limit, resolved_at=None)
        values |= set(is_open.exclude(value="").values_list("value", flat=True))
    return sorted(values)


def _candidates(
    organization: Organization, all_limits: LimitSet, limit: SpendLimit, since: datetime, now: datetime
) -> set[str]:
    """Return values with events since then whose total charges are enough to reach a threshold."""
    for_all = all_limits.rule(limit.pk, "", now=now)
    if for_all is None:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            _CANDIDATES,
            {
                "organization": organization.pk,
                "scope": limit.scope,
                "since": since,
                "lowest": lowest_threshold_usd(for_all),
                "has_fallback": limit.fallback_price is not None,
            },
        )
        return {value for (value,) in cursor.fetchall()}


def _has_window_or_limit_changed(
    organization: Organization, all_limits: LimitSet, limit: SpendLimit, last: datetime, now: datetime
) -> bool:
    """Whether a window, the limit or one of its exceptions has begun or ended since the last check."""
    boundaries = [limit.starts_at]
    if limit.window != LimitWindow.ROLLING_7D:
        boundaries.append(window_span(LimitWindow(limit.window), organization.calendar, now).start)
    for exception in all_limits.exceptions.get(limit.pk, ()):
        boundaries += [exception.starts_at, exception.ends_at]
    return any(boundary is not None and last < boundary <= now for boundary in boundaries)


def _pauses(exception: LimitException, now: datetime) -> bool:
    return (
        exception.kind == ExceptionKind.PAUSE
        and exception.starts_at <= now
        and (exception.ends_at is None or now < exception.ends_at)
    )
