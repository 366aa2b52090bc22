"""`GET /usage/timeseries`: data of the usage charts."""

from collections.abc import Callable, Sequence
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.usage.events import AmountField
from billing.api.usage.numbers import UsageView
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.api.usage.shapes import (
    AnswerSerializer,
    Json,
    common_fields,
    cost_figures,
    local_time,
    period,
    request_figures,
    token_figures,
)
from billing.reports.usage.breakdown import MAX_SERIES, RANK_BY, View, series
from billing.reports.usage.figures import ZERO_FIGURES, Figures, GroupBy, Series
from billing.reports.usage.query import UsageQuery, split_into_periods, unit_for
from billing.reports.usage.totals import totals
from costtrack.calendar import Span, Unit

_BODY_BY_VIEW: dict[View, Callable[[Figures], Json]] = {
    View.REQUESTS: request_figures,
    View.TOKENS: token_figures,
    View.COST: cost_figures,
}


class TimeseriesQuery(UsageQuerySerializer):
    view = serializers.ChoiceField(default=View.REQUESTS, choices=[view.value for view in View])
    granularity = serializers.ChoiceField(
        required=False,
        choices=[unit.value for unit in Unit],
        help_text="Default: hours up to 2 days, days up to 93 days, weeks up to two years, else months.",
    )
    group_by = serializers.ChoiceField(
        required=False,
        choices=[by.value for by in GroupBy],
        help_text=f"One series per value: the {MAX_SERIES} largest, then one for all others.",
    )


class ChartFiguresSerializer(serializers.Serializer[Any]):
    """Figures of the view: requests and errors, or tokens, or cost."""

    requests = serializers.IntegerField(required=False)
    errors = serializers.IntegerField(required=False)  # type: ignore[assignment] # DRF's
    error_rate = serializers.FloatField(required=False)
    prompt_tokens = serializers.IntegerField(required=False)
    completion_tokens = serializers.IntegerField(required=False)
    cached_tokens = serializers.IntegerField(required=False)
    total_tokens = serializers.IntegerField(required=False)
    cost_usd = AmountField(required=False)
    unpriced_events = serializers.IntegerField(required=False)


class BucketSerializer(ChartFiguresSerializer):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()


class SeriesSerializer(serializers.Serializer[Any]):
    key = serializers.CharField(
        allow_null=True, help_text="The model, the capability, the Client ID or the status. Null: all others."
    )
    name = serializers.CharField()
    total = ChartFiguresSerializer()
    buckets = ChartFiguresSerializer(many=True, help_text="One for each bucket of the response, in order.")


class TimeseriesSerializer(AnswerSerializer):
    view = serializers.ChoiceField(choices=[view.value for view in View])
    granularity = serializers.ChoiceField(choices=[unit.value for unit in Unit])
    group_by = serializers.ChoiceField(choices=[by.value for by in GroupBy], allow_null=True)
    total = ChartFiguresSerializer()
    buckets = BucketSerializer(
        many=True, help_text="Every period of the window, oldest first; the first and last may be partial."
    )
    series = SeriesSerializer(
        many=True, help_text="With `group_by`: the largest first. The series add up to the buckets."
    )


class UsageTimeseriesView(UsageView):
    """`GET /usage/timeseries`"""

    @extend_schema(
        operation_id="usage_timeseries", tags=["usage"], parameters=[TimeseriesQuery], responses=TimeseriesSerializer
    )
    def get(self, request: Request) -> Response:
        """Get requests, tokens or cost over time. Periods follow the time zone and week start of the organization."""
        query = usage_query(request, self.access, TimeseriesQuery)
        view, by = View(query.extra["view"]), query.extra.get("group_by")
        unit = Unit(query.extra.get("granularity") or unit_for(query.window))
        buckets = split_into_periods(query.calendar, query.window, unit, param="granularity")
        if by is None:
            lines: list[Series] = []
            figures = totals(organization=self.organization, filters=query.filters, windows=buckets)
        else:
            lines = series(
                organization=self.organization,
                filters=query.filters,
                windows=buckets,
                by=GroupBy(by),
                rank_by=RANK_BY[view],
            )
            figures = _sum_lines(lines, len(buckets))
        options = {"view": view.value, "granularity": unit.value, "group_by": by}
        return Response({**common_fields(query), **options, **_chart(query, view, buckets, figures, lines)})


def _sum_lines(lines: Sequence[Series], buckets: int) -> list[Figures]:
    return [sum((line.periods[index] for line in lines), ZERO_FIGURES) for index in range(buckets)]


def _chart(
    query: UsageQuery, view: View, buckets: Sequence[Span], figures: Sequence[Figures], lines: Sequence[Series]
) -> Json:
    body_of, local = _BODY_BY_VIEW[view], local_time(query)
    return {
        "total": body_of(sum(figures, ZERO_FIGURES)),
        "buckets": [
            {**period(local, bucket), **body_of(bucket_figures)}
            for bucket, bucket_figures in zip(buckets, figures, strict=True)
        ],
        "series": [
            {
                "key": line.key,
                "name": line.name,
                "total": body_of(line.total),
                "buckets": [body_of(bucket_figures) for bucket_figures in line.periods],
            }
            for line in lines
        ],
    }
