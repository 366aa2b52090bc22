"""Document 003 (Syntropic137): cost of sessions and of executions. A session is one agent in one phase in one
workspace; an execution of a workflow has sessions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.costs.views import CostsEndpoint, headers_of
from billing.api.headers import UNPRICED
from billing.api.queries import lenient_query
from billing.api.response_cache import cached_operation
from billing.reports.sessions.executions import ExecutionCosts, get_execution_costs, list_executions
from billing.reports.sessions.lists import SessionCosts, get_session_costs, list_execution_sessions, list_sessions
from costtrack.clock import utc_now
from costtrack.filters import ParameterFilter, ParameterOption, ReportFilterSet
from costtrack.name_fields import NameField
from costtrack.responses import Amount, ResponseBody, about
from costtrack.serializers import StrictSerializer, page_size
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


def _limit() -> ParameterOption:
    return ParameterOption(page_size(help_text="Maximum number of results."))


@dataclass(frozen=True, slots=True)
class _SessionQuery:
    execution_id: str = ""


class SessionFilterSet(ReportFilterSet):
    execution_id = ParameterFilter(
        NameField(
            required=False,
            help_text="Only sessions of this execution, oldest first. By default: all, newest first.",
        )
    )
    limit = _limit()


class ExecutionFilterSet(ReportFilterSet):
    limit = _limit()


class SessionParameters(StrictSerializer):
    include_breakdown = serializers.BooleanField(default=True, help_text="False empties all maps.")


class ExecutionParameters(StrictSerializer):
    include_breakdown = serializers.BooleanField(default=True, help_text="False empties all maps.")
    include_session_ids = serializers.BooleanField(
        default=False, help_text="True lists `session_ids`; `session_count` is always included."
    )


class SessionViewSet(CostsEndpoint, OrganizationScopedReportViewSet):
    lookup_url_kwarg = "session_id"

    @cached_operation("costs_sessions", SessionFilterSet, SessionCostResponse, UNPRICED)
    def list(self, request: Request) -> Response:
        """List the cost of the latest sessions or of those of one execution, always with breakdowns."""
        now, filterset = utc_now(), SessionFilterSet(request.query_params, _SessionQuery())
        query = filterset.qs
        if query.execution_id:
            execution = {"execution_id": query.execution_id, **filterset.options}
            sessions: Sequence[SessionCosts] = list_execution_sessions(organization=self.organization, **execution)
        else:
            sessions = list_sessions(organization=self.organization, **filterset.options).rows
        headers = headers_of(now, (session.totals for session in sessions))
        return Response([_session(session) for session in sessions], headers=headers)

    @cached_operation("costs_session", SessionParameters, SessionCostResponse, UNPRICED)
    def retrieve(self, request: Request, session_id: str) -> Response:
        """Get the cost of one session. The totals of its summary replace the sums of its events; later events add to
        them."""
        now, params = utc_now(), lenient_query(SessionParameters, request.query_params)
        session = get_session_costs(organization=self.organization, session_id=session_id)
        body = _session(session)
        if not params["include_breakdown"]:
            body = msgspec.structs.replace(
                body, cost_by_model={}, cost_by_tool={}, tokens_by_tool={}, cost_by_tool_tokens={}
            )
        return Response(body, headers=headers_of(now, [session.totals]))


class ExecutionViewSet(CostsEndpoint, OrganizationScopedReportViewSet):
    lookup_url_kwarg = "execution_id"

    @cached_operation("costs_executions", ExecutionFilterSet, ExecutionCostResponse, UNPRICED)
    def list(self, request: Request) -> Response:
        """List the cost of the latest executions, always with breakdowns and session ids."""
        now, options = utc_now(), ExecutionFilterSet(request.query_params).options
        executions = list_executions(organization=self.organization, **options).rows
        headers = headers_of(now, (execution.totals for execution in executions))
        return Response([_execution(execution) for execution in executions], headers=headers)

    @cached_operation("costs_execution", ExecutionParameters, ExecutionCostResponse, UNPRICED)
    def retrieve(self, request: Request, execution_id: str) -> Response:
        """Get the cost of one execution: the sum of its sessions."""
        now, params = utc_now(), lenient_query(ExecutionParameters, request.query_params)
        execution = get_execution_costs(organization=self.organization, execution_id=execution_id)
        body = _execution(execution)
        if not params["include_breakdown"]:
            body = msgspec.structs.replace(body, cost_by_phase={}, cost_by_model={}, cost_by_tool={})
        if not params["include_session_ids"]:
            body = msgspec.structs.replace(body, session_ids=[])
        return Response(body, headers=headers_of(now, [execution.totals]))


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
