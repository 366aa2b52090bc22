"""The cost by workflow and by period, beside that by model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.http import HttpRequest

from billing.admin.components import formatting
from billing.admin.components.percent_bar import percent_bar
from billing.admin.components.tables import Column, Table, TableFile
from billing.admin.components.urls import admin_url, url_for_dates
from billing.reports.pricing.daily import DailyCost, Pricing
from billing.reports.rollup_query import Sums
from costtrack.calendar import Calendar, Span, Unit
from costtrack.clock import MICROSECOND
from costtrack.date_text import days_text
from costtrack.file_columns import ComputedColumn, Kind, attributes, computed
from costtrack.money import ZERO

_MAX_ROWS = 30
_NO_WORKFLOW = "No workflow"
_FILTERED = "Workflows cannot be filtered by model or agent. Remove the filters to see them."
# The longest period for each unit.
_UNITS = ((timedelta(days=14), Unit.DAY), (timedelta(days=93), Unit.WEEK))


@dataclass(frozen=True, slots=True)
class BreakdownRow:
    """`is_value` is false for usage without a value."""

    name: str
    url: str
    runs: int
    cost: Decimal
    unpriced: int = 0
    is_value: bool = True


def breakdown_columns(name: str) -> tuple[ComputedColumn, ...]:
    """Return the columns of the file; `name` is that of the first one."""
    return (
        ComputedColumn(name, Kind.TEXT, lambda row: row.name if row.is_value else ""),
        *attributes(Kind.COUNT, "runs"),
        *computed(Kind.AMOUNT, cost_usd=lambda row: row.cost),
        *computed(Kind.COUNT, unpriced_events=lambda row: row.unpriced),
    )


def workflow_rows(report: Pricing, sums: Sequence[Sums]) -> list[BreakdownRow]:
    """Return the cost by workflow, the most expensive first, and what has none."""
    rows = [
        BreakdownRow(row.key[0], admin_url("runs", workflow=row.key[0]), row.requests, row.cost, row.unpriced)
        for row in sums
    ]
    without = BreakdownRow(
        _NO_WORKFLOW,
        "",
        report.runs - _runs(rows),
        sum((bucket.cost_usd for bucket in report.daily), ZERO) - _cost(rows),
        report.unpriced_events - _unpriced(rows),
        is_value=False,
    )
    return [*rows, without] if without.runs or without.cost else rows


def workflow_table(rows: Sequence[BreakdownRow] | None, file: TableFile[BreakdownRow]) -> Table[BreakdownRow]:
    """Return the table of workflows. `rows` is None if the page is filtered by what workflows have no sums of."""
    title = "Workflow breakdown"
    if rows is None:
        return _table(title, "Workflow", (), empty=_FILTERED)
    workflows = [row for row in rows if row.is_value]
    shown, others = workflows[:_MAX_ROWS], workflows[_MAX_ROWS:]
    if others:
        shown.append(BreakdownRow(f"{len(others)} others", "", _runs(others), _cost(others), _unpriced(others)))
    return _table(title, "Workflow", [*shown, *(row for row in rows if not row.is_value)], file=file)


def period_rows(report: Pricing, span: Span, calendar: Calendar, request: HttpRequest) -> list[BreakdownRow]:
    """Return the cost by day, week or month, newest first, without periods that have none."""
    unit = unit_of_rows(span)
    by_period: dict[Span, list[DailyCost]] = {}
    for bucket in report.daily:
        by_period.setdefault(calendar.period(unit, calendar.start_of(bucket.day)), []).append(bucket)
    rows = []
    for period in sorted(by_period, reverse=True):
        first = calendar.date_of(max(period.start, span.start))
        last = calendar.date_of(min(period.end, span.end) - MICROSECOND)
        buckets = by_period[period]
        name = days_text(first, last)
        cost = sum((bucket.cost_usd for bucket in buckets), ZERO)
        runs = sum(bucket.runs for bucket in buckets)
        unpriced = sum(bucket.unpriced for bucket in buckets)
        rows.append(BreakdownRow(name, url_for_dates(request, first, last), runs, cost, unpriced))
    return rows


def period_table(unit: Unit, rows: Sequence[BreakdownRow], file: TableFile[BreakdownRow]) -> Table[BreakdownRow]:
    return _table(f"Cost by {unit}", unit.capitalize(), rows, css="ct-periods", file=file)


def unit_of_rows(span: Span) -> Unit:
    return next((unit for longest, unit in _UNITS if span.end - span.start <= longest), Unit.MONTH)


def _table(
    title: str,
    column: str,
    rows: Sequence[BreakdownRow],
    *,
    empty: str = "No usage.",
    css: str = "",
    file: TableFile[BreakdownRow] | None = None,
) -> Table[BreakdownRow]:
    total = _cost(rows)
    columns = (
        Column[BreakdownRow](column, lambda row: formatting.link_or_text(row.url, row.name)),
        Column[BreakdownRow]("Requests", lambda row: formatting.count(row.runs), is_number=True),
        Column[BreakdownRow]("Cost", lambda row: formatting.cost(row.cost, row.unpriced), is_number=True),
        Column[BreakdownRow]("Share", lambda row: percent_bar(row.cost, total)),
    )
    return Table(title, columns, rows, empty=empty, css=css, file=file)


def _runs(rows: Sequence[BreakdownRow]) -> int:
    return sum(row.runs for row in rows)


def _unpriced(rows: Sequence[BreakdownRow]) -> int:
    return sum(row.unpriced for row in rows)


def _cost(rows: Sequence[BreakdownRow]) -> Decimal:
    return sum((row.cost for row in rows), ZERO)
