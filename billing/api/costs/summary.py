"""Document 003 (Syntropic137): totals over all sessions."""

from typing import Annotated

from msgspec import Meta
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.costs.views import CostsEndpoint, headers_of
from billing.api.headers import UNPRICED
from billing.api.response_cache import cached_operation
from billing.reports.sessions.summary import get_session_summary
from costtrack.clock import utc_now
from costtrack.ignored_parameters import ignore_all
from costtrack.responses import Amount, ResponseBody, about
from organizations.api.base import OrganizationScopedAPIView


class TopModel(ResponseBody):
    model: Annotated[str, Meta(examples=["claude-sonnet-4"])]
    cost_usd: Annotated[Amount, about("Token cost.", "1.71")]


class TopSessionCost(ResponseBody):
    session_id: Annotated[str, Meta(examples=["session-7f3a"])]
    cost_usd: Annotated[Amount, Meta(examples=["1.5"])]
    tokens: Annotated[int, about("Input and output, excluding caches.", 16000)]


class CostSummaryResponse(ResponseBody):
    """The summary object of the document. Usage without a session is excluded."""

    total_cost_usd: Annotated[Amount, Meta(examples=["2.25"])]
    total_sessions: int
    total_executions: int
    total_tokens: Annotated[int, about("Input and output, excluding caches.")]
    total_tool_calls: int
    top_models: Annotated[list[TopModel], about("The five most expensive.")]
    top_sessions: Annotated[list[TopSessionCost], about("The five most expensive.")]


class CostSummaryView(CostsEndpoint, OrganizationScopedAPIView):
    """`GET /costs/summary`"""

    @cached_operation("costs_summary", None, CostSummaryResponse, UNPRICED)
    def get(self, request: Request) -> Response:
        """Get the total cost and number of sessions, and the most expensive models and sessions, of the history that
        the plan shows."""
        now = utc_now()
        ignore_all(request.query_params)
        summary = get_session_summary(organization=self.organization, since=self.plan_rights.history_start(now))
        body = CostSummaryResponse.of(
            total_cost_usd=summary.totals.cost_usd,
            total_sessions=summary.sessions,
            total_executions=summary.executions,
            total_tokens=summary.totals.tokens,
            total_tool_calls=summary.totals.tool_calls,
            top_models=[TopModel.of(model=model, cost_usd=cost) for model, cost in summary.top_models],
            top_sessions=[TopSessionCost.of(session) for session in summary.top_sessions],
        )
        return Response(body, headers=headers_of(now, [summary.totals]))
