"""Usage over time: what any windows add up to, in one question to the database. Read-only.

All of an organization comes from `ORGANIZATION_HOURS`, which has a few rows for each hour; what is filtered or grouped
from days, hours and the ledger's rows (`billing.reports.bucketed_query`).
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from django.db import connection
from psycopg import sql

from billing.reports.bucketed_query import Parameters, Part, cascade, cost_rows
from billing.reports.live_rollups import HAS_UNFOLDED
from billing.reports.types import Window
from billing.reports.usage.figures import NOTHING, Figures, GroupBy, Spend, Summary, UsageFilter
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

# `place` counts from 1: between which of the boundaries a row lies.
_SUMS = sql.SQL("""
SELECT {has_unfolded}, sums.* FROM (VALUES (1)) AS once LEFT JOIN (
    SELECT width_bucket(at, %(boundaries)s::timestamptz[]) AS place, {key}::text AS key,
        sum(requests), coalesce(sum(requests) FILTER (WHERE status = 'failure'), 0),
        sum(input_tokens + cache_read_tokens + cache_creation_tokens), sum(output_tokens), sum(cache_read_tokens),
        sum(token_cost_usd + compute_cost_usd), sum(unpriced)
    FROM ({rows}) AS cost GROUP BY 1, 2
) AS sums ON true
""")
Sums = dict[str, Figures]
"""Figures by what they are grouped by; not grouped, under an empty key."""


class _Row(NamedTuple):
    has_unfolded: bool
    place: int | None
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
    """What each window adds up to. They may overlap."""
    return [sums.get(_ALL, NOTHING) for sums in grouped(organization=organization, filters=filters, windows=windows)]


def grouped(
    *, organization: Organization, filters: UsageFilter, windows: Sequence[Span], by: GroupBy | None = None
) -> list[Sums]:
    """The same by model, capability and so on; credentials by their number, 0 is none."""
    boundaries = sorted({instant for window in windows for instant in window})
    pieces = list(_covered(windows, boundaries))
    by_place = _sums_between(organization, filters, boundaries, pieces, by)
    return [_sum_of(by_place, *(bisect_left(boundaries, instant) for instant in one)) for one in windows]


def summary(
    *,
    organization: Organization,
    filters: UsageFilter,
    window: Span,
    days: Sequence[Span],
    before: Span | None,
    now: datetime,
) -> Summary:
    """A window, its days, what was before it, and what is spent now: all of one moment."""
    spent = windows_of_spend(organization, now)
    earlier = [before] if before is not None else []
    whole, of_today, of_week, of_month, *others = totals(
        organization=organization, filters=filters, windows=[window, *spent, *days, *earlier]
    )
    month = organization.calendar.period(Unit.MONTH, now)
    spend = Spend(of_today.cost_usd, of_week.cost_usd, of_month.cost_usd, billing_period=month)
    return Summary(whole, others[-1] if earlier else None, tuple(others[: len(days)]), spend)


def spend_now(*, organization: Organization, filters: UsageFilter, now: datetime) -> Spend:
    """What is spent now, all of one moment."""
    windows = windows_of_spend(organization, now)
    of_today, of_week, of_month = totals(organization=organization, filters=filters, windows=windows)
    month = organization.calendar.period(Unit.MONTH, now)
    return Spend(of_today.cost_usd, of_week.cost_usd, of_month.cost_usd, billing_period=month)


def windows_of_spend(organization: Organization, now: datetime) -> tuple[Span, Span, Span]:
    """Today, seven days, and the month until now."""
    calendar = organization.calendar
    today, month = calendar.preset(Preset.TODAY, now), calendar.period(Unit.MONTH, now)
    return today, Span(now - _WEEK + _TICK, now + _TICK), Span(month.start, today.end)


def _covered(windows: Sequence[Span], boundaries: Sequence[datetime]) -> Iterator[Window]:
    """The pieces between neighbouring boundaries that belong to at least one window."""
    changes = dict.fromkeys(boundaries, 0)
    for window in windows:
        changes[window.start] += 1
        changes[window.end] -= 1
    depth = 0
    for start, end in pairwise(boundaries):
        depth += changes[start]
        if depth:
            yield Window(start, end)


def _sum_of(by_place: dict[int, Sums], first: int, last: int) -> Sums:
    """Of what lies between two boundaries."""
    found: Sums = {}
    for place in range(first + 1, last + 1):
        for key, figures in by_place.get(place, {}).items():
            found[key] = found.get(key, NOTHING) + figures
    return found


def _sums_between(
    organization: Organization,
    filters: UsageFilter,
    boundaries: Sequence[datetime],
    pieces: Sequence[Window],
    by: GroupBy | None,
) -> dict[int, Sums]:
    if not pieces:
        return {}
    is_everything = not (filters.client_id or filters.capability or filters.model) and by in (None, GroupBy.STATUS)
    parts = cascade(pieces, (ORGANIZATION_HOURS,) if is_everything else (USAGE_DAYS, USAGE_HOURS))
    found = _ask(organization, filters, boundaries, parts, by, has_unfolded=False)
    if found[0].has_unfolded:
        found = _ask(organization, filters, boundaries, parts, by, has_unfolded=True)
    by_place: dict[int, Sums] = {}
    for row in found:
        if row.place is not None:
            by_place.setdefault(row.place, {})[row.key] = row.figures
    return by_place


def _ask(
    organization: Organization,
    filters: UsageFilter,
    boundaries: Sequence[datetime],
    parts: Sequence[Part],
    by: GroupBy | None,
    *,
    has_unfolded: bool,
) -> list[_Row]:
    """At least one row, which tells whether something waits."""
    parameters: Parameters = {"organization": organization.pk, "boundaries": list(boundaries)}
    condition = usage_condition(filters, parameters)
    column = _COLUMN_OF[by] if by is not None else None
    columns = _COLUMNS if column is None or column in _COLUMNS else (*_COLUMNS, column)
    rows = cost_rows(parts, columns=columns, condition=condition, has_unfolded=has_unfolded, parameters=parameters)
    key = sql.Identifier(column) if column is not None else sql.Literal(_ALL)
    with connection.cursor() as cursor:
        cursor.execute(_SUMS.format(has_unfolded=HAS_UNFOLDED, key=key, rows=rows), parameters)
        return [_Row(*row) for row in cursor.fetchall()]
