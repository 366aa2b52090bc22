"""`GET /usage/breakdown`: usage by any dimension."""

from typing import Annotated, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import operation
from billing.api.usage.figures import (
    CachedTokens,
    Cost,
    CostShare,
    ErrorRate,
    Errors,
    PromptTokens,
    Requests,
    TotalTokens,
    Unpriced,
    UsageBody,
    UsageView,
    common_fields,
)
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.reports.usage.breakdown import groups
from billing.reports.usage.figures import GroupBy
from costtrack.responses import ResponseBody, about

MAX_GROUPS = 1_000


class BreakdownQuery(UsageQuerySerializer):
    group_by = serializers.ChoiceField(choices=[by.value for by in GroupBy])
    limit = serializers.IntegerField(
        default=100, min_value=1, max_value=MAX_GROUPS, help_text="Maximum number of groups."
    )


class GroupFigures(ResponseBody):
    requests: Requests
    errors: Errors
    error_rate: ErrorRate
    prompt_tokens: PromptTokens
    completion_tokens: int
    cached_tokens: CachedTokens
    total_tokens: TotalTokens
    cost_usd: Cost
    unpriced_events: Unpriced


class UsageGroup(ResponseBody):
    key: Annotated[str, about("The value, such as a user or a Client ID. Empty: usage without one.")]
    name: Annotated[str, about("The name of a credential or a status, else the value.")]
    requests: Requests
    errors: Errors
    error_rate: ErrorRate
    prompt_tokens: PromptTokens
    completion_tokens: int
    cached_tokens: CachedTokens
    total_tokens: TotalTokens
    cost_usd: Cost
    unpriced_events: Unpriced
    cost_share: CostShare


class Breakdown(UsageBody):
    group_by: GroupBy
    total: GroupFigures
    groups: Annotated[list[UsageGroup], about("The most expensive first.")]
    others: Annotated[GroupFigures, about("All other groups together.")]
    other_groups: Annotated[int, about("How many they are.")]


class UsageBreakdownView(UsageView):
    """`GET /usage/breakdown`"""

    ignores_unknown_parameters: ClassVar[bool] = False  # the document does not have it

    @operation("usage_breakdown", BreakdownQuery, Breakdown)
    def get(self, request: Request) -> Response:
        """List usage by user, team, end user, model or another dimension. Groups and others add up to the summary."""
        query = usage_query(self, BreakdownQuery)
        by = GroupBy(query.extra["group_by"])
        report = groups(
            organization=self.organization,
            filters=query.filters,
            window=query.window,
            by=by,
            limit=query.extra["limit"],
        )
        body = Breakdown(
            **common_fields(query),
            group_by=by,
            total=GroupFigures.of(report.total),
            groups=[UsageGroup.of(group, group.figures, cost_share=group.share) for group in report.groups],
            others=GroupFigures.of(report.others),
            other_groups=report.other_groups,
        )
        return Response(body)
