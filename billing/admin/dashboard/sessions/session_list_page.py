"""The sessions page: the newest sessions and executions with their costs, and a summary of all (document 003)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.dashboard.sessions.session_text import (
    Figures,
    execution_url,
    figures_of,
    joined,
    session_url,
    shares,
    state_of,
    when,
)
from billing.reports.cursors import StartPosition, cursor_of, start_position_of
from billing.reports.sessions.executions import ExecutionCosts, get_execution_costs, list_executions
from billing.reports.sessions.lists import SessionCosts, get_session_costs, list_sessions
from billing.reports.sessions.summary import SessionSummary, get_session_summary
from costtrack.admin_site import register_page
from costtrack.errors import NotFoundError
from costtrack.money import usd

SESSIONS, EXECUTIONS = "sessions", "executions"
_TABS = ((SESSIONS, "Sessions"), (EXECUTIONS, "Executions"))
PAGE_SIZE = 50
_MAX_ID_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Row:
    """A session or an execution. `about` is its workflow and `detail` a session's phase and agent. Only sessions have
    an `execution_id`; only executions have a number of `sessions`."""

    id: str
    url: str
    about: str
    detail: str
    started: SafeString | str
    last_seen: SafeString | str
    figures: Figures
    state: SafeString
    execution_id: str = ""
    execution_url: str = ""
    sessions: str = ""


class SessionsForm(forms.Form):
    """Finds a session or an execution by its id and redirects to its page."""

    find = forms.CharField(
        required=False,
        max_length=_MAX_ID_LENGTH,
        label="Find by id",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "A session or execution"}),
    )


class SessionsPage(OrganizationPage):
    title = "Sessions & executions"
    template_name = "admin/dashboard/sessions.html"
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
        position = start_position_of(self.request.GET.get("after", ""), param="after")
        rows, last = self._executions(position) if self._shown == EXECUTIONS else self._sessions(position)
        return {
            "form": self.form,
            "as_of": datetimes.exact(self.now, self.organization.calendar),
            "shown": self._shown,
            "zone": self.organization.time_zone,
            "tabs": [(name, label, self._link(name), name == self._shown) for name, label in _TABS],
            "rows": rows,
            "newest_url": self._link(self._shown) if position is not None else "",
            "older_url": self._link(self._shown, last) if last is not None else "",
            # Only on the first page.
            "summary": _summary(get_session_summary(organization=self.organization)) if position is None else None,
        }

    @property
    def _shown(self) -> str:
        return EXECUTIONS if self.request.GET.get("show") == EXECUTIONS else SESSIONS

    def _link(self, tab: str, after: StartPosition | None = None) -> str:
        query = {"show": tab}
        if after is not None:
            query["after"] = cursor_of(after)
        return f"{self.request.path}?{urlencode(query)}"

    def _url_of(self, searched_id: str) -> str:
        """Return the page of the session or execution with this id, the current tab first; empty if there is none."""
        organization = self.organization
        lookups: list[tuple[Callable[[], object], Callable[[str], str]]] = [
            (lambda: get_session_costs(organization=organization, session_id=searched_id), session_url),
            (lambda: get_execution_costs(organization=organization, execution_id=searched_id), execution_url),
        ]
        for look_up, url in reversed(lookups) if self._shown == EXECUTIONS else lookups:
            try:
                look_up()
            except NotFoundError:
                continue
            return url(searched_id)
        return ""

    def _sessions(self, after: StartPosition | None) -> tuple[list[Row], StartPosition | None]:
        page = list_sessions(organization=self.organization, after=after, limit=PAGE_SIZE)
        return [self._session(session) for session in page.rows], page.last

    def _executions(self, after: StartPosition | None) -> tuple[list[Row], StartPosition | None]:
        page = list_executions(organization=self.organization, after=after, limit=PAGE_SIZE)
        return [self._execution(execution) for execution in page.rows], page.last

    def _session(self, session: SessionCosts) -> Row:
        calendar = self.organization.calendar
        return Row(
            id=session.session_id,
            url=session_url(session.session_id),
            about=session.workflow_id,
            detail=joined((session.phase_id, session.agent_id)),
            started=when(session.started_at, calendar=calendar, now=self.now),
            last_seen=when(session.last_seen_at, calendar=calendar, now=self.now),
            figures=figures_of(session.totals),
            state=state_of(
                is_finalized=session.is_finalized,
                last_seen_at=session.last_seen_at,
                now=self.now,
                finalized="Finalized",
            ),
            execution_id=session.execution_id,
            execution_url=execution_url(session.execution_id),
        )

    def _execution(self, execution: ExecutionCosts) -> Row:
        calendar = self.organization.calendar
        started, last_seen = (
            formatting.NOTHING if instant is None else when(instant, calendar=calendar, now=self.now)
            for instant in (execution.started_at, execution.last_seen_at)
        )
        return Row(
            id=execution.execution_id,
            url=execution_url(execution.execution_id),
            about=execution.workflow_id,
            detail="",
            started=started,
            last_seen=last_seen,
            figures=figures_of(execution.totals),
            state=state_of(
                is_finalized=execution.is_complete,
                last_seen_at=execution.last_seen_at,
                now=self.now,
                finalized="Complete",
            ),
            sessions=formatting.count(len(execution.session_ids)),
        )


def _summary(summary: SessionSummary) -> dict[str, Any]:
    return {
        "figures": figures_of(summary.totals),
        "sessions": formatting.count(summary.sessions),
        "executions": formatting.count(summary.executions),
        "models": shares(dict(summary.top_models), total=summary.totals.token_cost_usd),
        "top_sessions": [
            (
                session.session_id,
                session_url(session.session_id),
                formatting.count(session.tokens),
                usd(session.cost_usd),
            )
            for session in summary.top_sessions
        ],
    }


register_page("sessions/", SessionsPage.as_view(), name="sessions")
