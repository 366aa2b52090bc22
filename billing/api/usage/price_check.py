"""`GET /usage/price-check`: how far costs can be relied on, and which reported and computed costs differ."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import operation
from billing.api.usage.figures import UsageBody, UsageView, common_fields
from billing.api.usage.query import RangeQuerySerializer, usage_query
from billing.pricing.quote import QuoteLine
from billing.reports.cursors import cursor_of, position_of
from billing.reports.price_check.differences import (
    CallDifference,
    ComparedLine,
    call_differences,
    model_differences,
)
from billing.reports.price_check.exactness import ModelExactness, exactness_by_model
from billing.reports.price_check.selection import DEFAULT_PERCENT, CallSelection, require_readable
from billing.types import CostBasis, DifferenceCause, Exactness
from costtrack.responses import Amount, NextCursor, ResponseBody, about, choice
from costtrack.serializers import optional_text, page_cursor, page_size
from costtrack.tenancy import tenant_reads


def percent_field() -> serializers.DecimalField:
    return serializers.DecimalField(
        max_digits=9,
        decimal_places=3,
        min_value=Decimal(0),
        default=DEFAULT_PERCENT,
        help_text="Only differences of more than this percentage of the computed cost.",
    )


class PriceCheckQuery(RangeQuerySerializer):
    """Parameters; an empty value is ignored."""

    service = optional_text("Only this service, exactly as sent.")
    model = optional_text("Only this model, in any spelling.")
    percent = percent_field()
    limit = page_size()
    cursor = page_cursor()


class ExactnessBody(ResponseBody):
    exactness: Annotated[str, choice(Exactness.choices)]
    events: int
    cost_usd: Annotated[Amount | None, about("Token cost, including adjustments. Null: unknown.")]


class ModelExactnessBody(ResponseBody):
    service: str
    model: str
    events: int
    cost_usd: Annotated[Amount, about("The known part.")]
    by_exactness: list[ExactnessBody]

    @classmethod
    def of_model(cls, model: ModelExactness) -> Self:
        parts = [
            ExactnessBody(
                exactness=exactness.value,
                events=spend.events,
                cost_usd=None if exactness is Exactness.UNKNOWN else Amount.of(spend.cost_usd),
            )
            for exactness in Exactness
            if (spend := model.spend(exactness)).events or spend.cost_usd
        ]
        return cls.of(model, by_exactness=parts)


class ModelDifferenceBody(ResponseBody):
    service: str
    model: str
    compared: Annotated[int, about("Calls whose reported and computed costs are both known.")]
    events: Annotated[int, about("Those of them that differ; the amounts are their sums.")]
    reported_usd: Annotated[Amount, about("Billed by the provider, stated by the sender, or a gateway's estimate.")]
    computed_usd: Amount
    difference_usd: Amount


class SideBody(ResponseBody):
    """quantity x unit price = amount. The unit price is per unit of the kind."""

    quantity: float
    unit_price_usd: Amount
    amount_usd: Amount


class ComparedLineBody(ResponseBody):
    kind: str
    computed: Annotated[SideBody | None, about("Null: not charged.")]
    reported: Annotated[SideBody | None, about("As the likely cause explains the reported cost. Null: not charged.")]

    @classmethod
    def of_line(cls, line: ComparedLine) -> Self:
        return cls(kind=line.kind, computed=_side(line.computed), reported=_side(line.reported))


class CallDifferenceBody(ResponseBody):
    id: Annotated[UUID, about("Id of the event, see `/usage/events/{id}`.")]
    event_id: Annotated[str, about("The id from the sender.")]
    time: datetime
    service: str
    model: str
    cost_basis: Annotated[str, choice(CostBasis.choices, "Which of the known costs counts.")]
    reported_basis: Annotated[str, choice(CostBasis.choices, "Where the reported cost comes from.")]
    reported_usd: Amount
    computed_usd: Amount
    difference_usd: Amount
    percent: Annotated[float | None, about("Of the computed cost; null if that is zero.")]
    cause: Annotated[str, choice(DifferenceCause.choices, "The likely cause.")]
    cause_detail: str
    lines: Annotated[list[ComparedLineBody], about("Both costs side by side, by kind of usage.")]

    @classmethod
    def of_call(cls, difference: CallDifference) -> Self:
        event, percent = difference.event, difference.percent
        return cls.of(
            difference,
            event,
            time=event.occurred_at,
            percent=round(float(percent), 3) if percent is not None else None,
            cause=difference.cause.code.value,
            cause_detail=difference.cause.detail,
            lines=[ComparedLineBody.of_line(line) for line in difference.lines],
        )


class PriceCheckBody(UsageBody):
    models: Annotated[list[ModelExactnessBody], about("The largest cost first. Only on the first page.")]
    differences: Annotated[list[ModelDifferenceBody], about("The largest difference first. Only on the first page.")]
    calls: Annotated[list[CallDifferenceBody], about("The calls that differ, newest first.")]
    next_cursor: NextCursor


class UsagePriceCheckView(UsageView):
    """`GET /usage/price-check`"""

    @operation("usage_price_check", PriceCheckQuery, PriceCheckBody)
    def get(self, request: Request) -> Response:
        """Show the spend of each model by exactness, and where reported and computed costs differ, with the likely
        cause of each difference.

        The period may have up to 500,000 calls."""
        query = usage_query(self, PriceCheckQuery)
        selection = CallSelection(query.window, query.extra["percent"], query.filters.service, query.filters.model)
        after = position_of(query.extra.get("cursor", ""))
        with tenant_reads(self.organization.pk):
            require_readable(self.organization, selection)
            page = call_differences(
                organization=self.organization, selection=selection, after=after, limit=query.extra["limit"]
            )
            models = exactness_by_model(self.organization, selection) if after is None else ()
            differences = model_differences(self.organization, selection) if after is None else ()
        return Response(
            PriceCheckBody(
                **common_fields(query),
                models=[ModelExactnessBody.of_model(model) for model in models],
                differences=[ModelDifferenceBody.of(difference) for difference in differences],
                calls=[CallDifferenceBody.of_call(difference) for difference in page.rows],
                next_cursor=cursor_of(page.last),
            )
        )


def _side(line: QuoteLine | None) -> SideBody | None:
    if line is None:
        return None
    return SideBody(
        quantity=float(line.quantity),
        unit_price_usd=Amount.of(line.unit_price_usd),
        amount_usd=Amount.of(line.amount_usd),
    )
