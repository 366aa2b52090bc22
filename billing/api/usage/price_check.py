"""`GET /usage/price-check`: how far the costs of calls can be relied on."""

from decimal import Decimal
from typing import Annotated

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import operation
from billing.api.usage.figures import UsageBody, UsageView, common_fields
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.reports.price_check import cost_differences, exactness_by_model
from billing.types import Exactness
from costtrack.responses import Amount, ResponseBody, about, choice
from costtrack.tenancy import tenant_reads


class PriceCheckQuery(UsageQuerySerializer):
    client_id = capability = model = status = None
    percent = serializers.DecimalField(
        max_digits=9,
        decimal_places=3,
        min_value=Decimal(0),
        default=Decimal(1),
        help_text="Only differences of more than this percentage of the computed cost.",
    )


class ExactnessBody(ResponseBody):
    service: str
    model: str
    exactness: Annotated[str, choice(Exactness.choices)]
    events: int
    cost_usd: Annotated[Amount | None, about("As stored, without adjustments. Null: unknown.")]


class CostDifferenceBody(ResponseBody):
    service: str
    model: str
    events: Annotated[int, about("Calls whose reported and computed costs are both known.")]
    reported_usd: Annotated[Amount, about("Billed by the provider, stated by the sender, or a gateway's estimate.")]
    computed_usd: Amount
    difference_usd: Amount


class PriceCheckBody(UsageBody):
    models: Annotated[list[ExactnessBody], about("The largest cost first.")]
    differences: list[CostDifferenceBody]


class UsagePriceCheckView(UsageView):
    """`GET /usage/price-check`"""

    @operation("usage_price_check", PriceCheckQuery, PriceCheckBody)
    def get(self, request: Request) -> Response:
        """Show the spend of each model by how far it can be relied on, and where reported and computed costs differ."""
        query = usage_query(request, self.access, PriceCheckQuery)
        with tenant_reads(self.organization.pk):
            models = exactness_by_model(self.organization, query.window)
            differences = cost_differences(self.organization, query.window, percent=query.extra["percent"])
        return Response(
            PriceCheckBody(
                **common_fields(query),
                models=[ExactnessBody.of(figures) for figures in models],
                differences=[CostDifferenceBody.of(difference) for difference in differences],
            )
        )
