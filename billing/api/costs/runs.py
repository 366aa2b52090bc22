"""Document 002 (Lumea): cost of workflow runs."""

from typing import ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF, CACHE_HEADERS, UNPRICED
from billing.api.queries import validated_query
from billing.api.response_cache import cache_until_ledger_changes
from billing.api.windows import DateOrDateTimeField, window_of
from billing.reports.runs import RunCosts, get_run_costs, get_total_run_costs
from costtrack.clock import iso, utc_now
from costtrack.error_formats import DETAIL, Dialect
from costtrack.money import number
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope


class CostResponse(serializers.Serializer[RunCosts]):
    """The CostResponse object of the document."""

    total_cost = serializers.FloatField(help_text="Sum over all services, in USD.")
    costs_by_service = serializers.DictField(child=serializers.FloatField())
    costs_by_group = serializers.DictField(child=serializers.DictField(child=serializers.FloatField()))


class RunQuery(StrictSerializer):
    include_children = serializers.BooleanField(
        default=False, help_text="Include the costs of child runs, to any depth."
    )


class RunsQuery(RunQuery):
    workflow_id = serializers.CharField(required=False, max_length=255, help_text="Only runs of this workflow.")
    start_date = DateOrDateTimeField(required=False, help_text="Only costs from this date or time on.")
    end_date = DateOrDateTimeField(required=False, help_text="Only costs until this date (inclusive) or time.")


_ONE_RUN = OpenApiExample(
    "One run",
    {
        "total_cost": 0.45,
        "costs_by_service": {"openai": 0.35, "anthropic": 0.1},
        "costs_by_group": {
            "openai": {"gpt-4": 0.25, "gpt-3.5-turbo": 0.1},
            "anthropic": {"claude-3-opus": 0.1},
        },
    },
    response_only=True,
)
_SEVERAL_RUNS = OpenApiExample(
    "Several runs",
    {
        "total_cost": 1.25,
        "costs_by_service": {"openai": 0.85, "anthropic": 0.3, "cohere": 0.1},
        "costs_by_group": {
            "openai": {"gpt-4": 0.65, "gpt-3.5-turbo": 0.2},
            "anthropic": {"claude-3-opus": 0.2, "claude-3-sonnet": 0.1},
            "cohere": {"command": 0.1},
        },
    },
    response_only=True,
)


class _RunCostsView(OrganizationScopedAPIView):
    dialect: ClassVar[Dialect] = DETAIL
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True


def _response(costs: RunCosts) -> Response:
    body = {
        "total_cost": number(costs.total),
        "costs_by_service": {service: number(amount) for service, amount in costs.by_service.items()},
        "costs_by_group": {
            service: {group: number(amount) for group, amount in groups.items()}
            for service, groups in costs.by_group.items()
        },
    }
    headers = {AS_OF.name: iso(costs.as_of), UNPRICED.name: str(costs.unpriced_events)}
    return Response(body, headers=headers)


class RunCostsView(_RunCostsView):
    """`GET /costs/runs/{run_id}`"""

    @extend_schema(
        operation_id="costs_run",
        tags=["costs"],
        parameters=[RunQuery, *CACHE_HEADERS, UNPRICED],
        responses=CostResponse,
        examples=[_ONE_RUN],
    )
    @cache_until_ledger_changes
    def get(self, request: Request, run_id: str) -> Response:
        """Get the cost of one workflow run, alone or with all its descendants."""
        params = validated_query(RunQuery, request.query_params)
        costs = get_run_costs(organization=self.organization, run_id=run_id, now=utc_now(), **params)
        return _response(costs)


class AllRunCostsView(_RunCostsView):
    """`GET /costs/runs`"""

    @extend_schema(
        operation_id="costs_runs",
        tags=["costs"],
        parameters=[RunsQuery, *CACHE_HEADERS, UNPRICED],
        responses=CostResponse,
        examples=[_SEVERAL_RUNS],
    )
    @cache_until_ledger_changes
    def get(self, request: Request) -> Response:
        """Get the total cost of all workflow runs or of one workflow."""
        params = validated_query(RunsQuery, request.query_params)
        costs = get_total_run_costs(
            organization=self.organization,
            workflow_id=params.get("workflow_id"),
            window=window_of(params.get("start_date"), params.get("end_date")),
            include_children=params["include_children"],
            now=utc_now(),
        )
        return _response(costs)
