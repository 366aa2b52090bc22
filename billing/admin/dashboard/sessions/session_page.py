"""The page of a session: cost by model and tool, a timeline, and its calls (document 003)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.charts import Chart, Line
from billing.admin.components.formatting import Detail
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
from billing.reports.cursors import Position, cursor_of, position_of
from billing.reports.sessions.calls import Call, SpendBucket, list_session_calls, list_spend_buckets
from billing.reports.sessions.lists import SessionCosts, get_session_costs
from billing.types import EventKind, Status
from costtrack.admin_site import register_page
from costtrack.calendar import Calendar
from costtrack.money import ZERO, usd

PAGE_SIZE = 50
# The chart uses the shortest step with at most this many buckets.
_MAX_BUCKETS = 48
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
    """`cost` is empty if it is not known."""

    tool: str
    tokens: str
    cost: str


class SessionPage(DetailPage):
    title = "Session"
    template_name = "admin/dashboard/session.html"
    tab: ClassVar[str] = "sessions"

    def page_context(self) -> dict[str, Any]:
        session_id: str = self.kwargs["session_id"]
        after = position_of(self.request.GET.get("after", ""), param="after")
        session = get_session_costs(organization=self.organization, session_id=session_id)
        calls = list_session_calls(
            organization=self.organization,
            session_id=session_id,
            after=after,
            limit=PAGE_SIZE,
        )
        return {
            "subtitle": session_id,
            "as_of": datetimes.exact(self.now, self.organization.calendar),
            "session": session,
            "figures": figures_of(session.totals),
            "details": self._details(session),
            "state": self._state(session),
            "by_model": shares(session.cost_by_model),
            "by_tool": shares(session.cost_by_tool),
            "tool_tokens": _tool_tokens(session),
            **self._timeline(session),
            "zone": self.organization.time_zone,
            "calls": [self._row(call) for call in calls.rows],
            "newest_url": self.request.path if after is not None else "",
            "older_url": self._older(calls.last),
        }

    def _older(self, last: Position | None) -> str:
        if last is None:
            return ""
        return f"{self.request.path}?{urlencode({'after': cursor_of(last)})}"

    def _state(self, session: SessionCosts) -> SafeString:
        return state_of(
            is_finalized=session.is_finalized,
            last_seen_at=session.last_seen_at,
            now=self.now,
            finalized="Finalized",
        )

    def _details(self, session: SessionCosts) -> list[Detail]:
        calendar, execution = self.organization.calendar, session.execution_id
        return formatting.without_empty(
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
        """Return the chart, and the cost that it lacks because events are no longer stored individually."""
        step = _step_of(session.last_seen_at - session.started_at)
        origin = session.started_at.replace(microsecond=0)
        buckets = list_spend_buckets(
            organization=self.organization, session_id=session.session_id, origin=origin, step=step
        )
        charted = sum((bucket.token_cost_usd + bucket.compute_cost_usd for bucket in buckets), ZERO)
        missing = session.totals.cost_usd - charted
        return {
            "chart": _chart(session, buckets, step, self.organization.calendar),
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
    """Format a call's tokens. Those of a session summary are differences and may be negative."""
    if call.input_tokens or call.output_tokens:
        return f"{formatting.count(call.input_tokens)} in, {formatting.count(call.output_tokens)} out"
    return f"{formatting.count(call.tool_tokens)} of the tool" if call.tool_tokens else formatting.NOTHING


def _tool_tokens(session: SessionCosts) -> list[ToolTokens]:
    """Return the tokens by tool in descending order."""
    ranked = sorted(session.tokens_by_tool.items(), key=lambda item: (-item[1], item[0]))
    costs = session.cost_by_tool_tokens
    return [
        ToolTokens(tool, formatting.count(tokens), usd(costs[tool]) if tool in costs else "") for tool, tokens in ranked
    ]


def _step_of(span: timedelta) -> timedelta:
    """Return the length of a bucket of the chart."""
    for step in _STEPS:
        if span / step < _MAX_BUCKETS:
            return step
    return _DAY * -(-span // (_DAY * _MAX_BUCKETS))


def _chart(session: SessionCosts, buckets: list[SpendBucket], step: timedelta, calendar: Calendar) -> Chart | None:
    """Return the chart; None for a session without a duration."""
    origin, span = session.started_at.replace(microsecond=0), session.last_seen_at - session.started_at
    if not span or not buckets:
        return None
    number = (session.last_seen_at - origin) // step + 1
    tokens, compute = [ZERO] * number, [ZERO] * number
    for bucket in buckets:
        # Events that arrived between the two queries go into the last bucket.
        index = min(max((bucket.began_at - origin) // step, 0), number - 1)
        tokens[index] += bucket.token_cost_usd
        compute[index] += bucket.compute_cost_usd
    return Chart(
        "Cost over the session",
        _labels([origin + step * index for index in range(number)], calendar),
        [_line("Models", tokens), _line("Tools and compute", compute)],
        "usd",
    )


def _labels(instants: Sequence[datetime], calendar: Calendar) -> list[str]:
    """Format in the organization's time zone, as short as is unambiguous."""
    span, step = instants[-1] - instants[0], instants[-1] - instants[-2] if len(instants) > 1 else _DAY
    style = "%Y-%m-%d %H:%M" if span >= _DAY else "%H:%M" if step >= _MINUTE else "%H:%M:%S"
    return [f"{instant.astimezone(calendar.zone):{style}}" for instant in instants]


def _line(name: str, amounts: list[Decimal]) -> Line:
    return Line(name, [float(amount) for amount in amounts], [usd(amount) for amount in amounts])


register_page("sessions/s/<opaque_id:session_id>/", SessionPage.as_view(), name="session")
