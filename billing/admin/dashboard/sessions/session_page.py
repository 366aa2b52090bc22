"""The page of a session: cost by model and tool, a timeline, and its calls (document 003)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, Detail, without_empty
from billing.admin.components.charts import Chart, Line
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.path_converters import DetailPage
from billing.admin.components.table_files import TableFilesPage, all_pages
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import event_url, execution_url
from billing.admin.dashboard.sessions.session_text import (
    amount_columns,
    figures_of,
    joined,
    length,
    share_table,
    state_of,
)
from billing.reports.cursors import Position, cursor_of, position_of
from billing.reports.sessions.lists import SessionCosts, get_session_costs
from billing.reports.sessions.session_calls import Call, SpendBucket, list_session_calls, list_spend_buckets
from billing.types import EventKind, Status
from costtrack.admin_site import register_page
from costtrack.calendar import Calendar
from costtrack.date_text import clock_text, hour_text, short_day_text
from costtrack.file_columns import Kind, attributes, computed
from costtrack.money import ZERO, usd

PAGE_SIZE = 50
_CALLS_READ = 1_000
"""At a time, for a file."""
_CALL_COLUMNS = (
    *attributes(Kind.TEXT, "id", "kind", "status"),
    *attributes(Kind.TIME, "occurred_at"),
    *attributes(Kind.TEXT, "phase_id", "service", "model", "tool"),
    *attributes(Kind.COUNT, "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    *attributes(Kind.COUNT, "tool_use_tokens", "tool_result_tokens"),
    *attributes(Kind.DECIMAL, "duration_ms"),
    *attributes(Kind.AMOUNT, "cost_usd"),
)
# The chart uses the shortest step with at most this many buckets.
_MAX_BUCKETS = 48
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_STEPS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
)


class SessionPage(TableFilesPage, DetailPage):
    title = "Session"
    template_name = "admin/dashboard/session.html"
    stylesheets = ("costtrack/sessions.css",)
    tab: ClassVar[str] = "sessions"

    def page_context(self) -> dict[str, Any]:
        session_id: str = self.kwargs["session_id"]
        trail = CursorTrail.of(self.request.GET)
        after = position_of(trail.cursor, param="after")
        session = get_session_costs(organization=self.organization, session_id=session_id)
        self.plan_rights.check_visible(session.started_at, now=self.now)
        page = list_session_calls(organization=self.organization, session_id=session_id, after=after, limit=PAGE_SIZE)
        return {
            "subtitle": session_id,
            "session": session,
            "figures": figures_of(session.totals),
            "details": self._details(session),
            "state": state_of(session, self.now),
            "breakdowns": [Card(table.title, table=table) for table in self._breakdowns(session)],
            **self._timeline(session),
            "calls": self._calls(page.rows, is_first=trail.is_first),
            "trail": trail,
            "older": trail.older(cursor_of(page.last)) if page.last is not None else "",
        }

    def _details(self, session: SessionCosts) -> list[Detail]:
        execution = formatting.link_or_text(execution_url(session.execution_id), session.execution_id)
        return without_empty(
            (
                ("Execution", execution),
                ("Workflow", session.workflow_id),
                ("Phase", session.phase_id),
                ("Workspace", session.workspace_id),
                ("Agent", session.agent_id),
                ("Started", self.times.inline(session.started_at)),
                ("Last seen", self.times.inline(session.last_seen_at)),
                ("Finalized", self.times.inline(session.completed_at)),
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

    def _calls(self, calls: Sequence[Call], *, is_first: bool) -> Table[Call]:
        columns = (
            Column[Call]("When", lambda call: self.times.two_lines(call.occurred_at), css="ct-when"),
            Column[Call]("Call", _called),
            Column[Call]("Phase", lambda call: call.phase_id or "-", css="ct-about"),
            Column[Call]("Tokens", _tokens_and_cache, is_number=True),
            Column[Call]("Duration", lambda call: length(call.duration_ms or ZERO), is_number=True),
            Column[Call](
                "Cost",
                lambda call: usd(call.cost_usd) if call.cost_usd is not None else "no price yet",
                is_number=True,
            ),
        )
        gone = "The calls of this session are no longer stored; its totals are."
        empty = gone if is_first else "The list ends here."
        file = self.table_file("calls", _CALL_COLUMNS, lambda: all_pages(self._read_calls))
        return Table("Calls", columns, calls, css="ct-session-table", empty=empty, file=file)

    def _read_calls(self, after: Position | None) -> tuple[Sequence[Call], Position | None]:
        session_id = self.kwargs["session_id"]
        page = list_session_calls(organization=self.organization, session_id=session_id, after=after, limit=_CALLS_READ)
        return page.rows, page.last

    def _breakdowns(self, session: SessionCosts) -> list[Table[Any]]:
        models, tools = session.cost_by_model, session.cost_by_tool
        tool_tokens = self._tool_tokens(session)
        model_file = self.table_file("token-cost-by-model", amount_columns("model"), models.items)
        tool_file = self.table_file("compute-cost-by-tool", amount_columns("tool"), tools.items)
        return [
            share_table("Token cost by model", "Model", models, file=model_file),
            share_table("Compute cost by tool", "Tool", tools, file=tool_file),
            *([tool_tokens] if tool_tokens.rows else []),
        ]

    def _tool_tokens(self, session: SessionCosts) -> Table[tuple[str, int]]:
        """Return the tokens by tool in descending order."""
        costs = session.cost_by_tool_tokens
        columns = (
            Column[tuple[str, int]]("Tool", lambda row: row[0]),
            Column[tuple[str, int]]("Tokens", lambda row: formatting.count(row[1]), is_number=True),
            Column[tuple[str, int]](
                "Estimated cost", lambda row: usd(costs[row[0]]) if row[0] in costs else "not known", is_number=True
            ),
        )
        ranked = sorted(session.tokens_by_tool.items(), key=lambda item: (-item[1], item[0]))
        file_columns = (
            *computed(Kind.TEXT, tool=lambda row: row[0]),
            *computed(Kind.COUNT, tokens=lambda row: row[1]),
            *computed(Kind.AMOUNT, estimated_cost_usd=lambda row: costs.get(row[0])),
        )
        file = self.table_file("tokens-by-tool", file_columns, lambda: ranked)
        note = "Tool inputs and outputs at the model's prices. Included in the token cost; do not add it to the total."
        return Table("Tokens by tool", columns, ranked, css="ct-shares", note=note, file=file)


def _called(call: Call) -> SafeString:
    failed = " (failed)" if call.status == Status.FAILURE.value else ""
    kind = formatting.link(event_url(call.id), f"{EventKind(call.kind).label}{failed}")
    return formatting.two_lines(kind, joined((call.service, call.model, call.tool)))


def _tokens_and_cache(call: Call) -> SafeString:
    cached = f"{formatting.count(call.cache_tokens)} cached" if call.cache_tokens else ""
    return formatting.two_lines(_tokens(call), cached)


def _tokens(call: Call) -> str:
    """Format a call's tokens. Those of a session summary are differences and may be negative."""
    if call.input_tokens or call.output_tokens:
        return f"{formatting.count(call.input_tokens)} in, {formatting.count(call.output_tokens)} out"
    return f"{formatting.count(call.tool_tokens)} tool tokens" if call.tool_tokens else formatting.NOTHING


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
        [Line.of_costs("Models", tokens), Line.of_costs("Tools and compute", compute)],
        "usd",
    )


def _labels(instants: Sequence[datetime], calendar: Calendar) -> list[str]:
    """Format in the organization's time zone, as short as is unambiguous."""
    span, step = instants[-1] - instants[0], instants[-1] - instants[-2] if len(instants) > 1 else _DAY
    local_times = [instant.astimezone(calendar.zone) for instant in instants]
    if span >= _DAY:
        return [f"{short_day_text(local)}, {hour_text(local)}" for local in local_times]
    return [hour_text(local) if step >= _MINUTE else clock_text(local) for local in local_times]


register_page("sessions/s/<opaque_id:session_id>/", SessionPage.as_view(), name="session")
