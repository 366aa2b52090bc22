"""Document 003 (Syntropic137): cost of sessions. A session is one agent in one phase in one workspace."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF, CACHE_HEADERS, UNPRICED
from billing.api.queries import validated_query
from billing.api.response_cache import cache_until_ledger_changes
from billing.api.usage.events import AmountField
from billing.reports.sessions.lists import SessionCosts, get_session_costs, list_execution_sessions, newest_sessions
from billing.reports.sessions.rows import Totals
from costtrack.clock import iso, utc_now
from costtrack.error_formats import DETAIL, Dialect
from costtrack.money import plain
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

HEADERS = (*CACHE_HEADERS, UNPRICED)


class LimitQuery(StrictSerializer):
    limit = serializers.IntegerField(default=50, min_value=1, max_value=200, help_text="Maximum number of results.")


class SessionsQuery(LimitQuery):
    execution_id = serializers.CharField(
        required=False,
        max_length=255,
        trim_whitespace=False,
        help_text="Only sessions of this execution, oldest first. By default: all, newest first.",
    )


class SessionQuery(StrictSerializer):
    include_breakdown = serializers.BooleanField(
        default=True, help_text="False empties `cost_by_model` and `cost_by_tool`."
    )


class CostTotals(serializers.Serializer[Any]):
    """Fields that the session and execution objects of the document share."""

    total_cost_usd = AmountField(help_text="Tokens and compute.")
    token_cost_usd = AmountField()
    compute_cost_usd = AmountField(help_text="Cost of tools and compute.")
    input_tokens = serializers.IntegerField(help_text="Excluding cache reads and writes.")
    output_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField(help_text="Input and output, excluding caches.")
    cache_creation_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    tool_calls = serializers.IntegerField()
    turns = serializers.IntegerField(help_text="Model calls, or the value of the session summary.")
    duration_ms = serializers.FloatField(
        help_text="The sum of the reported durations, or the value of the session summary."
    )
    cost_by_model = serializers.DictField(
        child=AmountField(), help_text="Token cost by model; adds up to `token_cost_usd`."
    )
    cost_by_tool = serializers.DictField(
        child=AmountField(), help_text="Compute cost by tool; adds up to `compute_cost_usd`."
    )


class SessionCostResponse(CostTotals):
    """The session cost object of the document."""

    session_id = serializers.CharField()
    execution_id = serializers.CharField(allow_null=True)
    workflow_id = serializers.CharField(allow_null=True)
    phase_id = serializers.CharField(allow_null=True)
    workspace_id = serializers.CharField(allow_null=True)
    tokens_by_tool = serializers.DictField(
        child=serializers.IntegerField(), help_text="Tokens written to tools and returned by them."
    )
    cost_by_tool_tokens = serializers.DictField(
        child=AmountField(),
        help_text="The share of the token cost for these tokens, at the prices of the model; already included in it. "
        "A tool is left out if the price of its tokens is unknown.",
    )
    is_finalized = serializers.BooleanField(help_text="True if the session has a summary.")
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True, help_text="When the summary was recorded; null before.")


SESSION_EXAMPLE = {
    "session_id": "session-7f3a",
    "execution_id": "execution-42",
    "workflow_id": "research",
    "phase_id": "discovery",
    "workspace_id": "workspace-9",
    "total_cost_usd": "1.5",
    "token_cost_usd": "1",
    "compute_cost_usd": "0.5",
    "input_tokens": 12000,
    "output_tokens": 4000,
    "total_tokens": 16000,
    "cache_creation_tokens": 1500,
    "cache_read_tokens": 90000,
    "tool_calls": 7,
    "turns": 12,
    "duration_ms": 41250.5,
    "cost_by_model": {"claude-sonnet-4": "0.96", "claude-haiku-3.5": "0.04"},
    "cost_by_tool": {"Bash": "0.5", "Read": "0"},
    "tokens_by_tool": {"Read": 5030},
    "cost_by_tool_tokens": {"Read": "0.01545"},
    "is_finalized": True,
    "started_at": "2026-11-02T09:00:00Z",
    "completed_at": "2026-11-02T09:04:10.250000Z",
}


class SessionCostsView(OrganizationScopedAPIView):
    """`GET /costs/sessions`"""

    dialect: ClassVar[Dialect] = DETAIL
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="costs_sessions",
        tags=["costs"],
        parameters=[SessionsQuery, *HEADERS],
        responses=SessionCostResponse(many=True),
        examples=[OpenApiExample("A finalized session", SESSION_EXAMPLE, response_only=True)],
    )
    @cache_until_ledger_changes
    def get(self, request: Request) -> Response:
        """List the cost of the latest sessions or of those of one execution, always with breakdowns."""
        now = utc_now()
        params = validated_query(SessionsQuery, request.query_params)
        execution_id = params.pop("execution_id", "")
        if execution_id:
            sessions = list_execution_sessions(organization=self.organization, execution_id=execution_id, **params)
        else:
            sessions = newest_sessions(organization=self.organization, **params)
        body = [_session(session) for session in sessions]
        return Response(body, headers=headers_of(now, [session.totals for session in sessions]))


class SessionCostView(OrganizationScopedAPIView):
    """`GET /costs/sessions/{session_id}`"""

    dialect: ClassVar[Dialect] = DETAIL
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="costs_session",
        tags=["costs"],
        parameters=[SessionQuery, *HEADERS],
        responses=SessionCostResponse,
        examples=[OpenApiExample("A finalized session", SESSION_EXAMPLE, response_only=True)],
    )
    @cache_until_ledger_changes
    def get(self, request: Request, session_id: str) -> Response:
        """Get the cost of one session. The totals of its summary replace the sums of its events; later events add to
        them."""
        now = utc_now()
        params = validated_query(SessionQuery, request.query_params)
        session = get_session_costs(organization=self.organization, session_id=session_id)
        body = _session(session)
        if not params["include_breakdown"]:
            body |= {"cost_by_model": {}, "cost_by_tool": {}}
        return Response(body, headers=headers_of(now, [session.totals]))


def headers_of(now: datetime, totals: Sequence[Totals]) -> dict[str, str]:
    """Build the headers. `now` must be taken before the totals are read: they include everything acknowledged until
    then."""
    return {AS_OF.name: iso(now), UNPRICED.name: str(sum(total.unpriced_events for total in totals))}


def totals_as_json(totals: Totals) -> dict[str, Any]:
    return {
        "total_cost_usd": plain(totals.cost_usd),
        "token_cost_usd": plain(totals.token_cost_usd),
        "compute_cost_usd": plain(totals.compute_cost_usd),
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "total_tokens": totals.tokens,
        "cache_creation_tokens": totals.cache_creation_tokens,
        "cache_read_tokens": totals.cache_read_tokens,
        "tool_calls": totals.tool_calls,
        "turns": totals.turns,
        "duration_ms": float(totals.duration_ms),
    }


def amounts_as_json(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: plain(amount) for name, amount in amounts.items()}


def _session(session: SessionCosts) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "execution_id": session.execution_id or None,
        "workflow_id": session.workflow_id or None,
        "phase_id": session.phase_id or None,
        "workspace_id": session.workspace_id or None,
        **totals_as_json(session.totals),
        "cost_by_model": amounts_as_json(session.cost_by_model),
        "cost_by_tool": amounts_as_json(session.cost_by_tool),
        "tokens_by_tool": dict(session.tokens_by_tool),
        "cost_by_tool_tokens": amounts_as_json(session.cost_by_tool_tokens),
        "is_finalized": session.is_finalized,
        "started_at": iso(session.started_at),
        "completed_at": iso(session.completed_at) if session.completed_at is not None else None,
    }
