"""The statement of a month, by time of booking, its file, and the page on which an owner closes the month.

Its figures are those of `GET /usage/statements/{month}` for the same parameters.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, Figure
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.files import FileView
from billing.admin.components.form_fields import text_filter
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.table_files import TableFilesPage, all_pages
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url, event_url, url_with
from billing.exports.focus import DEFAULT_VERSION, FOCUS_FORMATS, VERSIONS, FocusFile
from billing.exports.statement_files import StatementFile, StatementFormat, statement_response
from billing.exports.table_files import FileQuery
from billing.month_closing import check_may_close, close_month
from billing.reports.statements.months import StatementMonth, list_months, month_in_url, month_of
from billing.reports.statements.statement import (
    STATEMENT_DIMENSIONS,
    LateRow,
    StatementFigures,
    StatementLine,
    StatementQuery,
    StatementTotals,
    decode_cursor,
    encode_cursor,
    history_of_limits,
    late_rows,
    statement_lines,
    statement_query,
    statement_totals,
)
from billing.reports.usage.figures import DIMENSION_OF, GroupBy
from billing.types import AllocationTarget
from costtrack.admin_site import register_page
from costtrack.errors import DomainError, InvalidError
from costtrack.file_columns import ComputedColumn, FileLinks, Kind, attributes, computed
from organizations.types import Role

_LINES_PER_PAGE = 100
_CORRECTIONS_SHOWN = 25
_ROWS_READ = 1_000
"""At a time, for a file."""
_CORRECTION_COLUMNS = (
    *attributes(Kind.TEXT, "id", "month"),
    *attributes(Kind.TIME, "occurred_at", "received_at"),
    *attributes(Kind.TEXT, "kind", "corrects", "reason", "model", "team", "end_user", "user_id", "client_id"),
    *attributes(Kind.AMOUNT, "cost_usd"),
)
_LIMIT_COLUMNS = (
    *(ComputedColumn(name, Kind.TEXT, itemgetter(name)) for name in ("limit", "event", "actor")),
    *computed(Kind.TIME, at=lambda entry: datetime.fromisoformat(entry["at"])),
)
_FORMATS = (
    (StatementFormat.PDF, "PDF"),
    (StatementFormat.CSV, "CSV"),
    (StatementFormat.PARQUET, "Parquet"),
)
_CLOSED = (
    "The statement can no longer change. What arrives or is corrected later is booked in the open month, and names the"
    " month that it corrects. A closed month cannot be opened again."
)


class StatementForm(forms.Form):
    month = forms.ChoiceField(required=False)
    by = forms.ChoiceField(
        required=False,
        label="Lines by",
        choices=(
            *(
                (by.value, f"{DIMENSION_OF[by].label} and model")
                for by in STATEMENT_DIMENSIONS
                if by is not GroupBy.TAG
            ),
            (GroupBy.TAG.value, "Tag"),
            ("model", "Model only"),
        ),
    )
    team = text_filter("Team", type="search", placeholder="All")
    client_id = text_filter("Client ID", type="search", placeholder="All")
    end_user = text_filter("End user", type="search", placeholder="All")
    tag = text_filter("Tag", type="search", placeholder="All")

    def __init__(self, data: QueryDict, months: Sequence[StatementMonth], now: datetime) -> None:
        """The default is the last month that has ended, by team."""
        ended = [month.name for month in months if month.span.end <= now]
        filled = data.copy()
        filled["month"] = data.get("month") or next(iter(ended), months[0].name)
        filled["by"] = data.get("by") or STATEMENT_DIMENSIONS[0].value
        super().__init__(filled)
        choices = [(month.name, f"{month.month:%B %Y}, {'closed' if month.is_closed else 'open'}") for month in months]
        self.fields["month"].choices = choices  # type: ignore[attr-defined] # it is a ChoiceField


class _StatementPage(OrganizationPage):
    """Base of the page and its file."""

    title: ClassVar[str] = "Statements"

    def statement_of(self, form: StatementForm, months: Sequence[StatementMonth]) -> StatementQuery:
        """Build the query of a valid form."""
        by = form.cleaned_data["by"]
        return statement_query(
            organization=self.organization,
            month=next(month for month in months if month.name == form.cleaned_data["month"]),
            by=None if by == GroupBy.MODEL.value else GroupBy(by),
            filters=form.cleaned_data,
            now=self.now,
        )

    def months(self) -> list[StatementMonth]:
        """Return the months that the plan shows in full, and the current one."""
        since = self.plan_rights.history_start(self.now)
        months = list_months(self.organization, self.now)
        return [month for month in months if since is None or month.span.start >= since] or months[:1]


class StatementsPage(TableFilesPage, _StatementPage):
    template_name: ClassVar[str] = "admin/dashboard/statements.html"
    stylesheets = ("costtrack/breakdowns.css",)
    refresh_seconds: ClassVar[int] = 0

    def page_context(self) -> dict[str, Any]:
        months = self.months()
        form, trail = StatementForm(self.request.GET, months, self.now), CursorTrail.of(self.request.GET)
        if not form.is_valid():
            return {"form": form, "empty": INVALID_FILTERS}
        query = self.statement_of(form, months)
        totals = statement_totals(query)
        lines, next_key = statement_lines(query, after=decode_cursor(trail.cursor), limit=_LINES_PER_PAGE)
        corrections, more = late_rows(organization=self.organization, month=query.month, limit=_CORRECTIONS_SHOWN)
        cursor = encode_cursor(next_key)
        return {
            "form": form,
            "month": query.month,
            "month_name": f"{query.month.month:%B %Y}",
            "status": self._status(query.month),
            "close_url": self._close_url(query.month),
            "figures": _figures(totals),
            "unpriced": totals.total.unpriced_events,
            "table": _lines_table(query, lines, self._line_files(query)),
            "adds_up": query.by is not GroupBy.TAG,
            "trail": trail,
            "older": trail.older(cursor) if cursor is not None else "",
            "corrections": self._corrections(query, corrections),
            "has_more_corrections": more is not None,
            "limits": self._limits(query),
            **self._files(query),
        }

    def _status(self, month: StatementMonth) -> str:
        span = f"{month.days}, {month.zone.key}."
        if month.is_closed:
            return f"{span} Closed by {month.closed_by} {self.times.inline(month.closed_at)}."
        if self.now < month.span.end:
            return f"{span} Open: the month has not ended."
        return f"{span} Open: late usage and corrections still change it."

    def _close_url(self, month: StatementMonth) -> str:
        may_close = self.role is Role.OWNER and not month.is_closed and month.span.end <= self.now
        return admin_url("close_month", month.name) if may_close else ""

    def _files(self, query: StatementQuery) -> dict[str, Any]:
        if (refused := self.plan_rights.exports_refusal()) is not None:
            return {"without_exports": refused.message}
        parameters = url_with(self.request, month=query.month.name).partition("?")[2]
        path = admin_url("statement_file")
        focus, month = admin_url("statement_focus"), query.month.name
        files = [(label, f"{path}?{parameters}&format={name}") for name, label in _FORMATS]
        focus_files = [
            (f"FOCUS {version} {label}", f"{focus}?month={month}&version={version}&format={name}")
            for version in VERSIONS
            for name, label in FOCUS_FORMATS
        ]
        return {"files": files, "focus_files": focus_files}

    def _line_files(self, query: StatementQuery) -> FileLinks:
        if (refused := self.plan_rights.exports_refusal()) is not None:
            return FileLinks(refused=refused.message)
        parameters = url_with(self.request, month=query.month.name).partition("?")[2]
        return FileLinks.of(admin_url("statement_file"), parameters)

    def _corrections(self, query: StatementQuery, rows: Sequence[LateRow]) -> Table[LateRow]:
        columns = (
            Column[LateRow](
                "Recorded", lambda row: formatting.link(event_url(row.id), self.times.recorded(row.received_at))
            ),
            Column[LateRow]("Corrects", _corrects),
            Column[LateRow]("Model", lambda row: formatting.name(row.model)),
            Column[LateRow]("Reason", lambda row: row.reason or "Late usage"),
            Column[LateRow]("Cost", lambda row: formatting.exact(row.cost_usd) or formatting.NO_PRICE, is_number=True),
        )
        read = partial(late_rows, organization=self.organization, month=query.month, limit=_ROWS_READ)
        file = self.table_file("corrections", _CORRECTION_COLUMNS, lambda: all_pages(lambda after: read(after=after)))
        empty = "Nothing of a closed month is booked in this month."
        return Table("Corrections of closed months", columns, rows, empty=empty, file=file)

    def _limits(self, query: StatementQuery) -> Table[dict[str, str]]:
        columns = (
            Column[dict[str, str]]("Limit", lambda entry: entry["limit"]),
            Column[dict[str, str]]("What happened", lambda entry: entry["event"]),
            Column[dict[str, str]]("By", lambda entry: entry["actor"] or "costtrack"),
            Column[dict[str, str]]("When", lambda entry: self.times.recorded(datetime.fromisoformat(entry["at"]))),
        )
        entries = history_of_limits(query)
        file = self.table_file("history-of-limits", _LIMIT_COLUMNS, lambda: entries)
        empty = "No limit was reached or changed in this month."
        return Table("History of limits", columns, entries, empty=empty, file=file)


class StatementFilePage(FileView, _StatementPage):
    """All lines of a statement as a file, or its document: the parameters are those of the page, and `format`."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.GET.get("format") != StatementFormat.PDF:
            return super().get(request, *args, **kwargs)
        self.plan_rights.check_exports()
        return statement_response(self._query(), StatementFormat.PDF, now=self.now)

    def file_query(self) -> FileQuery:
        return StatementFile.of(self._query())

    def _query(self) -> StatementQuery:
        months = self.months()
        form = StatementForm(self.request.GET, months, self.now)
        if not form.is_valid():
            raise InvalidError("These filters are invalid.")
        return self.statement_of(form, months)


class FocusFilePage(FileView, _StatementPage):
    """The charges of a month in the format of FOCUS: `month`, `version`, `format`, and the basis of shared cost."""

    with_bom: ClassVar[bool] = False

    def file_query(self) -> FileQuery:
        name, version = self.request.GET.get("month", ""), self.request.GET.get("version", DEFAULT_VERSION)
        month = next((month for month in self.months() if month.name == name), None)
        if month is None or version not in VERSIONS:
            raise InvalidError("There is no such file.")
        by, tag_prefix = self.request.GET.get("by", AllocationTarget.TEAM), self.request.GET.get("tag_prefix", "")
        if by not in set(AllocationTarget):
            raise InvalidError("There is no such file.")
        prefix = tag_prefix if by == AllocationTarget.TAG else ""
        return FocusFile(month=month.month, version=version, by=AllocationTarget(by), tag_prefix=prefix)


class CloseMonthPage(OrganizationPage):
    """The confirmation of closing a month."""

    title: ClassVar[str] = "Close month"
    template_name: ClassVar[str] = "admin/confirm_action.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        month = month_of(self.organization, month_in_url(self.kwargs["month"]))
        check_may_close(month, self.now)
        totals = statement_totals(StatementQuery(self.organization, month))
        total = totals.total
        unpriced = total.unpriced_events
        calls = f"{formatting.count(unpriced)} {'event has' if unpriced == 1 else 'events have'}"
        warning = f"{calls} no price yet. If you close the month now, their cost is booked in the open month."
        context = {
            "subject": f"{month.month:%B %Y}, {month.days}, {month.zone.key}",
            "amount": formatting.exact(total.cost_usd),
            "summary": [
                "All earlier months that are still open are closed as well.",
                "Shared cost and commitments are fixed, too: rules and fees for these months cannot be added later.",
                *([warning] if unpriced else []),
            ],
            "text": _CLOSED,
            "verb": f"Close {month.month:%B %Y}",
            "back": admin_url("statements", month=month.name),
        }
        return self._respond(self.template_name, context)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            month = close_month(
                organization=self.organization,
                month=month_in_url(self.kwargs["month"]),
                acting_as=self.role,
                actor=self.user.email,
                now=self.now,
            )
        except DomainError as refused:
            messages.error(request, refused.message)
            return HttpResponseRedirect(admin_url("statements", month=self.kwargs["month"]))
        messages.success(request, f"{month.month:%B %Y} is closed.")
        return HttpResponseRedirect(admin_url("statements", month=month.name))


def _figures(totals: StatementTotals) -> list[Figure]:
    corrected = ", ".join(f"of {month:%B %Y}" for month in totals.corrections)
    return [
        Figure("Total", _amount(totals.total), (_unpriced_note(totals.total),)),
        Figure("Usage", _amount(totals.usage), (formatting.counted(totals.usage.requests, "request"),)),
        Figure("Credits", _amount(totals.credits)),
        Figure("Corrections of closed months", _amount(totals.corrected), (corrected,) if corrected else ()),
    ]


def _amount(figures: StatementFigures) -> str:
    return formatting.exact(figures.known_cost_usd) or formatting.NO_PRICE


def _unpriced_note(figures: StatementFigures) -> str:
    if not figures.unpriced_events:
        return "Every event has a price"
    return f"Without {formatting.counted(figures.unpriced_events, 'event')} without a price"


def _lines_table(query: StatementQuery, lines: Sequence[StatementLine], files: FileLinks) -> Table[StatementLine]:
    key = (
        (Column[StatementLine](DIMENSION_OF[query.by].label, lambda line: _key(query, line)),)
        if query.by is not None
        else ()
    )
    model = (Column[StatementLine]("Model", lambda line: formatting.name(line.of.model)),) if query.has_models else ()
    columns = (
        *key,
        *model,
        Column[StatementLine]("Part", lambda line: line.of.part),
        _count("Requests", "requests"),
        _count("Input", "input_tokens"),
        _count("Cache reads", "cache_read_tokens"),
        _count("Cache writes", "cache_creation_tokens"),
        _count("Output", "output_tokens"),
        Column[StatementLine]("Amount", _line_amount, is_number=True),
    )
    return Table("Lines", columns, lines, empty="Nothing is booked in this month.", file=files)


def _count(heading: str, name: str) -> Column[StatementLine]:
    return Column[StatementLine](heading, lambda line: formatting.count(getattr(line.figures, name)), is_number=True)


def _key(query: StatementQuery, line: StatementLine) -> SafeString | str:
    if not line.of.key:
        return DIMENSION_OF[query.by].without if query.by is not None else ""
    if line.name:
        return formatting.two_lines(line.name, line.of.key)
    return formatting.name(line.of.key)


def _line_amount(line: StatementLine) -> SafeString | str:
    unpriced = line.figures.unpriced_events
    if not unpriced or line.figures.known_cost_usd is None:
        return _amount(line.figures)
    return formatting.two_lines(_amount(line.figures), f"and {formatting.count(unpriced)} without a price")


def _corrects(row: LateRow) -> SafeString | str:
    month = f"{row.month:%B %Y}"
    return month if row.corrects is None else formatting.link(event_url(row.corrects), f"An event of {month}")


register_page("statements/", StatementsPage.as_view(), name="statements")
register_page("statements/file/", StatementFilePage.as_view(), name="statement_file")
register_page("statements/focus/", FocusFilePage.as_view(), name="statement_focus")
register_page("statements/<str:month>/close/", CloseMonthPage.as_view(), name="close_month")
