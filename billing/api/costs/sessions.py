"""Document 003 (Syntropic137): cost of sessions and of executions. A session is one agent in one phase in one
workspace; an execution of a workflow has sessions.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.costs.views import CostsEndpoint, headers_of
from billing.api.headers import NEXT_CURSOR, UNPRICED
from billing.api.queries import WindowFilterSet, lenient_query
from billing.api.response_cache import cached_operation
from billing.api.windows import WindowEndField, WindowStartField
from billing.reports.cursors import MAX_START_CURSOR_LENGTH, Page, StartPosition, cursor_of, start_position_of
from billing.reports.sessions.executions import ExecutionCosts, get_execution_costs, list_executions
from billing.reports.sessions.lists import SessionCosts, get_session_costs, list_execution_sessions, list_sessions
from billing.reports.sessions.newest import EntityFilter
from costtrack.clock import utc_now
from costtrack.filters import ParameterFilter, ParameterOption
from costtrack.responses import Amount, ResponseBody, about
from costtrack.serializers import StrictSerializer, optional_text, page_size
from organizations.api.base import OrganizationScopedReportViewSet

_Total = Annotated[Amount, about("Tokens and compute.", "1.5")]
_ComputeCost = Annotated[Amount, about("Cost of tools and compute.", "0.5")]
_InputTokens = Annotated[int, about("Excluding cache reads and writes.", 12000)]
_Tokens = Annotated[int, about("Input and output, excluding caches.", 16000)]
_Turns = Annotated[int, about("Model calls, or the value of the session summary.", 12)]
_Duration = Annotated[float, about("The sum of the reported durations, or the value of the session summary.", 41250.5)]
_CostByModel = Annotated[
    dict[str, Amount],
    about("Token cost by model; adds up to `token_cost_usd`.", {"claude-sonnet-4": "0.96", "claude-haiku-3.5": "0.04"}),
]
_CostByTool = Annotated[
    dict[str, Amount], about("Compute cost by tool; adds up to `compute_cost_usd`.", {"Bash": "0.5", "Read": "0"})
]


class SessionCostResponse(ResponseBody):
    """The session cost object of the document."""

    session_id: Annotated[str, Meta(examples=["session-7f3a"])]
    execution_id: Annotated[str | None, Meta(examples=["execution-42"])]
    workflow_id: Annotated[str | None, Meta(examples=["research"])]
    phase_id: Annotated[str | None, Meta(examples=["discovery"])]
    workspace_id: Annotated[str | None, Meta(examples=["workspace-9"])]
    total_cost_usd: _Total
    token_cost_usd: Amount
    compute_cost_usd: _ComputeCost
    input_tokens: _InputTokens
    output_tokens: int
    total_tokens: _Tokens
    cache_creation_tokens: int
    cache_read_tokens: int
    tool_calls: int
    turns: _Turns
    duration_ms: _Duration
    cost_by_model: _CostByModel
    cost_by_tool: _CostByTool
    tokens_by_tool: Annotated[dict[str, int], about("Tokens written to tools and returned by them.", {"Read": 5030})]
    cost_by_tool_tokens: Annotated[
        dict[str, Amount],
        about(
            "The share of the token cost for these tokens, at the prices of the model; already included in it. "
            "A tool is left out if the price of its tokens is unknown.",
            {"Read": "0.01545"},
        ),
    ]
    is_finalized: Annotated[bool, about("True if the session has a summary.")]
    started_at: datetime | None
    completed_at: Annotated[datetime | None, about("When the summary was recorded; null before.")]


class ExecutionCostResponse(ResponseBody):
    """The execution cost object of the document: sums over its sessions."""

    execution_id: Annotated[str, Meta(examples=["execution-42"])]
    workflow_id: Annotated[str | None, Meta(examples=["research"])]
    session_count: Annotated[int, Meta(examples=[2])]
    session_ids: Annotated[list[str], about("Ordered by start.", ["session-7f3a", "session-81c0"])]
    total_cost_usd: _Total
    token_cost_usd: Amount
    compute_cost_usd: _ComputeCost
    input_tokens: _InputTokens
    output_tokens: int
    total_tokens: _Tokens
    cache_creation_tokens: int
    cache_read_tokens: int
    tool_calls: int
    turns: _Turns
    duration_ms: _Duration
    cost_by_phase: Annotated[
        dict[str, Amount],
        about("All cost by phase; cost without a phase is excluded.", {"discovery": "1.5", "synthesis": "0.75"}),
    ]
    cost_by_model: _CostByModel
    cost_by_tool: _CostByTool
    is_complete: Annotated[bool, about("True if there are sessions and all are finalized.")]
    started_at: datetime | None
    completed_at: Annotated[datetime | None, about("When the latest finalized session ended; null if there is none.")]


def _name(text: str) -> ParameterFilter:
    return ParameterFilter(optional_text(text))


class _EntityFilterSet(WindowFilterSet):
    """Filters that sessions and executions have in common."""

    workflow_id = _name("Only those of this workflow.")
    user_id = _name("Only those with an event of this user.")
    team = _name("Only those with an event of this team.")
    end_user = _name("Only those with an event for this end user.")
    start_date = ParameterOption(
        WindowStartField(
            required=False, help_text="Only those that started on this date (UTC) or at this time, or later."
        )
    )
    end_date = ParameterOption(
        WindowEndField(
            required=False, help_text="Only those that started until this date (inclusive) or before this time."
        )
    )
    limit = ParameterOption(page_size(help_text="Maximum number of results."))
    cursor = ParameterOption(
        serializers.CharField(
            required=False,
            allow_blank=True,
            max_length=MAX_START_CURSOR_LENGTH,
            help_text=f"`{NEXT_CURSOR.name}` of the previous page. Filters must be the same.",
        )
    )

    def narrow(self, query: Any) -> Any:
        narrowed = super().narrow(query)
        return replace(narrowed, user_id=self.organization.user_name(narrowed.user_id))


@dataclass(frozen=True, slots=True)
class _SessionQuery(EntityFilter):
    execution_id: str = ""


class SessionFilterSet(_EntityFilterSet):
    execution_id = _name("Only sessions of this execution, oldest first. By default: all, newest first.")
    is_finalized = ParameterFilter(serializers.BooleanField(required=False), field_name="is_finished")


class ExecutionFilterSet(_EntityFilterSet):
    is_complete = ParameterFilter(serializers.BooleanField(required=False), field_name="is_finished")


class SessionParameters(StrictSerializer):
    include_breakdown = serializers.BooleanField(default=True, help_text="False empties all maps.")


class ExecutionParameters(StrictSerializer):
    include_breakdown = serializers.BooleanField(default=True, help_text="False empties all maps.")
    include_session_ids = serializers.BooleanField(
        default=False, help_text="True lists `session_ids`; `session_count` is always included."
    )


class SessionViewSet(CostsEndpoint, OrganizationScopedReportViewSet):
    lookup_url_kwarg = "session_id"

    @cached_operation("costs_sessions", SessionFilterSet, SessionCostResponse, UNPRICED, NEXT_CURSOR)
    def list(self, request: Request) -> Response:
        """List the cost of the latest sessions or of those of one execution, always with breakdowns.

        A page of filtered sessions may be short or empty although more follow: continue until there is no
        `X-Next-Cursor`."""
        now, filterset = utc_now(), SessionFilterSet(self, _SessionQuery())
        query: _SessionQuery = filterset.qs
        position = _position(filterset)
        if query.execution_id:
            page = list_execution_sessions(
                organization=self.organization, execution_id=query.execution_id, filters=query, **position
            )
        else:
            page = list_sessions(organization=self.organization, filters=query, **position)
        headers = headers_of(now, (session.totals for session in page.rows))
        return Response([_session(session) for session in page.rows], headers={**headers, **_next_cursor(page)})

    @cached_operation("costs_session", SessionParameters, SessionCostResponse, UNPRICED)
    def retrieve(self, request: Request, session_id: str) -> Response:
        """Get the cost of one session. The totals of its summary replace the sums of its events; later events add to
        them."""
        now, params = utc_now(), lenient_query(SessionParameters, request.query_params)
        session = get_session_costs(organization=self.organization, session_id=session_id)
        self.plan_rights.check_visible(session.started_at, now=now)
        body = _session(session)
        if not params["include_breakdown"]:
            body = msgspec.structs.replace(
                body, cost_by_model={}, cost_by_tool={}, tokens_by_tool={}, cost_by_tool_tokens={}
            )
        return Response(body, headers=headers_of(now, [session.totals]))


class ExecutionViewSet(CostsEndpoint, OrganizationScopedReportViewSet):
    lookup_url_kwarg = "execution_id"

    @cached_operation("costs_executions", ExecutionFilterSet, ExecutionCostResponse, UNPRICED, NEXT_CURSOR)
    def list(self, request: Request) -> Response:
        """List the cost of the latest executions, always with breakdowns and session ids.

        A page of filtered executions may be short or empty although more follow: continue until there is no
        `X-Next-Cursor`."""
        now, filterset = utc_now(), ExecutionFilterSet(self, EntityFilter())
        page = list_executions(organization=self.organization, filters=filterset.qs, **_position(filterset))
        headers = headers_of(now, (execution.totals for execution in page.rows))
        return Response([_execution(execution) for execution in page.rows], headers={**headers, **_next_cursor(page)})

    @cached_operation("costs_execution", ExecutionParameters, ExecutionCostResponse, UNPRICED)
    def retrieve(self, request: Request, execution_id: str) -> Response:
        """Get the cost of one execution: the sum of its sessions."""
        now, params = utc_now(), lenient_query(ExecutionParameters, request.query_params)
        execution = get_execution_costs(organization=self.organization, execution_id=execution_id)
        self.plan_rights.check_visible(execution.started_at, now=now)
        body = _execution(execution)
        if not params["include_breakdown"]:
            body = msgspec.structs.replace(body, cost_by_phase={}, cost_by_model={}, cost_by_tool={})
        if not params["include_session_ids"]:
            body = msgspec.structs.replace(body, session_ids=[])
        return Response(body, headers=headers_of(now, [execution.totals]))


def _position(filterset: _EntityFilterSet) -> dict[str, Any]:
    options = filterset.options
    return {"after": start_position_of(options["cursor"] or ""), "limit": options["limit"]}


def _next_cursor(page: Page[Any, StartPosition]) -> dict[str, str]:
    return {} if page.last is None else {NEXT_CURSOR.name: cursor_of(page.last)}


def _session(session: SessionCosts) -> SessionCostResponse:
    return SessionCostResponse.of(
        session,
        session.totals,
        execution_id=session.execution_id or None,
        workflow_id=session.workflow_id or None,
        phase_id=session.phase_id or None,
        workspace_id=session.workspace_id or None,
        total_cost_usd=session.totals.cost_usd,
        total_tokens=session.totals.tokens,
    )


def _execution(execution: ExecutionCosts) -> ExecutionCostResponse:
    return ExecutionCostResponse.of(
        execution,
        execution.totals,
        workflow_id=execution.workflow_id or None,
        session_count=len(execution.session_ids),
        total_cost_usd=execution.totals.cost_usd,
        total_tokens=execution.totals.tokens,
    )
