"""The sessions page: the newest sessions and executions with their costs, and a summary of all (document 003)."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, Card, EmptyState, Figure
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.files import FileView, file_links
from billing.admin.components.form_fields import FilterChoiceField, text_filter
from billing.admin.components.table_files import TableFilesPage
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url, execution_url, session_url, url_with
from billing.admin.dashboard.sessions.session_text import (
    cost_parts,
    joined,
    length,
    share_table,
    state_of,
    unpriced_link,
)
from billing.exports.run_files import ExecutionsFile, SessionsFile
from billing.exports.table_files import FileQuery
from billing.reports.cursors import Page, StartPosition, cursor_of, start_position_of
from billing.reports.sessions.executions import ExecutionCosts, get_execution_costs, list_executions
from billing.reports.sessions.lists import SessionCosts, get_session_costs, list_sessions
from billing.reports.sessions.newest import UNFILTERED, EntityFilter
from billing.reports.sessions.session_rows import Totals
from billing.reports.sessions.summary import SessionSummary, TopSession, get_session_summary
from costtrack.admin_site import register_page
from costtrack.calendar import Window
from costtrack.clock import DAY
from costtrack.date_text import day_text
from costtrack.errors import InvalidError, NotFoundError
from costtrack.file_columns import Kind, computed
from costtrack.money import usd
from organizations.models import Organization

SESSIONS, EXECUTIONS = "sessions", "executions"
FINISHED, OPEN = "finished", "open"
_STATES = (("", "Any state"), (FINISHED, "Finished"), (OPEN, "Not finished"))
_EARLIEST, _LATEST = 2000, 2199  # years
_TABS = ((SESSIONS, "Sessions"), (EXECUTIONS, "Executions"))
PAGE_SIZE = 50


class SessionsForm(forms.Form):
    """Filters of the list, with the names of the API. `find` is the id of a session or an execution, to whose page it
    redirects; `show` is the current tab."""

    show = forms.CharField(required=False, widget=forms.HiddenInput)
    find = text_filter("Find by id", type="search", placeholder="A session or execution")
    start_date = forms.DateField(required=False, label="Started from", widget=forms.DateInput(attrs={"type": "date"}))
    end_date = forms.DateField(required=False, label="Started until", widget=forms.DateInput(attrs={"type": "date"}))
    state = FilterChoiceField(required=False, choices=_STATES, label="State")
    workflow_id = text_filter("Workflow", type="search", placeholder="All")
    user_id = text_filter("User", type="search", placeholder="All")
    team = text_filter("Team", type="search", placeholder="All")
    end_user = text_filter("End user", type="search", placeholder="All")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        start, end = cleaned.get("start_date"), cleaned.get("end_date")
        for name, day in (("start_date", start), ("end_date", end)):
            if day is not None and not _EARLIEST <= day.year <= _LATEST:
                self.add_error(name, f"Enter a year from {_EARLIEST} to {_LATEST}.")
        if start is not None and end is not None and end < start:
            self.add_error("end_date", "The end must be after the start.")
        return cleaned

    def filters(self, organization: Organization) -> EntityFilter:
        """Return the filters; the form must be valid."""
        cleaned, calendar = self.cleaned_data, organization.calendar
        start, end = cleaned["start_date"], cleaned["end_date"]
        return EntityFilter(
            window=Window(
                calendar.start_of(start) if start is not None else None,
                calendar.start_of(end + DAY) if end is not None else None,
            ),
            workflow_id=cleaned["workflow_id"],
            user_id=organization.user_name(cleaned["user_id"]),
            team=cleaned["team"],
            end_user=cleaned["end_user"],
            is_finished={FINISHED: True, OPEN: False}.get(cleaned["state"]),
        )

    @property
    def basic_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("find", "start_date", "end_date", "state")]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("workflow_id", "user_id", "team", "end_user")]

    @property
    def has_more_filters(self) -> bool:
        return any(field.value() for field in self.more_fields)


class SessionsPage(TableFilesPage):
    title = "Sessions & executions"
    template_name = "admin/dashboard/sessions.html"
    stylesheets = ("costtrack/sessions.css",)
    form: SessionsForm

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.form = SessionsForm(request.GET)
        searched_id = self.form.cleaned_data.get("find", "") if self.form.is_valid() else ""
        if searched_id:
            url = self._url_of(searched_id)
            if url:
                return HttpResponseRedirect(url)
            self.form.add_error("find", "No session or execution has this id.")
        return super().get(request, *args, **kwargs)

    def page_context(self) -> dict[str, Any]:
        trail = CursorTrail.of(self.request.GET)
        position = start_position_of(trail.cursor, param="after")
        # An id that was not found is an error of the form, too.
        filters = self.form.filters(self.organization) if set(self.form.errors) <= {"find"} else None
        table, last = (
            self._executions(filters, position) if self._shown == EXECUTIONS else self._sessions(filters, position)
        )
        # Only on the first page, and of everything.
        summary = self._summary() if trail.is_first and filters == UNFILTERED else None
        return {
            "form": self.form,
            "tabs": [(label, url_with(self.request, show=name, find=""), name == self._shown) for name, label in _TABS],
            "table": table,
            "files": file_links(self, "sessions_file"),
            "trail": trail,
            "older": trail.older(cursor_of(last)) if last is not None else "",
            "figures": _figures(summary) if summary is not None else [],
            "breakdowns": self._breakdowns(summary) if summary is not None and table.rows else [],
            "empty": self._empty_state(filters, trail, last),
        }

    def _summary(self) -> SessionSummary:
        return get_session_summary(organization=self.organization, since=self.plan_rights.history_start(self.now))

    def _empty_state(self, filters: EntityFilter | None, trail: CursorTrail, last: StartPosition | None) -> EmptyState:
        if filters is None:
            return INVALID_FILTERS
        if last is not None:
            further = [("Search further back", f"{self.request.path}{trail.older(cursor_of(last))}")]
            searched = f"Searched back to {day_text(self.organization.calendar.date_of(last.at))}."
            return EmptyState("search", "No matches yet", searched, further, is_first_use=True)
        if filters != UNFILTERED:
            text = "Names must match exactly. Choose a longer period or fewer filters."
            clear = [("Clear filters", admin_url("sessions", show=self._shown))]
            return EmptyState("search_off", f"No matching {self._shown}", text, clear)
        return _empty_state(self._shown, is_first=trail.is_first)

    def _visible(self, filters: EntityFilter) -> EntityFilter:
        """Clip the filters to the plan's history. Raises ForbiddenError if nothing of their window is visible."""
        return replace(filters, window=self.plan_rights.visible(filters.window, now=self.now))

    @property
    def _shown(self) -> str:
        return EXECUTIONS if self.request.GET.get("show") == EXECUTIONS else SESSIONS

    def _url_of(self, searched_id: str) -> str:
        """Return the page of the session or execution with this id, the current tab first; empty if there is none."""
        organization = self.organization
        lookups: list[tuple[Callable[[], object], Callable[[str], str]]] = [
            (partial(get_session_costs, organization=organization, session_id=searched_id), session_url),
            (partial(get_execution_costs, organization=organization, execution_id=searched_id), execution_url),
        ]
        for get_costs, url in reversed(lookups) if self._shown == EXECUTIONS else lookups:
            with suppress(NotFoundError):
                get_costs()
                return url(searched_id)
        return ""

    def _sessions(
        self, filters: EntityFilter | None, after: StartPosition | None
    ) -> tuple[Table[SessionCosts], StartPosition | None]:
        page: Page[SessionCosts, StartPosition] = Page((), None)
        if filters is not None:
            visible = self._visible(filters)
            page = list_sessions(organization=self.organization, filters=visible, after=after, limit=PAGE_SIZE)
        columns = (
            Column[SessionCosts]("Session", _session_name),
            _COST,
            Column[SessionCosts](
                "Part of",
                lambda row: formatting.two_lines(row.workflow_id or "-", joined((row.phase_id, row.agent_id))),
                css="ct-about",
            ),
            *_columns(self.times),
        )
        return Table(_title(SESSIONS, after), columns, page.rows, css="ct-session-table"), page.last

    def _executions(
        self, filters: EntityFilter | None, after: StartPosition | None
    ) -> tuple[Table[ExecutionCosts], StartPosition | None]:
        page: Page[ExecutionCosts, StartPosition] = Page((), None)
        if filters is not None:
            visible = self._visible(filters)
            page = list_executions(organization=self.organization, filters=visible, after=after, limit=PAGE_SIZE)
        columns = (
            Column[ExecutionCosts](
                "Execution", lambda row: _short_link(execution_url(row.execution_id), row.execution_id)
            ),
            _COST,
            Column[ExecutionCosts]("Workflow", lambda row: row.workflow_id or "-", css="ct-about"),
            Column[ExecutionCosts]("Sessions", lambda row: formatting.count(len(row.session_ids)), is_number=True),
            *_columns(self.times),
        )
        return Table(_title(EXECUTIONS, after), columns, page.rows, css="ct-session-table"), page.last

    def _breakdowns(self, summary: SessionSummary) -> list[Card]:
        models = share_table(
            "Most expensive models",
            "Model",
            dict(summary.top_models),
            total=summary.totals.token_cost_usd,
            file=self.table_file("most-expensive-models", _TOP_MODEL_COLUMNS, lambda: summary.top_models),
        )
        file = self.table_file("most-expensive-sessions", _TOP_SESSION_COLUMNS, lambda: summary.top_sessions)
        sessions = Table("Most expensive sessions", _TOP_SESSIONS, summary.top_sessions, file=file)
        return [Card(table.title, table=table) for table in (models, sessions)]


class SessionsFilePage(FileView):
    def file_query(self) -> FileQuery:
        form = SessionsForm(self.request.GET)
        if not form.is_valid():
            raise InvalidError(INVALID_FILTERS.title)
        filters = form.filters(self.organization)
        filters = replace(filters, window=self.plan_rights.visible(filters.window, now=self.now))
        return (ExecutionsFile if form.cleaned_data["show"] == EXECUTIONS else SessionsFile).of(filters)


register_page("files/sessions/", SessionsFilePage.as_view(), name="sessions_file")


def _title(shown: str, after: StartPosition | None) -> str:
    return f"The newest {shown}" if after is None else f"Earlier {shown}"


def _columns(times: LocalTimes) -> tuple[Column[Any], ...]:
    """Return the columns that sessions and executions have in common."""
    return (
        Column[Any]("State", lambda row: state_of(row, times.now)),
        Column[Any]("Started", lambda row: times.two_lines(row.started_at), css="ct-when"),
        Column[Any]("Last seen", lambda row: times.two_lines(row.last_seen_at), css="ct-when"),
        Column[Any]("Calls", lambda row: _calls(row.totals), is_number=True),
        Column[Any]("Tokens", lambda row: formatting.count(row.totals.tokens), is_number=True),
    )


def _calls(totals: Totals) -> SafeString:
    took = length(totals.duration_ms)
    return formatting.two_lines(
        f"{formatting.count(totals.turns)} model, {formatting.count(totals.tool_calls)} tool",
        f"took {took}" if took != formatting.NOTHING else "",
    )


def _cost(totals: Totals) -> SafeString:
    unpriced = f"{formatting.count(totals.unpriced_events)} unpriced" if totals.unpriced_events else ""
    cost = formatting.cost(totals.cost_usd, totals.unpriced_events)
    return formatting.two_lines(formatting.strong(cost), unpriced)


# The second column, because the last ones are off the screen of a phone.
_COST = Column[Any]("Cost", lambda row: _cost(row.totals), is_number=True)


def _session_name(row: SessionCosts) -> SafeString:
    name = _short_link(session_url(row.session_id), row.session_id)
    if not row.execution_id:
        return name
    execution = formatting.id_link(execution_url(row.execution_id), row.execution_id)
    return format_html('{}<small class="ct-faint ct-of-execution">of {}</small>', name, execution)


def _short_link(url: str, text: str) -> SafeString:
    return format_html('<a class="ct-link ct-cut" title="{1}" href="{0}">{1}</a>', url, text)


def _figures(summary: SessionSummary) -> list[Figure]:
    totals = summary.totals
    tokens = f"{formatting.count(totals.input_tokens)} in, {formatting.count(totals.output_tokens)} out, without caches"
    return [
        Figure("Cost of all sessions", usd(totals.cost_usd), (cost_parts(totals), unpriced_link(totals))),
        Figure("Sessions", formatting.count(summary.sessions)),
        Figure("Executions", formatting.count(summary.executions)),
        Figure("Tokens", formatting.count(totals.tokens), (tokens,)),
        Figure("Tool calls", formatting.count(totals.tool_calls)),
    ]


_TOP_SESSIONS = (
    Column[TopSession]("Session", lambda row: formatting.id_link(session_url(row.session_id), row.session_id)),
    Column[TopSession]("Tokens", lambda row: formatting.count(row.tokens), is_number=True),
    Column[TopSession]("Cost", lambda row: usd(row.cost_usd), is_number=True),
)
_TOP_SESSION_COLUMNS = (
    *computed(Kind.TEXT, session_id=lambda row: row.session_id),
    *computed(Kind.COUNT, tokens=lambda row: row.tokens),
    *computed(Kind.AMOUNT, cost_usd=lambda row: row.cost_usd),
)
_TOP_MODEL_COLUMNS = (
    *computed(Kind.TEXT, model=lambda row: row[0]),
    *computed(Kind.AMOUNT, cost_usd=lambda row: row[1]),
)


_SESSION_EXAMPLE = (
    '{"session_id": "session-1", "execution_id": "execution-1", "phase_id": "research", "model": "gpt-4.1", '
    '"input_tokens": 1200}'
)
_EXECUTION_EXAMPLE = (
    '{"execution_id": "execution-1", "session_id": "session-1", "workflow_id": "report", "model": "gpt-4.1", '
    '"input_tokens": 1200}'
)


def _empty_state(shown: str, *, is_first: bool) -> EmptyState:
    if not is_first:
        newest = [(f"The newest {shown}", admin_url("sessions", show=shown))]
        return EmptyState("forum", "The list ends here", links=newest)
    if shown == SESSIONS:
        about = "A session is one agent in one phase. It appears when the first event with its session_id arrives:"
        example = _SESSION_EXAMPLE
    else:
        about = (
            "An execution is one run of a workflow and has sessions. It appears when the first event with its "
            "execution_id and a session_id arrives:"
        )
        example = _EXECUTION_EXAMPLE
    start = [("Send events", admin_url("getting_started"))]
    return EmptyState("forum", f"No {shown} yet", about, start, is_first_use=True, example=example)


register_page("sessions/", SessionsPage.as_view(), name="sessions")
