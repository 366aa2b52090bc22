"""`GET /usage/breakdown`: usage by up to two dimensions, in total and by period."""

from decimal import Decimal
from typing import Annotated, Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from msgspec import UNSET, UnsetType
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
    WindowBody,
    common_fields,
    local_formatter,
    period,
)
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.reports.usage.explorer import (
    MAX_CURSOR_LENGTH,
    MAX_DIMENSIONS,
    ExplorerQuery,
    ExplorerRow,
    SortBy,
    explore,
)
from billing.reports.usage.figures import DIMENSION_OF, GroupBy
from billing.reports.usage.query import UsageQuery, split_into_periods
from costtrack.calendar import Span, Unit
from costtrack.errors import InvalidError
from costtrack.responses import Amount, NextCursor, ResponseBody, about
from costtrack.serializers import optional_text

MAX_ROWS = 1_000
MAX_CELLS = 50_000
"""Maximum number of rows, times that of periods."""
_NAMES = tuple(by.value for by in DIMENSION_OF)


@extend_schema_field(OpenApiTypes.STR)
class GroupByField(serializers.Field[tuple[GroupBy, ...], str, str, Any]):
    """One dimension, or two with a comma between them."""

    def to_internal_value(self, data: str) -> tuple[GroupBy, ...]:
        names = [name.strip() for name in data.split(",")]
        if not set(names) <= set(_NAMES):
            raise serializers.ValidationError(f"Must be of: {', '.join(_NAMES)}.")
        if len(names) > MAX_DIMENSIONS or len(set(names)) < len(names):
            raise serializers.ValidationError(f"Up to {MAX_DIMENSIONS} different dimensions.")
        return tuple(map(GroupBy, names))


class ExplorerParameters(UsageQuerySerializer):
    """What a breakdown and its file have in common."""

    granularity = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=[unit.value for unit in Unit],
        help_text="Also the figures of each hour, day, week or month of the organization.",
    )
    compare = serializers.BooleanField(default=False, help_text="Also the figures of the time before.")
    include_users = serializers.BooleanField(
        default=False, help_text="Also the number of different users and the cost per user."
    )
    search = optional_text(
        "Only rows with a value or credential name that contains this text. The total stays the same."
    )
    sort_by = serializers.ChoiceField(
        default=SortBy.COST.value, choices=[sort.value for sort in SortBy if sort is not SortBy.PERIOD]
    )
    sort_order = serializers.ChoiceField(
        required=False, choices=["asc", "desc"], help_text="Default: descending; by `name` ascending."
    )


class BreakdownQuery(ExplorerParameters):
    group_by = GroupByField(help_text=f"One or two of: {', '.join(_NAMES)}. Two have a comma between them.")
    limit = serializers.IntegerField(default=100, min_value=1, max_value=MAX_ROWS, help_text="Rows of a page.")
    cursor = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_CURSOR_LENGTH, help_text="`next_cursor` of the previous page."
    )


class BreakdownFigures(ResponseBody):
    requests: Requests
    errors: Errors
    error_rate: ErrorRate
    prompt_tokens: PromptTokens
    completion_tokens: int
    cached_tokens: CachedTokens
    cache_creation_tokens: Annotated[int, about("Prompt tokens that were written to a cache.")]
    total_tokens: TotalTokens
    cost_usd: Cost
    unpriced_events: Unpriced


class BreakdownPeriod(ResponseBody):
    start: str
    end: Annotated[str, about("Exclusive.")]
    requests: Requests
    errors: Errors
    error_rate: ErrorRate
    prompt_tokens: PromptTokens
    completion_tokens: int
    cached_tokens: CachedTokens
    cache_creation_tokens: int
    total_tokens: TotalTokens
    cost_usd: Cost
    unpriced_events: Unpriced


Value = Annotated[str | UnsetType, about("With this dimension in `group_by`. Empty: usage without a value.")]
PerRequest = Annotated[Amount | None, about("Null without requests. Rounded to 12 decimals.")]
PerUser = Annotated[Amount | UnsetType | None, about("With `include_users`. Null without users.")]
Users = Annotated[int | UnsetType, about("With `include_users`: different users, not counting usage without one.")]


class BreakdownTotal(ResponseBody, kw_only=True):
    requests: Requests
    errors: Errors
    error_rate: ErrorRate
    prompt_tokens: PromptTokens
    completion_tokens: int
    cached_tokens: CachedTokens
    cache_creation_tokens: int
    total_tokens: TotalTokens
    cost_usd: Cost
    unpriced_events: Unpriced
    cost_per_request_usd: PerRequest
    users: Users = UNSET
    cost_per_user_usd: PerUser = UNSET
    previous: Annotated[BreakdownFigures | UnsetType | None, about("With `compare`. Null if not in the plan.")] = UNSET
    periods: Annotated[list[BreakdownPeriod] | UnsetType, about("With `granularity`, oldest first.")] = UNSET


class BreakdownRow(BreakdownTotal, kw_only=True):
    model: Value = UNSET
    capability: Value = UNSET
    credential: Annotated[str | UnsetType, about("A Client ID. Empty: usage without a credential.")] = UNSET
    credential_name: str | UnsetType = UNSET
    status: Value = UNSET
    user: Value = UNSET
    team: Value = UNSET
    end_user: Value = UNSET
    provider: Value = UNSET
    service: Value = UNSET
    agent: Value = UNSET
    environment: Value = UNSET
    workflow: Value = UNSET
    session: Value = UNSET
    run: Value = UNSET
    tool: Value = UNSET
    tag: Value = UNSET
    cost_share: CostShare


class Breakdown(UsageBody):
    group_by: list[GroupBy]
    granularity: Unit | None
    previous_window: Annotated[WindowBody | None, about("With `compare`, unless it is not in the plan.")]
    total: Annotated[BreakdownTotal, about("All usage, as in the summary; `search` does not change it.")]
    results: list[BreakdownRow]
    count: Annotated[int, about("Rows of all pages.")]
    next_cursor: NextCursor


class UsageBreakdownView(UsageView):
    """`GET /usage/breakdown`"""

    ignores_unknown_parameters: ClassVar[bool] = False  # the document does not have it

    @operation("usage_breakdown", BreakdownQuery, Breakdown)
    def get(self, request: Request) -> Response:
        """List usage by one or two dimensions, in total and by period, the most expensive first. Usage without a value
        is a row of its own, so the rows add up to the summary. (Not by tag: an event counts under each of its tags.)"""
        query = usage_query(self, BreakdownQuery)
        explored = explorer_query(query)
        page = explore(explored)
        unit = query.extra.get("granularity") or None
        before = explored.before
        body = Breakdown(
            **common_fields(query),
            group_by=list(explored.by),
            granularity=Unit(unit) if unit is not None else None,
            previous_window=period(local_formatter(query.calendar), before) if before is not None else None,
            total=BreakdownTotal.of(page.total.figures, **_figures(query, explored, page.total)),
            results=[_row(query, explored, row) for row in page.rows],
            count=page.count,
            next_cursor=page.next_cursor,
        )
        return Response(body)


def explorer_query(query: UsageQuery) -> ExplorerQuery:
    """Build the query from the parameters. Raises InvalidError if it has too many periods or cells."""
    extra = query.extra
    unit, sort, limit = extra.get("granularity"), SortBy(extra["sort_by"]), extra.get("limit", 1)
    periods: list[Span] = []
    if unit:
        periods = split_into_periods(query.calendar, query.window, Unit(unit), param="granularity")
        if limit * len(periods) > MAX_CELLS:
            raise InvalidError(
                f"limit: a page can have up to {MAX_CELLS // len(periods)} rows with {len(periods)} periods.",
                param="limit",
            )
    order = extra.get("sort_order") or ("asc" if sort is SortBy.NAME else "desc")
    return ExplorerQuery(
        organization=query.organization,
        filters=query.filters,
        window=query.window,
        by=extra["group_by"],
        periods=periods,
        before=query.before if extra["compare"] else None,
        search=extra.get("search", ""),
        sort=sort,
        is_ascending=order == "asc",
        with_users=extra["include_users"] or sort in (SortBy.USERS, SortBy.COST_PER_USER),
        after=extra.get("cursor", ""),
        limit=limit,
    )


def _row(query: UsageQuery, explored: ExplorerQuery, row: ExplorerRow) -> BreakdownRow:
    values: dict[str, Any] = {by.value: key for by, key in zip(explored.by, row.keys, strict=True)}
    if GroupBy.CREDENTIAL in explored.by:
        values["credential_name"] = row.names[explored.by.index(GroupBy.CREDENTIAL)]
    return BreakdownRow.of(row.figures, **values, cost_share=row.share, **_figures(query, explored, row))


def _figures(query: UsageQuery, explored: ExplorerQuery, row: ExplorerRow) -> dict[str, Any]:
    """Return what a row has besides its figures."""
    values: dict[str, Any] = {"cost_per_request_usd": _per(row.figures.cost_usd, row.figures.requests)}
    if row.users is not None:
        values |= {"users": row.users, "cost_per_user_usd": _per(row.figures.cost_usd, row.users)}
    if query.extra["compare"]:
        values["previous"] = BreakdownFigures.of(row.before) if row.before is not None else None
    if explored.periods:
        local = local_formatter(query.calendar)
        values["periods"] = [
            BreakdownPeriod.of(figures, start=local(span.start), end=local(span.end))
            for span, figures in zip(explored.periods, row.periods, strict=True)
        ]
    return values


def _per(cost: Decimal, number: int) -> Decimal | None:
    return round(cost / number, 12) if number > 0 else None
