"""The page of an execution: cost by phase, session, model and tool, and a timeline of its sessions (document 003)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.formatting import Detail
from billing.admin.components.path_converters import DetailPage
from billing.admin.dashboard.sessions.session_text import (
    NamedShare,
    between,
    figures_of,
    joined,
    session_url,
    shares,
    state_of,
)
from billing.reports.sessions.executions import ExecutionCosts, get_execution_costs
from billing.reports.sessions.lists import SessionCosts, list_execution_sessions
from costtrack.admin_site import register_page
from costtrack.calendar import Calendar
from costtrack.money import usd

# An execution may have any number of sessions; the first ones are shown.
MAX_SESSIONS = 200
_THINNEST = Decimal("0.5")
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Bar:
    """A session in the timeline. `x` and `width` are percentages for SVG attributes."""

    id: str
    url: str
    about: str
    began: str
    took: str
    cost: str
    state: SafeString
    x: str
    width: str


class ExecutionPage(DetailPage):
    title = "Execution"
    template_name = "admin/dashboard/execution.html"
    tab: ClassVar[str] = "executions"

    def page_context(self) -> dict[str, Any]:
        execution_id: str = self.kwargs["execution_id"]
        execution = get_execution_costs(organization=self.organization, execution_id=execution_id)
        sessions = list_execution_sessions(
            organization=self.organization, execution_id=execution_id, limit=MAX_SESSIONS
        )
        return {
            "subtitle": execution_id,
            "as_of": datetimes.exact(self.now, self.organization.calendar),
            "execution": execution,
            "figures": figures_of(execution.totals),
            "sessions": formatting.count(len(execution.session_ids)),
            "shown": formatting.count(len(sessions)) if len(execution.session_ids) > len(sessions) else "",
            "details": self._details(execution),
            "state": state_of(
                is_finalized=execution.is_complete,
                last_seen_at=execution.last_seen_at,
                now=self.now,
                finalized="Complete",
            ),
            "breakdowns": [
                ("Cost by phase", "Phase", shares(execution.cost_by_phase, total=execution.totals.cost_usd)),
                ("Cost by session", "Session", _by_session(execution, sessions)),
                ("Token cost by model", "Model", shares(execution.cost_by_model)),
                ("Compute cost by tool", "Tool", shares(execution.cost_by_tool)),
            ],
            "timeline": self._timeline(sessions),
        }

    def _details(self, execution: ExecutionCosts) -> list[Detail]:
        instants = (
            ("Started", execution.started_at),
            ("Last seen", execution.last_seen_at),
            ("Complete" if execution.is_complete else "Last finalized", execution.completed_at),
        )
        calendar = self.organization.calendar
        return formatting.without_empty(
            (
                ("Workflow", execution.workflow_id),
                *(
                    (label, datetimes.inline(instant, calendar=calendar, now=self.now) if instant is not None else "")
                    for label, instant in instants
                ),
            )
        )

    def _timeline(self, sessions: Sequence[SessionCosts]) -> dict[str, Any] | None:
        if not sessions:
            return None
        calendar = self.organization.calendar
        start = min(session.started_at for session in sessions)
        end = max(session.last_seen_at for session in sessions)
        return {
            "bars": [self._bar(session, start, end - start, calendar) for session in sessions],
            "start": datetimes.exact(start, calendar),
            "end": datetimes.exact(end, calendar),
            "took": between(start, end),
        }

    def _bar(self, session: SessionCosts, start: datetime, span: timedelta, calendar: Calendar) -> Bar:
        before, lasted = session.started_at - start, session.last_seen_at - session.started_at
        # A minimum width keeps very short sessions visible, also at the right end.
        width = max(_percent(lasted, span), _THINNEST) if span else _HUNDRED
        return Bar(
            id=session.session_id,
            url=session_url(session.session_id),
            about=joined((session.phase_id, session.agent_id)),
            began=datetimes.exact(session.started_at, calendar),
            took=between(session.started_at, session.last_seen_at),
            cost=usd(session.totals.cost_usd),
            state=state_of(
                is_finalized=session.is_finalized,
                last_seen_at=session.last_seen_at,
                now=self.now,
                finalized="Finalized",
            ),
            x=f"{min(_percent(before, span), _HUNDRED - width):.3f}",
            width=f"{width:.3f}",
        )


def _percent(duration: timedelta, total: timedelta) -> Decimal:
    return Decimal(duration / total) * _HUNDRED if total else Decimal(0)


def _by_session(execution: ExecutionCosts, sessions: Sequence[SessionCosts]) -> list[NamedShare]:
    amounts = {session.session_id: session.totals.cost_usd for session in sessions}
    urls = {session_id: session_url(session_id) for session_id in amounts}
    return shares(amounts, total=execution.totals.cost_usd, urls=urls)


register_page("executions/<opaque_id:execution_id>/", ExecutionPage.as_view(), name="execution")
