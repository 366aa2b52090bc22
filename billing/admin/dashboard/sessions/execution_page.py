"""The page of an execution: cost by phase, session, model and tool, and a timeline of its sessions (document 003)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, Detail, without_empty
from billing.admin.components.path_converters import DetailPage
from billing.admin.components.table_files import TableFilesPage
from billing.admin.components.tables import Table, TableFile
from billing.admin.components.urls import session_url
from billing.admin.dashboard.sessions.session_text import (
    NamedAmount,
    amount_columns,
    between,
    figures_of,
    joined,
    share_table,
    state_of,
)
from billing.reports.sessions.executions import ExecutionCosts, get_execution_costs
from billing.reports.sessions.lists import SessionCosts, list_execution_sessions
from costtrack.admin_site import register_page
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


class ExecutionPage(TableFilesPage, DetailPage):
    title = "Execution"
    template_name = "admin/dashboard/execution.html"
    stylesheets = ("costtrack/sessions.css",)
    tab: ClassVar[str] = "executions"

    def page_context(self) -> dict[str, Any]:
        execution_id: str = self.kwargs["execution_id"]
        execution = get_execution_costs(organization=self.organization, execution_id=execution_id)
        self.plan_rights.check_visible(execution.started_at, now=self.now)
        sessions = list_execution_sessions(
            organization=self.organization, execution_id=execution_id, limit=MAX_SESSIONS
        ).rows
        return {
            "subtitle": execution_id,
            "execution": execution,
            "figures": figures_of(execution.totals, sessions=formatting.count(len(execution.session_ids))),
            "sessions": formatting.count(len(execution.session_ids)),
            "shown": formatting.count(len(sessions)) if len(execution.session_ids) > len(sessions) else "",
            "details": self._details(execution),
            "state": state_of(execution, self.now),
            "breakdowns": [Card(table.title, table=table) for table in self._breakdowns(execution, sessions)],
            "timeline": self._timeline(sessions),
        }

    def _details(self, execution: ExecutionCosts) -> list[Detail]:
        return without_empty(
            (
                ("Workflow", execution.workflow_id),
                ("Started", self.times.inline(execution.started_at)),
                ("Last seen", self.times.inline(execution.last_seen_at)),
                (
                    "Complete" if execution.is_complete else "Last finalized",
                    self.times.inline(execution.completed_at),
                ),
            )
        )

    def _breakdowns(self, execution: ExecutionCosts, sessions: Sequence[SessionCosts]) -> list[Table[NamedAmount]]:
        total = execution.totals.cost_usd
        by_session = {session.session_id: session.totals.cost_usd for session in sessions}
        tables: tuple[tuple[str, str, Mapping[str, Decimal], Any], ...] = (
            ("Cost by phase", "Phase", execution.cost_by_phase, {"total": total}),
            ("Cost by session", "Session", by_session, {"total": total, "url": session_url}),
            ("Token cost by model", "Model", execution.cost_by_model, {}),
            ("Compute cost by tool", "Tool", execution.cost_by_tool, {}),
        )
        return [
            share_table(title, name, amounts, **options, file=self._amounts_file(title, name, amounts))
            for title, name, amounts, options in tables
        ]

    def _amounts_file(self, title: str, name: str, amounts: Mapping[str, Decimal]) -> TableFile[NamedAmount]:
        return self.table_file(title.lower().replace(" ", "-"), amount_columns(name.lower()), amounts.items)

    def _timeline(self, sessions: Sequence[SessionCosts]) -> dict[str, Any] | None:
        if not sessions:
            return None
        start = min(session.started_at for session in sessions)
        end = max(session.last_seen_at for session in sessions)
        return {
            "bars": [self._bar(session, start, end - start) for session in sessions],
            "start": self.times.recorded(start),
            "end": self.times.recorded(end),
            "took": between(start, end),
        }

    def _bar(self, session: SessionCosts, start: datetime, span: timedelta) -> Bar:
        before, lasted = session.started_at - start, session.last_seen_at - session.started_at
        # A minimum width keeps very short sessions visible, also at the right end.
        width = max(_percent(lasted, span), _THINNEST) if span else _HUNDRED
        return Bar(
            id=session.session_id,
            url=session_url(session.session_id),
            about=joined((session.phase_id, session.agent_id)),
            began=self.times.recorded(session.started_at),
            took=between(session.started_at, session.last_seen_at),
            cost=usd(session.totals.cost_usd),
            state=state_of(session, self.now),
            x=f"{min(_percent(before, span), _HUNDRED - width):.3f}",
            width=f"{width:.3f}",
        )


def _percent(duration: timedelta, total: timedelta) -> Decimal:
    return Decimal(duration / total) * _HUNDRED if total else Decimal(0)


register_page("executions/<opaque_id:execution_id>/", ExecutionPage.as_view(), name="execution")
