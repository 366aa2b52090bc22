"""Usage sums of any windows, from one statement, and reports built from them: the summary, the current spend, and
comparisons with the previous range (document 001). Read-only.

Unfiltered figures come from `ORGANIZATION_HOURS`, which has a few rows per hour; filtered or grouped ones from days,
hours and ledger rows (`billing.reports.rollup_query`), of the smallest rollups that have the dimensions; what no rollup
has is read from single events (`billing.reports.usage.ledger_usage`).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from psycopg import sql

from billing.ingest.validate import FUTURE_TOLERANCE
from billing.reports.buckets import plan_sources
from billing.reports.rollup_query import COST_COLUMNS, RollupQuery
from billing.reports.rollup_reader import RollupReader, read_rollups
from billing.reports.usage.figures import DIMENSION_OF, ZERO_FIGURES, Figures, GroupBy, Spend, Summary, UsageFilter
from billing.reports.usage.ledger_usage import check_event_count, event_rows, is_only_in_ledger
from billing.reports.usage.query import UsageQuery
from billing.rollups.definitions import (
    DETAIL_DAYS,
    DETAIL_HOURS,
    ORGANIZATION_HOURS,
    TAG_DAYS,
    USAGE_DAYS,
    USAGE_HOURS,
    Rollup,
)
from billing.rollups.sql import column_list
from costtrack.calendar import Preset, Span, Unit, Window
from costtrack.clock import MICROSECOND
from organizations.models import Organization

_WEEK = timedelta(days=7)
_ALL = ""

_COLUMNS = ("status", *COST_COLUMNS)
_USAGE_COLUMNS = {"credential_id", "capability", "service", "model", "status"}

# The sums are in the order of the fields of `Figures`.
_SUMS = sql.SQL("""
SELECT width_bucket(at, {boundaries}::timestamptz[]) AS period, {key}::text AS key,
    sum(requests)::bigint, coalesce(sum(requests) FILTER (WHERE status = 'failure'), 0)::bigint,
    sum(input_tokens + cache_read_tokens + cache_creation_tokens)::bigint, sum(output_tokens)::bigint,
    sum(cache_read_tokens)::bigint, sum(token_cost_usd + compute_cost_usd), sum(unpriced)::bigint,
    sum(cache_creation_tokens)::bigint
FROM ({rows}) AS cost {joined} GROUP BY 1, 2
""")
FiguresByKey = dict[str, Figures]
"""Figures by group key; ungrouped figures have an empty key."""


def totals(*, organization: Organization, filters: UsageFilter, windows: Sequence[Span]) -> list[Figures]:
    """Return the sums of each window. Windows may overlap."""
    return [
        sums.get(_ALL, ZERO_FIGURES) for sums in grouped(organization=organization, filters=filters, windows=windows)
    ]


def grouped(
    *, organization: Organization, filters: UsageFilter, windows: Sequence[Span], by: GroupBy | None = None
) -> list[FiguresByKey]:
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
    total, today, week, month, *others = totals(
        organization=organization, filters=filters, windows=[window, *spent, *days, *earlier]
    )
    spend = _spend(organization, [today, week, month], now)
    return Summary(total, others[-1] if earlier else None, tuple(others[: len(days)]), spend)


def spend_now(*, organization: Organization, filters: UsageFilter, now: datetime) -> Spend:
    """Return the current spend, from one snapshot."""
    windows = spend_windows(organization, now)
    return _spend(organization, totals(organization=organization, filters=filters, windows=windows), now)


def _spend(organization: Organization, figures: Sequence[Figures], now: datetime) -> Spend:
    """Build the current spend from the figures of `spend_windows`."""
    today, week, month = (window.cost_usd for window in figures)
    return Spend(today, week, month, billing_period=organization.calendar.period(Unit.MONTH, now))


def spend_windows(organization: Organization, now: datetime) -> tuple[Span, Span, Span]:
    """Return today, the last seven days, and the month until now. Like the windows of limits, they include events that
    are dated ahead of now."""
    calendar = organization.calendar
    today, month = calendar.preset(Preset.TODAY, now), calendar.preset(Preset.MONTH, now)
    end = max(today.end, now + FUTURE_TOLERANCE + MICROSECOND)
    return Span(today.start, end), Span(now - _WEEK + MICROSECOND, end), Span(month.start, end)


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


def _sum_of(by_period: dict[int, FiguresByKey], first: int, last: int) -> FiguresByKey:
    """Return the sums between two boundaries."""
    sums: FiguresByKey = {}
    for period in range(first + 1, last + 1):
        for key, figures in by_period.get(period, {}).items():
            sums[key] = sums.get(key, ZERO_FIGURES) + figures
    return sums


def levels_of(columns: set[str]) -> tuple[Rollup, ...]:
    """Return the smallest rollups that have these columns, from coarse to fine. They must not be `ONLY_IN_LEDGER`."""
    if columns <= {"status"}:
        return (ORGANIZATION_HOURS,)
    return (USAGE_DAYS, USAGE_HOURS) if columns <= _USAGE_COLUMNS else (DETAIL_DAYS, DETAIL_HOURS)


Rows = Callable[[RollupReader], sql.Composable]
"""Builds a SELECT of `at`, `status`, the sums of `COST_COLUMNS` and the columns of dimensions."""


def usage_rows(organization: Organization, filters: UsageFilter, windows: Sequence[Window], columns: set[str]) -> Rows:
    """Return what selects the usage of ordered, disjoint windows, with these columns (`columns_of`). Raises
    InvalidError if there are too many events to read."""
    selected = (*_COLUMNS, *sorted(columns - {*_COLUMNS}))
    all_columns = {*filters.columns, *columns}
    if is_only_in_ledger(all_columns):
        check_event_count(organization, filters, windows)
        return lambda reader: event_rows(reader, filters, windows, selected)
    query = RollupQuery(levels_of(all_columns), windows=tuple(windows), condition=filters.condition)
    return lambda reader: query.rows(reader, selected)


_TAG_ROWS = sql.SQL("""
SELECT at, ARRAY[tag] AS tags, 'success' AS status, requests - errors AS requests, {others} FROM ({rows}) AS tag_day
UNION ALL
SELECT at, ARRAY[tag], 'failure', errors, {zeros} FROM ({rows}) AS tag_day WHERE errors <> 0
""")


def tag_rows(organization: Organization, windows: Sequence[Window]) -> Rows:
    """Return what selects all usage by tag from its rollup: rows of `usage_rows` with one tag each, and failed requests
    in rows of their own. An event with several tags has several rows. Raises InvalidError if the edges of the windows
    have too many events to read."""
    edges = [source.windows for source in plan_sources(windows, (TAG_DAYS,)) if source.rollup is None]
    for of_ledger in edges:
        check_event_count(organization, UsageFilter(), of_ledger)
    query, others = RollupQuery((TAG_DAYS,), tuple(windows)), [name for name in COST_COLUMNS if name != "requests"]

    def rows(reader: RollupReader) -> sql.Composable:
        return _TAG_ROWS.format(
            rows=query.rows(reader, (*COST_COLUMNS, "errors", "tag")),
            others=column_list(others),
            zeros=sql.SQL(", ").join([sql.Literal(0)] * len(others)),
        )

    return rows


def columns_of(dimensions: Iterable[GroupBy]) -> set[str]:
    """Return the columns that `key_of` needs."""
    columns = {DIMENSION_OF[by].column for by in dimensions}
    return columns | {"run_id"} if "workflow_id" in columns else columns


_NOTHING = sql.SQL("")
_RUN = sql.SQL(
    "LEFT JOIN billing_run AS run ON run.organization_id = %(organization)s AND run.run_id = cost.run_id"
    " AND cost.run_id <> ''"
)
_TAGS = sql.SQL("CROSS JOIN LATERAL unnest(coalesce(nullif({}, '{{}}'), ARRAY['']::varchar[])) AS label (tag)")


def unnest_tags(column: sql.Composable) -> sql.Composable:
    """Return the join that makes a row for each tag as `label.tag`; without tags, one with an empty text."""
    return _TAGS.format(column)


def key_of(by: GroupBy) -> tuple[sql.Composable, sql.Composable]:
    """Return the expression of a dimension over rows `cost`, and the join that it needs. Only by tag a row has several
    keys."""
    if by is GroupBy.WORKFLOW:
        return sql.SQL("CASE WHEN cost.run_id = '' THEN cost.workflow_id ELSE coalesce(run.workflow_id, '') END"), _RUN
    if by is GroupBy.TAG:
        return sql.SQL("label.tag"), unnest_tags(sql.Identifier("cost", "tags"))
    return sql.Identifier("cost", DIMENSION_OF[by].column), _NOTHING


def _sums_between(
    organization: Organization,
    filters: UsageFilter,
    boundaries: Sequence[datetime],
    pieces: Sequence[Window],
    by: GroupBy | None,
) -> dict[int, FiguresByKey]:
    """Return the sums between adjacent boundaries by the 1-based number of the interval."""
    if not pieces:
        return {}
    if by is GroupBy.TAG and filters == UsageFilter():
        rows = tag_rows(organization, pieces)
    else:
        rows = usage_rows(organization, filters, pieces, columns_of([by] if by is not None else []))
    key, joined = key_of(by) if by is not None else (sql.Literal(_ALL), _NOTHING)

    def compose(reader: RollupReader) -> sql.Composable:
        return _SUMS.format(boundaries=reader.bind(list(boundaries)), key=key, rows=rows(reader), joined=joined)

    by_period: dict[int, FiguresByKey] = {}
    for period, key_value, *sums in read_rollups(organization, compose):
        by_period.setdefault(period, {})[key_value] = Figures(*sums)
    return by_period


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures and those of the time before, None if the plan does not show all of it."""

    figures: Figures
    before: Figures | None


@dataclass(frozen=True, slots=True)
class Headline:
    """The window of the query, today, this week and this month until now, each with the time before it; last month, and
    each of the given periods. All with the same filter and from one snapshot."""

    window: Comparison
    today: Comparison
    week: Comparison
    month: Comparison
    last_month: Figures | None
    periods: tuple[Figures, ...]


def headline(query: UsageQuery, *, before: Span | None, periods: Sequence[Span]) -> Headline:
    """Return the headline. `before` is what the window is compared with."""
    end = spend_windows(query.organization, query.now)[0].end
    units = (Unit.DAY, Unit.WEEK, Unit.MONTH)
    windows = [query.window, *(Span(query.calendar.period(unit, query.now).start, end) for unit in units)]
    earlier = [before, *(_until_this_time(query, unit) for unit in units), _before(query, Unit.MONTH)]
    known = [window for window in earlier if window is not None]
    figures = totals(organization=query.organization, filters=query.filters, windows=[*windows, *known, *periods])
    before_figures = iter(figures[len(windows) :])
    compared = [next(before_figures) if window is not None else None for window in earlier]
    window, today, week, month = (Comparison(*pair) for pair in zip(figures, compared[: len(windows)], strict=False))
    return Headline(window, today, week, month, compared[-1], tuple(figures[len(windows) + len(known) :]))


def _until_this_time(query: UsageQuery, unit: Unit) -> Span | None:
    """Return the day, week or month before until the same time."""
    before = _before(query, unit)
    return None if before is None else query.until_same_time(before, query.calendar.period(unit, query.now))


def _before(query: UsageQuery, unit: Unit) -> Span | None:
    """Return the day, week or month before; None if the plan does not show all of it."""
    return query.if_visible(query.calendar.period_before(unit, query.now))
