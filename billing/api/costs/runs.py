"""Document 002 (Lumea): cost of workflow runs."""

from dataclasses import dataclass, field
from typing import Annotated

from drf_spectacular.utils import extend_schema_serializer
from msgspec import Meta
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.costs.views import CostsEndpoint
from billing.api.headers import AS_OF, UNPRICED
from billing.api.queries import WindowFilterSet, lenient_query
from billing.api.response_cache import cached_operation
from billing.api.windows import WindowEndField, WindowStartField
from billing.reports.runs import RunCosts, get_run_costs, get_total_run_costs
from costtrack.calendar import Window
from costtrack.clock import iso, utc_now
from costtrack.filters import ParameterFilter, ParameterOption
from costtrack.money import number
from costtrack.name_fields import NameField
from costtrack.responses import ResponseBody, about
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedReportViewSet


@extend_schema_serializer(many=False)
class CostResponse(ResponseBody):
    """The CostResponse object of the document."""

    total_cost: Annotated[float, about("Sum over all services, in USD.", 0.45)]
    costs_by_service: Annotated[dict[str, float], Meta(examples=[{"openai": 0.35, "anthropic": 0.1}])]
    costs_by_group: Annotated[
        dict[str, dict[str, float]],
        Meta(
            examples=[{"openai": {"gpt-4": 0.25, "gpt-3.5-turbo": 0.1}, "anthropic": {"claude-3-opus": 0.1}}],
        ),
    ]


@dataclass(frozen=True, slots=True)
class _RunQuery:
    workflow_id: str | None = None
    window: Window = field(default_factory=Window)
    include_children: bool = False


def _include_children() -> serializers.BooleanField:
    return serializers.BooleanField(default=False, help_text="Include the costs of child runs, to any depth.")


class RunFilterSet(WindowFilterSet):
    include_children = ParameterFilter(_include_children())
    workflow_id = ParameterFilter(NameField(required=False, help_text="Only runs of this workflow."))
    start_date = ParameterOption(WindowStartField(required=False, help_text="Only costs from this date or time on."))
    end_date = ParameterOption(
        WindowEndField(required=False, help_text="Only costs until this date (inclusive) or before this time.")
    )


class RunParameters(StrictSerializer):
    include_children = _include_children()


class RunViewSet(CostsEndpoint, OrganizationScopedReportViewSet):
    lookup_url_kwarg = "run_id"

    @cached_operation("costs_runs", RunFilterSet, CostResponse, UNPRICED)
    def list(self, request: Request) -> Response:
        """Get the total cost of all workflow runs or of one workflow."""
        query: _RunQuery = RunFilterSet(request.query_params, _RunQuery()).qs
        return _response(
            get_total_run_costs(
                organization=self.organization,
                workflow_id=query.workflow_id,
                window=query.window,
                include_children=query.include_children,
                now=utc_now(),
            )
        )

    @cached_operation("costs_run", RunParameters, CostResponse, UNPRICED)
    def retrieve(self, request: Request, run_id: str) -> Response:
        """Get the cost of one workflow run, alone or with all its descendants."""
        params = lenient_query(RunParameters, request.query_params)
        return _response(get_run_costs(organization=self.organization, run_id=run_id, now=utc_now(), **params))


def _response(costs: RunCosts) -> Response:
    body = CostResponse(
        total_cost=number(costs.total),
        costs_by_service={service: number(amount) for service, amount in costs.by_service.items()},
        costs_by_group={
            service: {group: number(amount) for group, amount in groups.items()}
            for service, groups in costs.by_group.items()
        },
    )
    return Response(body, headers={AS_OF.name: iso(costs.as_of), UNPRICED.name: str(costs.unpriced_events)})
