"""Document 003 (Syntropic137): cost of executions. An execution of a workflow has sessions."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.costs.sessions import (
    HEADERS,
    CostTotals,
    LimitQuery,
    amounts_as_json,
    headers_of,
    totals_as_json,
)
from billing.api.queries import validated_query
from billing.api.response_cache import cache_until_ledger_changes
from billing.api.usage.events import AmountField
from billing.reports.sessions.executions import ExecutionCosts, get_execution_costs, newest_executions
from costtrack.clock import iso, utc_now
from costtrack.error_formats import DETAIL, Dialect
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope


class ExecutionQuery(StrictSerializer):
    include_breakdown = serializers.BooleanField(
        default=True, help_text="False empties `cost_by_phase`, `cost_by_model` and `cost_by_tool`."
    )
    include_session_ids = serializers.BooleanField(
        default=False, help_text="True lists `session_ids`; `session_count` is always included."
    )


class ExecutionCostResponse(CostTotals):
    """The execution cost object of the document: sums over its sessions."""

    execution_id = serializers.CharField()
    workflow_id = serializers.CharField(allow_null=True)
    session_count = serializers.IntegerField()
    session_ids = serializers.ListField(child=serializers.CharField(), help_text="Ordered by start.")
    cost_by_phase = serializers.DictField(
        child=AmountField(), help_text="All cost by phase; cost without a phase is excluded."
    )
    is_complete = serializers.BooleanField(help_text="True if there are sessions and all are finalized.")
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(
        allow_null=True, help_text="When the latest finalized session ended; null if there is none."
    )


EXECUTION_EXAMPLE = {
    "execution_id": "execution-42",
    "workflow_id": "research",
    "session_count": 2,
    "session_ids": ["session-7f3a", "session-81c0"],
    "total_cost_usd": "2.25",
    "token_cost_usd": "1.75",
    "compute_cost_usd": "0.5",
    "input_tokens": 20000,
    "output_tokens": 7000,
    "total_tokens": 27000,
    "cache_creation_tokens": 1500,
    "cache_read_tokens": 90000,
    "tool_calls": 9,
    "turns": 20,
    "duration_ms": 61250.5,
    "cost_by_phase": {"discovery": "1.5", "synthesis": "0.75"},
    "cost_by_model": {"claude-sonnet-4": "1.71", "claude-haiku-3.5": "0.04"},
    "cost_by_tool": {"Bash": "0.5", "Read": "0"},
    "is_complete": False,
    "started_at": "2026-11-02T09:00:00Z",
    "completed_at": "2026-11-02T09:04:10.250000Z",
}


class ExecutionCostsView(OrganizationScopedAPIView):
    """`GET /costs/executions`"""

    dialect: ClassVar[Dialect] = DETAIL
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="costs_executions",
        tags=["costs"],
        parameters=[LimitQuery, *HEADERS],
        responses=ExecutionCostResponse(many=True),
        examples=[OpenApiExample("An execution", EXECUTION_EXAMPLE, response_only=True)],
    )
    @cache_until_ledger_changes
    def get(self, request: Request) -> Response:
        """List the cost of the latest executions, always with breakdowns and session ids."""
        now = utc_now()
        params = validated_query(LimitQuery, request.query_params)
        executions = newest_executions(organization=self.organization, **params)
        body = [_execution(execution) for execution in executions]
        return Response(body, headers=headers_of(now, [execution.totals for execution in executions]))


class ExecutionCostView(OrganizationScopedAPIView):
    """`GET /costs/executions/{execution_id}`"""

    dialect: ClassVar[Dialect] = DETAIL
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="costs_execution",
        tags=["costs"],
        parameters=[ExecutionQuery, *HEADERS],
        responses=ExecutionCostResponse,
        examples=[OpenApiExample("An execution", EXECUTION_EXAMPLE, response_only=True)],
    )
    @cache_until_ledger_changes
    def get(self, request: Request, execution_id: str) -> Response:
        """Get the cost of one execution: the sum of its sessions."""
        now = utc_now()
        params = validated_query(ExecutionQuery, request.query_params)
        execution = get_execution_costs(organization=self.organization, execution_id=execution_id)
        body = _execution(execution)
        if not params["include_breakdown"]:
            body |= {"cost_by_phase": {}, "cost_by_model": {}, "cost_by_tool": {}}
        if not params["include_session_ids"]:
            body["session_ids"] = []
        return Response(body, headers=headers_of(now, [execution.totals]))


def _execution(execution: ExecutionCosts) -> dict[str, Any]:
    return {
        "execution_id": execution.execution_id,
        "workflow_id": execution.workflow_id or None,
        "session_count": len(execution.session_ids),
        "session_ids": list(execution.session_ids),
        **totals_as_json(execution.totals),
        "cost_by_phase": amounts_as_json(execution.cost_by_phase),
        "cost_by_model": amounts_as_json(execution.cost_by_model),
        "cost_by_tool": amounts_as_json(execution.cost_by_tool),
        "is_complete": execution.is_complete,
        "started_at": iso(execution.started_at) if execution.started_at is not None else None,
        "completed_at": iso(execution.completed_at) if execution.completed_at is not None else None,
    }
