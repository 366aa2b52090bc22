"""Document 003 (Syntropic137): totals over all sessions."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.costs.sessions import HEADERS, headers_of
from billing.api.queries import validated_query
from billing.api.response_cache import cache_until_ledger_changes
from billing.api.usage.events import AmountField
from billing.reports.sessions.summary import get_session_summary
from costtrack.clock import utc_now
from costtrack.error_formats import DETAIL, Dialect
from costtrack.money import plain
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope


class NoParameters(StrictSerializer):
    """The document has no parameters."""


class TopModel(serializers.Serializer[Any]):
    model = serializers.CharField()
    cost_usd = AmountField(help_text="Token cost.")


class TopSessionCost(serializers.Serializer[Any]):
    session_id = serializers.CharField()
    cost_usd = AmountField()
    tokens = serializers.IntegerField(help_text="Input and output, excluding caches.")


class CostSummaryResponse(serializers.Serializer[Any]):
    """The summary object of the document. Usage without a session is excluded."""

    total_cost_usd = AmountField()
    total_sessions = serializers.IntegerField()
    total_executions = serializers.IntegerField()
    total_tokens = serializers.IntegerField(help_text="Input and output, excluding caches.")
    total_tool_calls = serializers.IntegerField()
    top_models = TopModel(many=True, help_text="The five most expensive.")
    top_sessions = TopSessionCost(many=True, help_text="The five most expensive.")


_EXAMPLE = {
    "total_cost_usd": "2.25",
    "total_sessions": 2,
    "total_executions": 1,
    "total_tokens": 27000,
    "total_tool_calls": 9,
    "top_models": [
        {"model": "claude-sonnet-4", "cost_usd": "1.71"},
        {"model": "claude-haiku-3.5", "cost_usd": "0.04"},
    ],
    "top_sessions": [
        {"session_id": "session-7f3a", "cost_usd": "1.5", "tokens": 16000},
        {"session_id": "session-81c0", "cost_usd": "0.75", "tokens": 11000},
    ],
}


class CostSummaryView(OrganizationScopedAPIView):
    """`GET /costs/summary`"""

    dialect: ClassVar[Dialect] = DETAIL
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="costs_summary",
        tags=["costs"],
        parameters=[*HEADERS],
        responses=CostSummaryResponse,
        examples=[OpenApiExample("Two sessions", _EXAMPLE, response_only=True)],
    )
    @cache_until_ledger_changes
    def get(self, request: Request) -> Response:
        """Get the total cost and number of sessions, and the most expensive models and sessions."""
        now = utc_now()
        validated_query(NoParameters, request.query_params)
        summary = get_session_summary(organization=self.organization)
        body = {
            "total_cost_usd": plain(summary.totals.cost_usd),
            "total_sessions": summary.sessions,
            "total_executions": summary.executions,
            "total_tokens": summary.totals.tokens,
            "total_tool_calls": summary.totals.tool_calls,
            "top_models": [{"model": model, "cost_usd": plain(cost)} for model, cost in summary.top_models],
            "top_sessions": [
                {**session._asdict(), "cost_usd": plain(session.cost_usd)} for session in summary.top_sessions
            ],
        }
        return Response(body, headers=headers_of(now, [summary.totals]))
