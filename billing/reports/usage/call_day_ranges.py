"""On which days there are calls of a kind, as rollups know: so that a rare kind does not make a request read the ledger
in search of it. Read-only."""

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
class Days:
    """Parts of a window, the newest first; `is_cut`: there may be more such calls before them."""

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


def enough_days(
    rollup: Rollup, condition: sql.Composable, parameters: Parameters, *, window: Span, listed: date | None, enough: int
) -> Days:
    """The newest days that have so many calls together. (Of the day that a page ended in, `listed`, some have been
    listed already.) `condition` leaves exactly the calls that are wanted."""
    spans: list[Span] = []
    calls = 0
    for day, requests in _calls_by_day(rollup, condition, parameters, window):
        start = datetime.combine(day, time(), UTC)
        spans.append(Span(max(start, window.start), min(start + _DAY, window.end)))
        calls += requests if day != listed and start >= window.start and start + _DAY <= window.end else 0
        if calls >= enough:
            break
    return Days(spans)


def some_days(rollup: Rollup, condition: sql.Composable, parameters: Parameters, *, window: Span, most: int) -> Days:
    """The newest days, at most so many; `condition` leaves more calls than those that are wanted, and nobody knows how
    many."""
    days = _calls_by_day(rollup, condition, parameters, window)
    starts = [datetime.combine(day, time(), UTC) for day, _ in days[:most]]
    spans = [Span(max(start, window.start), min(start + _DAY, window.end)) for start in starts]
    return Days(spans, is_cut=len(days) > most)


def days_of_session(parameters: Parameters, *, window: Span) -> Days:
    """The part of the window in which there is something of a session."""
    for with_tail in (False, True):
        table = table_of(SESSION_TOTALS, has_unfolded=with_tail)
        with connection.cursor() as cursor:
            cursor.execute(_SESSION.format(has_unfolded=HAS_UNFOLDED, table=table), parameters)
            has_unfolded, first_at, last_at = cursor.fetchone()
        if not has_unfolded:
            break
    if first_at is None:
        return Days(())
    span = Span(max(window.start, first_at), min(window.end, last_at + _TICK))
    return Days((span,) if span.start < span.end else ())


def _calls_by_day(
    rollup: Rollup, condition: sql.Composable, parameters: Parameters, window: Span
) -> list[tuple[date, int]]:
    """Newest first. Voided calls are in the list and not counted."""
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
