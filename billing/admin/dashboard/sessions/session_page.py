"""One session: what it cost, by model and by tool, in the course of time, and call by call (document 003)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import cursors, datetimes, formatting
from billing.admin.components.charts import Chart, Line
from billing.admin.components.formatting import Fact
from billing.admin.components.path_converters import DetailPage
from billing.admin.dashboard.sessions.session_text import (
    execution_url,
    figures_of,
    joined,
    length,
    shares,
    state_of,
    when,
)
from billing.reports.event_list import Position
from billing.reports.sessions.calls import Call, Part, calls_of_session, spent_over_time
from billing.reports.sessions.lists import SessionCosts, costs_of_session
from billing.types import EventKind, Status
from costtrack.admin_site import register_page
from costtrack.calendar import Calendar
from costtrack.money import ZERO, usd

PAGE_SIZE = 50
# Of the chart: the shortest step with which there are no more than so many parts.
_MAX_PARTS = 48
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_STEPS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
)


@dataclass(frozen=True, slots=True)
class CallRow:
    url: str
    when: SafeString
    kind: str
    called: str
    phase: str
    tokens: str
    cache: str
    took: str
    cost: str
    has_failed: bool


@dataclass(frozen=True, slots=True)
class ToolTokens:
    """`cost` is empty where it is not known."""

    tool: str
    tokens: str
    cost: str


class SessionPage(DetailPage):
    title = "Session"
    template_name = "admin/dashboard/session.html"
    tab: ClassVar[str] = "sessions"

    def page_context(self) -> dict[str, Any]:
        session_id: str = self.kwargs["session_id"]
        after = cursors.parse_uuid_cursor(self.request.GET.get("after", ""))
        session = costs_of_session(organization=self.organization, session_id=session_id)
        calls = calls_of_session(
            organization=self.organization,
            session_id=session_id,
            after=None if after is None else Position(*after),
            limit=PAGE_SIZE,
        )
        return {
            "subtitle": session_id,
            "as_of": datetimes.exact(self.now, self.organization.calendar),
            "session": session,
            "figures": figures_of(session.totals),
            "facts": self._facts(session),
            "state": self._state(session),
            "by_model": shares(session.cost_by_model),
            "by_tool": shares(session.cost_by_tool),
            "tool_tokens": _tool_tokens(session),
            **self._timeline(session),
            "zone": self.organization.time_zone,
            "calls": [self._row(call) for call in calls.calls],
            "newest_url": self.request.path if after is not None else "",
            "older_url": self._older(calls.last),
        }

    def _older(self, last: Position | None) -> str:
        if last is None:
            return ""
        return f"{self.request.path}?{urlencode({'after': cursors.as_text(last.occurred_at, last.id)})}"

    def _state(self, session: SessionCosts) -> SafeString:
        return state_of(
            is_finalized=session.is_finalized,
            last_seen_at=session.last_seen_at,
            now=self.now,
            finalized="Finalized",
        )

    def _facts(self, session: SessionCosts) -> list[Fact]:
        calendar, execution = self.organization.calendar, session.execution_id
        return formatting.present(
            (
                ("Execution", formatting.link(execution_url(execution), execution) if execution else ""),
                ("Workflow", session.workflow_id),
                ("Phase", session.phase_id),
                ("Workspace", session.workspace_id),
                ("Agent", session.agent_id),
                ("Started", datetimes.inline(session.started_at, calendar=calendar, now=self.now)),
                ("Last seen", datetimes.inline(session.last_seen_at, calendar=calendar, now=self.now)),
                (
                    "Finalized",
                    datetimes.inline(session.completed_at, calendar=calendar, now=self.now)
                    if session.completed_at is not None
                    else "",
                ),
            )
        )

    def _timeline(self, session: SessionCosts) -> dict[str, Any]:
        """The chart, and how much of the cost is not in it, because the single events were dropped."""
        step = _step_of(session.last_seen_at - session.started_at)
        origin = session.started_at.replace(microsecond=0)
        parts = spent_over_time(organization=self.organization, session_id=session.session_id, origin=origin, step=step)
        charted = sum((part.token_cost_usd + part.compute_cost_usd for part in parts), ZERO)
        missing = session.totals.cost_usd - charted
        return {
            "chart": _chart(session, parts, step, self.organization.calendar),
            "not_charted": usd(missing) if missing > 0 else "",
        }

    def _row(self, call: Call) -> CallRow:
        return CallRow(
            url=reverse("admin:billing_usageevent_change", args=[call.id]),
            when=when(call.occurred_at, calendar=self.organization.calendar, now=self.now),
            kind=EventKind(call.kind).label,
            called=joined((call.service, call.model, call.tool)),
            phase=call.phase_id,
            tokens=_tokens(call),
            cache=f"{formatting.count(call.cache_tokens)} cached" if call.cache_tokens else "",
            took=length(call.duration_ms or ZERO),
            cost=usd(call.cost_usd) if call.cost_usd is not None else "",
            has_failed=call.status == Status.FAILURE.value,
        )


def _tokens(call: Call) -> str:
    """A summary's are differences, and may be below zero."""
    if call.input_tokens or call.output_tokens:
        return f"{formatting.count(call.input_tokens)} in, {formatting.count(call.output_tokens)} out"
    return f"{formatting.count(call.tool_tokens)} of the tool" if call.tool_tokens else formatting.NOTHING


def _tool_tokens(session: SessionCosts) -> list[ToolTokens]:
    """The most first."""
    most = sorted(session.tokens_by_tool.items(), key=lambda item: (-item[1], item[0]))
    costs = session.cost_by_tool_tokens
    return [
        ToolTokens(tool, formatting.count(tokens), usd(costs[tool]) if tool in costs else "") for tool, tokens in most
    ]


def _step_of(span: timedelta) -> timedelta:
    """The length of one part of the chart."""
    for step in _STEPS:
        if span / step < _MAX_PARTS:
            return step
    return _DAY * -(-span // (_DAY * _MAX_PARTS))


def _chart(session: SessionCosts, parts: list[Part], step: timedelta, calendar: Calendar) -> Chart | None:
    """None for a session of one instant, which has no course."""
    origin, span = session.started_at.replace(microsecond=0), session.last_seen_at - session.started_at
    if not span or not parts:
        return None
    number = (session.last_seen_at - origin) // step + 1
    tokens, compute = [ZERO] * number, [ZERO] * number
    for part in parts:
        # What came in between the two questions belongs to the end.
        place = min(max((part.began_at - origin) // step, 0), number - 1)
        tokens[place] += part.token_cost_usd
        compute[place] += part.compute_cost_usd
    return Chart(
        "Cost in the course of the session",
        _labels([origin + step * place for place in range(number)], calendar),
        [_line("Models", tokens), _line("Tools and compute", compute)],
        "usd",
    )


def _labels(instants: Sequence[datetime], calendar: Calendar) -> list[str]:
    """As the organization's clocks show them, with no more than tells them apart."""
    span, step = instants[-1] - instants[0], instants[-1] - instants[-2] if len(instants) > 1 else _DAY
    style = "%Y-%m-%d %H:%M" if span >= _DAY else "%H:%M" if step >= _MINUTE else "%H:%M:%S"
    return [f"{instant.astimezone(calendar.zone):{style}}" for instant in instants]


def _line(name: str, amounts: list[Decimal]) -> Line:
    return Line(name, [float(amount) for amount in amounts], [usd(amount) for amount in amounts])


register_page("sessions/s/<opaque_id:session_id>/", SessionPage.as_view(), name="session")
