"""Usage sums of any windows, from one statement. Read-only.

Unfiltered figures come from `ORGANIZATION_HOURS`, which has a few rows per hour; filtered or grouped ones from days,
hours and ledger rows (`billing.reports.bucketed_query`).
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from django.db import connection
from psycopg import sql

from billing.reports.bucketed_query import Parameters, Source, cost_rows, plan_sources
from billing.reports.live_rollups import HAS_UNFOLDED
from billing.reports.types import Window
from billing.reports.usage.figures import ZERO_FIGURES, Figures, GroupBy, Spend, Summary, UsageFilter
from billing.reports.usage.filter import usage_condition
from billing.rollups.definitions import ORGANIZATION_HOURS, USAGE_DAYS, USAGE_HOURS
from costtrack.calendar import Preset, Span, Unit
from organizations.models import Organization

_TICK = timedelta(microseconds=1)
_WEEK = timedelta(days=7)
_ALL = ""

_COLUMNS = (
    "status",
    "requests",
    "unpriced",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "token_cost_usd",
    "compute_cost_usd",
)
_COLUMN_OF = {
    GroupBy.MODEL: "model",
    GroupBy.CAPABILITY: "capability",
    GroupBy.CREDENTIAL: "credential_id",
    GroupBy.STATUS: "status",
}

# `period` is the 1-based index of the interval between two boundaries.
_SUMS = sql.SQL("""
SELECT {has_unfolded}, sums.* FROM (VALUES (1)) AS once LEFT JOIN (
    SELECT width_bucket(at, %(boundaries)s::timestamptz[]) AS period, {key}::text AS key,
        sum(requests), coalesce(sum(requests) FILTER (WHERE status = 'failure'), 0),
        sum(input_tokens + cache_read_tokens + cache_creation_tokens), sum(output_tokens), sum(cache_read_tokens),
        sum(token_cost_usd + compute_cost_usd), sum(unpriced)
    FROM ({rows}) AS cost GROUP BY 1, 2
) AS sums ON true
""")
Sums = dict[str, Figures]
"""Figures by group key; ungrouped figures have an empty key."""


class _Row(NamedTuple):
    has_unfolded: bool
    period: int | None
    key: str
    requests: Decimal
    errors: Decimal
    prompt_tokens: Decimal
    completion_tokens: Decimal
    cached_tokens: Decimal
    cost_usd: Decimal
    unpriced: Decimal

    @property
    def figures(self) -> Figures:
        return Figures(
            requests=int(self.requests),
            errors=int(self.errors),
            prompt_tokens=int(self.prompt_tokens),
            completion_tokens=int(self.completion_tokens),
            cached_tokens=int(self.cached_tokens),
            cost_usd=self.cost_usd,
            unpriced_events=int(self.unpriced),
        )


def totals(*, organization: Organization, filters: UsageFilter, windows: Sequence[Span]) -> list[Figures]:
    """Return the sums of each window. Windows may overlap."""
    return [
        sums.get(_ALL, ZERO_FIGURES) for sums in grouped(organization=organization, filters=filters, windows=windows)
    ]


def grouped(
    *, organization: Organization, filters: UsageFilter, windows: Sequence[Span], by: GroupBy | None = None
) -> list[Sums]:
    """Return the sums of each window by group. Credentials are database ids as text; 0 is none."""
    boundaries = sorted({instant for window in windows for instant in window})
    pieces = list(_covered_windows(windows, boundaries))
    by_period = _sums_between(organization, filters, boundaries, pieces, by)
    return [_sum_of(by_period, *(bisect_left(boundaries, instant) for instant in window)) for window in windows]


def summary(
    *,
    organization: Organization,
    filters: UsageFilter,
    window: Span,
    days: Sequence[Span],
    before: Span | None,
    now: datetime,
) -> Summary:
    """Return figures of a window, its days, the time before it, and the current spend, from one snapshot."""
    spent = spend_windows(organization, now)
    earlier = [before] if before is not None else []
    total, today, week, this_month, *others = totals(
        organization=organization, filters=filters, windows=[window, *spent, *days, *earlier]
    )
    month = organization.calendar.period(Unit.MONTH, now)
    spend = Spend(today.cost_usd, week.cost_usd, this_month.cost_usd, billing_period=month)
    return Summary(total, others[-1] if earlier else None, tuple(others[: len(days)]), spend)


def spend_now(*, organization: Organization, filters: UsageFilter, now: datetime) -> Spend:
    """Return the current spend, from one snapshot."""
    windows = spend_windows(organization, now)
    today, week, this_month = totals(organization=organization, filters=filters, windows=windows)
    month = organization.calendar.period(Unit.MONTH, now)
    return Spend(today.cost_usd, week.cost_usd, this_month.cost_usd, billing_period=month)


def spend_windows(organization: Organization, now: datetime) -> tuple[Span, Span, Span]:
    """Return today, the last seven days, and the month until now."""
    calendar = organization.calendar
    today, month = calendar.preset(Preset.TODAY, now), calendar.period(Unit.MONTH, now)
    return today, Span(now - _WEEK + _TICK, now + _TICK), Span(month.start, today.end)


def _covered_windows(windows: Sequence[Span], boundaries: Sequence[datetime]) -> Iterator[Window]:
    """Yield the windows between adjacent boundaries that belong to at least one window."""
    changes = dict.fromkeys(boundaries, 0)
    for window in windows:
        changes[window.start] += 1
        changes[window.end] -= 1
    depth = 0
    for start, end in pairwise(boundaries):
        depth += changes[start]
        if depth:
            yield Window(start, end)


def _sum_of(by_period: dict[int, Sums], first: int, last: int) -> Sums:
    """Return the sums between two boundaries."""
    sums: Sums = {}
    for period in range(first + 1, last + 1):
        for key, figures in by_period.get(period, {}).items():
            sums[key] = sums.get(key, ZERO_FIGURES) + figures
    return sums


def _sums_between(
    organization: Organization,
    filters: UsageFilter,
    boundaries: Sequence[datetime],
    pieces: Sequence[Window],
    by: GroupBy | None,
) -> dict[int, Sums]:
    if not pieces:
        return {}
    is_unfiltered = not (filters.client_id or filters.capability or filters.model) and by in (None, GroupBy.STATUS)
    sources = plan_sources(pieces, (ORGANIZATION_HOURS,) if is_unfiltered else (USAGE_DAYS, USAGE_HOURS))
    rows = _fetch(organization, filters, boundaries, sources, by, has_unfolded=False)
    if rows[0].has_unfolded:
        rows = _fetch(organization, filters, boundaries, sources, by, has_unfolded=True)
    by_period: dict[int, Sums] = {}
    for row in rows:
        if row.period is not None:
            by_period.setdefault(row.period, {})[row.key] = row.figures
    return by_period


def _fetch(
    organization: Organization,
    filters: UsageFilter,
    boundaries: Sequence[datetime],
    sources: Sequence[Source],
    by: GroupBy | None,
    *,
    has_unfolded: bool,
) -> list[_Row]:
    """Return at least one row; it says whether there are unfolded batches."""
    parameters: Parameters = {"organization": organization.pk, "boundaries": list(boundaries)}
    condition = usage_condition(filters, parameters)
    column = _COLUMN_OF[by] if by is not None else None
    columns = _COLUMNS if column is None or column in _COLUMNS else (*_COLUMNS, column)
    rows = cost_rows(sources, columns=columns, condition=condition, has_unfolded=has_unfolded, parameters=parameters)
    key = sql.Identifier(column) if column is not None else sql.Literal(_ALL)
    with connection.cursor() as cursor:
        cursor.execute(_SUMS.format(has_unfolded=HAS_UNFOLDED, key=key, rows=rows), parameters)
        return [_Row(*row) for row in cursor.fetchall()]
