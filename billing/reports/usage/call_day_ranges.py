"""Find the days with matching calls from rollups, so that a rare filter does not make a request search the whole
ledger. Read-only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection
from psycopg import sql

from billing.reports.bucketed_query import Parameters
from billing.reports.live_rollups import HAS_UNFOLDED, table_of
from billing.rollups.definitions import SESSION_TOTALS, Rollup
from costtrack.calendar import Span

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ScanSpans:
    """Spans of a window, newest first. `is_cut` is True if there may be more matching calls before them."""

    spans: Sequence[Span]
    is_cut: bool = False


_DAYS = sql.SQL("""
SELECT {has_unfolded}, days.day, days.requests FROM (VALUES (1)) AS once LEFT JOIN (
    SELECT day, sum(requests) AS requests FROM {table}
    WHERE organization_id = %(organization)s AND day >= %(first)s AND day <= %(last)s AND NOT archived AND {condition}
    GROUP BY day
) AS days ON true
ORDER BY days.day DESC
""")
_SESSION = sql.SQL("""
SELECT {has_unfolded}, min(first_at), max(last_at) FROM {table}
WHERE organization_id = %(organization)s AND session_id = %(session)s AND session_id <> '' AND NOT archived
""")


def list_days_with_calls(
    rollup: Rollup,
    condition: sql.Composable,
    parameters: Parameters,
    *,
    window: Span,
    last_page_day: date | None,
    min_calls: int,
) -> ScanSpans:
    """Return the newest days that together have at least `min_calls` calls. `condition` must match exactly the
    requested calls. The day `last_page_day`, in which the previous page ended, does not count, because some of its
    calls were listed already."""
    spans: list[Span] = []
    calls = 0
    for day, requests in _calls_by_day(rollup, condition, parameters, window):
        start = datetime.combine(day, time(), UTC)
        spans.append(Span(max(start, window.start), min(start + _DAY, window.end)))
        calls += requests if day != last_page_day and start >= window.start and start + _DAY <= window.end else 0
        if calls >= min_calls:
            break
    return ScanSpans(spans)


def list_newest_days(
    rollup: Rollup, condition: sql.Composable, parameters: Parameters, *, window: Span, max_days: int
) -> ScanSpans:
    """Return up to `max_days` newest days. `condition` matches more calls than requested, so their number is
    unknown."""
    days = _calls_by_day(rollup, condition, parameters, window)
    starts = [datetime.combine(day, time(), UTC) for day, _ in days[:max_days]]
    spans = [Span(max(start, window.start), min(start + _DAY, window.end)) for start in starts]
    return ScanSpans(spans, is_cut=len(days) > max_days)


def find_session_span(parameters: Parameters, *, window: Span) -> ScanSpans:
    """Return the part of the window that has events of a session."""
    for has_unfolded_rows in (False, True):
        table = table_of(SESSION_TOTALS, has_unfolded=has_unfolded_rows)
        with connection.cursor() as cursor:
            cursor.execute(_SESSION.format(has_unfolded=HAS_UNFOLDED, table=table), parameters)
            has_unfolded, first_at, last_at = cursor.fetchone()
        if not has_unfolded:
            break
    if first_at is None:
        return ScanSpans(())
    span = Span(max(window.start, first_at), min(window.end, last_at + _TICK))
    return ScanSpans((span,) if span.start < span.end else ())


def _calls_by_day(
    rollup: Rollup, condition: sql.Composable, parameters: Parameters, window: Span
) -> list[tuple[date, int]]:
    """Return calls by day, newest first. Days with only voided calls are listed with 0."""
    bounds = {"first": utc_day(window.start), "last": utc_day(window.end - _TICK)}
    with connection.cursor() as cursor:
        for has_unfolded in (False, True):
            table = table_of(rollup, has_unfolded=has_unfolded)
            statement = _DAYS.format(has_unfolded=HAS_UNFOLDED, table=table, condition=condition)
            cursor.execute(statement, {**parameters, **bounds})
            rows = cursor.fetchall()
            if not rows[0][0]:
                break
    return [(day, int(requests)) for _, day, requests in rows if day is not None]


def utc_day(instant: datetime) -> date:
    return instant.astimezone(UTC).date()
