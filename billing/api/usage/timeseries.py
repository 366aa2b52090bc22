"""`GET /usage/timeseries`: data of the usage charts."""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, UnsetType
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import operation
from billing.api.usage.figures import UsageBody, UsageView, common_fields, local_formatter
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.reports.usage.breakdown import MAX_SERIES, RANK_BY, View, series
from billing.reports.usage.figures import ZERO_FIGURES, Figures, GroupBy, Series
from billing.reports.usage.query import split_into_periods, unit_for
from billing.reports.usage.totals import totals
from costtrack.calendar import Unit
from costtrack.responses import Amount, LocalTime, ResponseBody, about


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


class ChartFigures(ResponseBody):
    """Figures of the view: requests and errors, or tokens, or cost."""

    requests: int | UnsetType = UNSET
    errors: int | UnsetType = UNSET
    error_rate: float | UnsetType = UNSET
    prompt_tokens: int | UnsetType = UNSET
    completion_tokens: int | UnsetType = UNSET
    cached_tokens: int | UnsetType = UNSET
    total_tokens: int | UnsetType = UNSET
    cost_usd: Amount | UnsetType = UNSET
    unpriced_events: int | UnsetType = UNSET


class BucketBody(ResponseBody):
    """Figures of the view: requests and errors, or tokens, or cost."""

    start: LocalTime
    end: LocalTime
    requests: int | UnsetType = UNSET
    errors: int | UnsetType = UNSET
    error_rate: float | UnsetType = UNSET
    prompt_tokens: int | UnsetType = UNSET
    completion_tokens: int | UnsetType = UNSET
    cached_tokens: int | UnsetType = UNSET
    total_tokens: int | UnsetType = UNSET
    cost_usd: Amount | UnsetType = UNSET
    unpriced_events: int | UnsetType = UNSET


class SeriesBody(ResponseBody):
    key: Annotated[str | None, about("The value of the dimension, such as a model or a Client ID. Null: all others.")]
    name: str
    total: ChartFigures
    buckets: Annotated[list[ChartFigures], about("One for each bucket of the response, in order.")]


class Timeseries(UsageBody):
    view: View
    granularity: Unit
    group_by: GroupBy | None
    total: ChartFigures
    buckets: Annotated[
        list[BucketBody], about("Every period of the window, oldest first; the first and last may be partial.")
    ]
    series: Annotated[
        list[SeriesBody], about("With `group_by`: the largest first. The series add up to the buckets, but not by tag.")
    ]


_FIELDS = {
    View.REQUESTS: ("requests", "errors", "error_rate"),
    View.TOKENS: ("prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens"),
    View.COST: ("cost_usd", "unpriced_events"),
}


class UsageTimeseriesView(UsageView):
    """`GET /usage/timeseries`"""

    @operation("usage_timeseries", TimeseriesQuery, Timeseries)
    def get(self, request: Request) -> Response:
        """Get requests, tokens or cost over time. Periods follow the time zone and week start of the organization."""
        query = usage_query(self, TimeseriesQuery)
        view, group_by = View(query.extra["view"]), query.extra.get("group_by")
        by = GroupBy(group_by) if group_by is not None else None
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
                by=by,
                rank_by=RANK_BY[view],
            )
            figures = _sum_lines(lines, len(buckets))
        if by is GroupBy.TAG:  # an event counts in several lines
            figures = totals(organization=self.organization, filters=query.filters, windows=buckets)
        local = local_formatter(query.calendar)

        def shown(figures: Figures) -> dict[str, Any]:
            return {name: getattr(figures, name) for name in _FIELDS[view]}

        body = Timeseries(
            **common_fields(query),
            view=view,
            granularity=unit,
            group_by=by,
            total=ChartFigures.of(**shown(sum(figures, ZERO_FIGURES))),
            buckets=[
                BucketBody.of(start=local(bucket.start), end=local(bucket.end), **shown(bucket_figures))
                for bucket, bucket_figures in zip(buckets, figures, strict=True)
            ],
            series=[
                SeriesBody(
                    key=line.key,
                    name=line.name,
                    total=ChartFigures.of(**shown(line.total)),
                    buckets=[ChartFigures.of(**shown(bucket_figures)) for bucket_figures in line.periods],
                )
                for line in lines
            ],
        )
        return Response(body)


def _sum_lines(lines: Sequence[Series], buckets: int) -> list[Figures]:
    return [sum((line.periods[index] for line in lines), ZERO_FIGURES) for index in range(buckets)]
