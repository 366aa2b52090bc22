"""The statement of a month as a PDF document to file. Its figures are those of the page, to the last digit.

The document of a closed month has nothing that may change, so it is the same each time, to the byte. That of an open
month says when it was created.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from django.conf import settings

from billing.reports.statements.booked import Section
from billing.reports.statements.statement import (
    NO_FIGURES,
    LateRow,
    StatementFigures,
    StatementLine,
    StatementQuery,
    StatementTotals,
    history_of_limits,
    late_rows,
    statement_lines,
    statement_totals,
)
from billing.reports.usage.figures import DIMENSION_OF, DIMENSIONS, GroupBy, UsageFilter
from costtrack.date_text import time_text, zoned_time_text
from costtrack.errors import field_error
from costtrack.money import exact_usd
from costtrack.pdf.document import Cell, PDFColumn, PDFDocument, Row
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout

MAX_LINES = 5_000
"""About 150 pages. CSV and Parquet files have no maximum."""
MAX_CORRECTIONS = 1_000
_QUANTITIES = (
    ("Requests", "requests"),
    ("Input", "input_tokens"),
    ("Cache reads", "cache_read_tokens"),
    ("Cache writes", "cache_creation_tokens"),
    ("Output", "output_tokens"),
)
_NO_PRICE = "No price yet"
_BASIS = (
    "By time of booking: usage counts in its own month, or in the open month if its own is closed. Input is without"
    " cache reads and cache writes. Amounts are in US dollars."
)


def statement_pdf(query: StatementQuery, now: datetime) -> bytes:
    """Return the document. Raises InvalidError if there are too many lines or too many events to read, ConflictError if
    some events were dropped."""
    with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(query.organization.pk):
        lines, more_lines = statement_lines(query, limit=MAX_LINES)
        if more_lines is not None:
            message = f"A PDF file has up to {MAX_LINES:,} lines. Choose CSV or Parquet, or add filters."
            raise field_error("format", message)
        totals = statement_totals(query) if query.by is GroupBy.TAG else _totals(lines)
        corrections, more = late_rows(organization=query.organization, month=query.month, limit=MAX_CORRECTIONS)
        history = history_of_limits(query)
    month = f"{query.month.month:%B %Y}"
    document = PDFDocument(f"Statement {month}", f"{query.month.organization_name}, statement of {month}")
    document.title(f"Statement of {month}")
    document.facts(_facts(query, now))
    document.paragraph("")
    document.paragraph(_BASIS)
    _write_totals(document, totals)
    if query.by is not None and query.by is not GroupBy.TAG:
        _write_keys(document, query, lines, totals)
    _write_lines(document, query, lines, totals)
    _write_corrections(document, query, corrections, has_more=more is not None)
    _write_limits(document, query, history)
    return document.content()


def _facts(query: StatementQuery, now: datetime) -> list[tuple[str, str]]:
    month = query.month
    if month.closed_at is not None:
        state = f"Closed by {month.closed_by}, {zoned_time_text(month.closed_at.replace(microsecond=0), month.zone)}"
    else:
        state = f"Open, as of {zoned_time_text(now.replace(microsecond=0), month.zone)}. It can still change."
    filters = [
        f"{dimension.label}: {value}"
        for dimension in DIMENSIONS
        if (value := getattr(query.filters, dimension.parameter))
    ]
    by = DIMENSION_OF[query.by].label if query.by is not None else ""
    lines = f"{by} and model" if by and query.has_models else by or "Model"
    return [
        ("Organization", month.organization_name),
        ("Month", f"{month.days}, {month.zone.key}"),
        ("State", state),
        ("Lines by", lines),
        *([("Filters", "; ".join(filters))] if filters else []),
    ]


def _totals(lines: Sequence[StatementLine]) -> StatementTotals:
    """Add up lines, so that they and the totals cannot differ while usage arrives."""
    sections = dict.fromkeys(Section, NO_FIGURES)
    corrections: dict[date, StatementFigures] = {}
    for line in lines:
        if line.of.corrected_month is not None:
            month = line.of.corrected_month
            corrections[month] = corrections.get(month, NO_FIGURES) + line.figures
        else:
            sections[line.of.section] += line.figures
    return StatementTotals(sections[Section.USAGE], sections[Section.CREDITS], dict(sorted(corrections.items())))


def _figure_columns() -> list[PDFColumn]:
    return [*(PDFColumn(heading, is_number=True) for heading, _ in _QUANTITIES), PDFColumn("Amount", is_number=True)]


def _figures(figures: StatementFigures) -> list[Cell]:
    return [*(f"{getattr(figures, name):,}" for _, name in _QUANTITIES), _amount(figures)]


def _amount(figures: StatementFigures) -> Cell:
    cost = figures.known_cost_usd
    if cost is None:
        return _NO_PRICE
    amount = exact_usd(cost)
    return (amount, f"and {figures.unpriced_events:,} without a price") if figures.unpriced_events else amount


def _write_totals(document: PDFDocument, totals: StatementTotals) -> None:
    document.heading("Totals")
    rows: list[Row] = [["Usage", *_figures(totals.usage)], ["Credits", *_figures(totals.credits)]]
    rows += [[f"Corrections of {month:%B %Y}", *_figures(part)] for month, part in totals.corrections.items()]
    document.table([PDFColumn("Part"), *_figure_columns()], rows, ["Total", *_figures(totals.total)])
    if unpriced := totals.total.unpriced_events:
        events = f"{unpriced:,} event has" if unpriced == 1 else f"{unpriced:,} events have"
        document.paragraph(f"{events} no price. Their cost is not known, and in no amount.")


def _write_keys(
    document: PDFDocument, query: StatementQuery, lines: Sequence[StatementLine], totals: StatementTotals
) -> None:
    label = _label(query)
    names: dict[str, Cell] = {}
    figures: dict[str, StatementFigures] = {}
    for line in lines:
        names[line.of.key] = _key(query, line)
        figures[line.of.key] = figures.get(line.of.key, NO_FIGURES) + line.figures
    document.heading(f"By {label.lower()}")
    rows: list[Row] = [[names[key], *_figures(figures[key])] for key in sorted(figures)]
    document.table([PDFColumn(label), *_figure_columns()], rows, ["Total", *_figures(totals.total)])


def _write_lines(
    document: PDFDocument, query: StatementQuery, lines: Sequence[StatementLine], totals: StatementTotals
) -> None:
    document.heading("Lines")
    if not lines:
        document.paragraph("Nothing is booked in this month.")
        return
    key = [PDFColumn(_label(query))] if query.by is not None else []
    model = [PDFColumn("Model")] if query.has_models else []
    columns = [*key, *model, PDFColumn("Part"), *_figure_columns()]
    rows: list[Row] = [
        [
            *([_key(query, line)] if key else []),
            *([line.of.model or "No model"] if model else []),
            *(line.of.part, *_figures(line.figures)),
        ]
        for line in lines
    ]
    if query.by is GroupBy.TAG:
        document.paragraph("An event counts under each of its tags, so lines can add up to more than the total.")
        document.table(columns, rows)
    else:
        document.table(columns, rows, ["Total", *[""] * (len(key) + len(model)), *_figures(totals.total)])


def _label(query: StatementQuery) -> str:
    return DIMENSION_OF[query.by].label if query.by is not None else ""


def _key(query: StatementQuery, line: StatementLine) -> Cell:
    if not line.of.key:
        return DIMENSION_OF[query.by].without if query.by is not None else ""
    return (line.name, line.of.key) if line.name else line.of.key


def _write_corrections(
    document: PDFDocument, query: StatementQuery, corrections: Sequence[LateRow], *, has_more: bool
) -> None:
    document.heading("Corrections of closed months")
    if not corrections:
        document.paragraph("Nothing of a closed month is booked in this month.")
        return
    if query.filters != UsageFilter():
        document.paragraph("Filters do not apply to this list: these are all corrections of the organization.")
    if has_more:
        document.paragraph(
            f"The first {MAX_CORRECTIONS:,} corrections. The totals have all of them, and"
            f" GET /usage/statements/{query.month.name}/corrections lists them."
        )
    columns = [
        PDFColumn("Recorded"),
        PDFColumn("Corrects"),
        PDFColumn("Team"),
        PDFColumn("Model"),
        PDFColumn("Reason"),
        PDFColumn("Amount", is_number=True),
    ]
    rows: list[Row] = [
        [
            time_text(row.received_at.replace(microsecond=0), query.month.zone),
            _corrected(row),
            row.team or "No team",
            row.model or "No model",
            row.reason or "Late usage",
            _NO_PRICE if row.cost_usd is None else exact_usd(row.cost_usd),
        ]
        for row in corrections
    ]
    document.table(columns, rows)


def _corrected(row: LateRow) -> Cell:
    month = f"{row.month:%B %Y}"
    return month if row.corrects is None else (month, f"event {row.corrects}")


def _write_limits(document: PDFDocument, query: StatementQuery, history: Iterable[dict[str, Any]]) -> None:
    document.heading("History of limits")
    rows: list[Row] = [
        [
            time_text(datetime.fromisoformat(entry["at"]).replace(microsecond=0), query.month.zone),
            entry["limit"],
            entry["event"],
            entry["actor"] or "costtrack",
        ]
        for entry in history
    ]
    if not rows:
        document.paragraph("No limit was reached or changed in this month.")
        return
    document.table([PDFColumn(heading) for heading in ("When", "Limit", "What happened", "By")], rows)
