"""`GET /usage/timeseries`: the dashboard's charts."""

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
    cost_of,
    head,
    local_time,
    period,
    requests_of,
    tokens_of,
)
from billing.reports.usage.breakdown import MAX_SERIES, series
from billing.reports.usage.figures import NOTHING, Figures, GroupBy, Series
from billing.reports.usage.periods import LARGEST, View, periods_of, unit_for
from billing.reports.usage.query import UsageQuery
from billing.reports.usage.series import totals
from costtrack.calendar import Span, Unit

_SHOWS: dict[View, Callable[[Figures], Json]] = {
    View.REQUESTS: requests_of,
    View.TOKENS: tokens_of,
    View.COST: cost_of,
}


class TimeseriesQuery(UsageQuerySerializer):
    view = serializers.ChoiceField(default=View.REQUESTS, choices=[one.value for one in View])
    granularity = serializers.ChoiceField(
        required=False,
        choices=[unit.value for unit in Unit],
        help_text="Without: hours up to 2 days, days up to 93, weeks up to two years, then months.",
    )
    group_by = serializers.ChoiceField(
        required=False,
        choices=[by.value for by in GroupBy],
        help_text=f"A line for each; after the {MAX_SERIES} largest one for all others.",
    )


class ChartFiguresSerializer(serializers.Serializer[Any]):
    """Those of the view: requests and errors, or tokens, or costs."""

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
    buckets = ChartFiguresSerializer(many=True, help_text="One for each of the answer's buckets, in their order.")


class TimeseriesSerializer(AnswerSerializer):
    view = serializers.ChoiceField(choices=[one.value for one in View])
    granularity = serializers.ChoiceField(choices=[unit.value for unit in Unit])
    group_by = serializers.ChoiceField(choices=[by.value for by in GroupBy], allow_null=True)
    total = ChartFiguresSerializer()
    buckets = BucketSerializer(many=True, help_text="Every period of the window, oldest first; the ends may be parts.")
    series = SeriesSerializer(many=True, help_text="With `group_by`: the largest first. They add up to the buckets.")


class UsageTimeseriesView(UsageView):
    """`GET /usage/timeseries`"""

    @extend_schema(
        operation_id="usage_timeseries", tags=["usage"], parameters=[TimeseriesQuery], responses=TimeseriesSerializer
    )
    def get(self, request: Request) -> Response:
        """Requests, tokens or costs over time. Periods follow the clock and the week of the organization."""
        query = usage_query(request, self.access, TimeseriesQuery)
        view, by = View(query.others["view"]), query.others.get("group_by")
        unit = Unit(query.others.get("granularity") or unit_for(query.window))
        buckets = periods_of(query.calendar, query.window, unit, param="granularity")
        if by is None:
            lines: list[Series] = []
            figures = totals(organization=self.organization, filters=query.filters, windows=buckets)
        else:
            lines = series(
                organization=self.organization,
                filters=query.filters,
                windows=buckets,
                by=GroupBy(by),
                largest=LARGEST[view],
            )
            figures = _added_up(lines, len(buckets))
        words = {"view": view.value, "granularity": unit.value, "group_by": by}
        return Response({**head(query), **words, **_chart(query, view, buckets, figures, lines)})


def _added_up(lines: Sequence[Series], buckets: int) -> list[Figures]:
    return [sum((line.periods[place] for line in lines), NOTHING) for place in range(buckets)]


def _chart(
    query: UsageQuery, view: View, buckets: Sequence[Span], figures: Sequence[Figures], lines: Sequence[Series]
) -> Json:
    shows, local = _SHOWS[view], local_time(query)
    return {
        "total": shows(sum(figures, NOTHING)),
        "buckets": [
            {**period(local, bucket), **shows(of_bucket)} for bucket, of_bucket in zip(buckets, figures, strict=True)
        ],
        "series": [
            {
                "key": line.key,
                "name": line.name,
                "total": shows(line.total),
                "buckets": [shows(of_bucket) for of_bucket in line.periods],
            }
            for line in lines
        ],
    }
