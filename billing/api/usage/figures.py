"""Document 001: figures of the usage dashboard. Periods have the offset of the time zone of the organization."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, ClassVar

from msgspec import Meta
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import ReportEndpoint, operation
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.reports.usage import breakdown
from billing.reports.usage.figures import GroupBy, Spend
from billing.reports.usage.query import UsageQuery, split_into_periods
from billing.reports.usage.totals import summary
from costtrack.calendar import Calendar, Span, Unit
from costtrack.responses import Amount, LocalTime, ResponseBody, about, choice
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Environment

Requests = Annotated[int, about("Calls, including failed ones.")]
Errors = Annotated[int, about("Failed calls.")]
ErrorRate = Annotated[float, about("errors / requests, from 0 to 1.")]
PromptTokens = Annotated[int, about("All prompt tokens, including cached ones.")]
CachedTokens = Annotated[int, about("Prompt tokens that were read from a cache.")]
TotalTokens = Annotated[int, about("prompt_tokens + completion_tokens")]
Cost = Annotated[Amount, about("Tokens and compute, including adjustments.")]
Unpriced = Annotated[int, about("Events whose cost is unknown and excluded.")]
CostShare = Annotated[float, about("Share of the total cost, from 0 to 1.")]


class UsageView(ReportEndpoint, OrganizationScopedAPIView):
    """Base of the endpoints of document 001."""

    ignores_unknown_parameters: ClassVar[bool] = True


class WindowBody(ResponseBody):
    start: LocalTime
    end: Annotated[LocalTime, about("Exclusive.")]


class SpendBody(ResponseBody):
    """Current spend, regardless of the range."""

    today_usd: Annotated[Amount, Meta(examples=["1.25"])]
    rolling_7d_usd: Annotated[Amount, about("Since the same time seven days ago (exclusive).", "12.5")]
    month_to_date_usd: Annotated[Amount, Meta(examples=["2.75"])]
    billing_period: Annotated[WindowBody, about("The current month.")]


class UsageBody(ResponseBody):
    """Fields that every response has."""

    organization: str
    plan: str
    currency: Annotated[str, about("USD")]
    timezone: str
    window: WindowBody
    history_start: Annotated[LocalTime | None, about("Start of the history that the plan shows; null if unlimited.")]
    clipped: Annotated[bool, about("The window was cut off at `history_start`.")]
    as_of: Annotated[datetime, about("The figures include everything acknowledged before.")]


class Day(ResponseBody):
    date: date
    requests: int
    total_tokens: int
    cost_usd: Amount


class Previous(ResponseBody):
    window: WindowBody
    requests: Requests
    errors: Errors
    error_rate: ErrorRate
    prompt_tokens: PromptTokens
    completion_tokens: int
    cached_tokens: CachedTokens
    total_tokens: TotalTokens
    cost_usd: Cost
    unpriced_events: Unpriced


class SummaryBody(UsageBody):
    requests: Requests
    errors: Errors
    error_rate: ErrorRate
    prompt_tokens: PromptTokens
    completion_tokens: int
    cached_tokens: CachedTokens
    total_tokens: TotalTokens
    cost_usd: Cost
    unpriced_events: Unpriced
    previous: Annotated[
        Previous | None,
        about("The equally long time before; in progress: as much as has elapsed. Null if not in the plan."),
    ]
    spend: Annotated[SpendBody, about("With the same filters.")]
    daily: Annotated[list[Day], about("Every day, oldest first.")]


class Capability(ResponseBody):
    capability: Annotated[str, about("Empty if the calls have none.")]
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


class Capabilities(UsageBody):
    capabilities: Annotated[list[Capability], about("The most expensive first.")]


class CredentialUsage(ResponseBody):
    client_id: Annotated[str, about("Empty for usage without a credential.")]
    name: str
    environment: Annotated[str, choice([*Environment.values, ""])]
    last_used_at: datetime | None
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


class CredentialsUsage(UsageBody):
    credentials: Annotated[list[CredentialUsage], about("The most expensive first, including unused credentials.")]


class UsageSummaryView(UsageView):
    """`GET /usage/summary`"""

    @operation("usage_summary", UsageQuerySerializer, SummaryBody)
    def get(self, request: Request) -> Response:
        """Get requests, tokens and cost of a range, by day, and the current spend."""
        query = usage_query(self, UsageQuerySerializer)
        days = split_into_periods(query.calendar, query.window, Unit.DAY, param="start_date")
        before, local = query.before, local_formatter(query.calendar)
        report = summary(
            organization=self.organization,
            filters=query.filters,
            window=query.window,
            days=days,
            before=before,
            now=query.now,
        )
        previous = None
        if before is not None and report.before is not None:
            previous = Previous.of(report.before, window=period(local, before))
        body = SummaryBody.of(
            report.figures,
            **common_fields(query),
            previous=previous,
            spend=spend_body(local, report.spend),
            daily=[
                Day.of(figures, date=query.calendar.date_of(day.start))
                for day, figures in zip(days, report.days, strict=True)
            ],
        )
        return Response(body)


class UsageCapabilitiesView(UsageView):
    """`GET /usage/capabilities`"""

    @operation("usage_capabilities", UsageQuerySerializer, Capabilities)
    def get(self, request: Request) -> Response:
        """List usage by capability."""
        query = usage_query(self, UsageQuerySerializer)
        filters, window = query.filters, query.window
        usage = breakdown.shares(organization=self.organization, filters=filters, window=window, by=GroupBy.CAPABILITY)
        rows = [Capability.of(item.figures, capability=item.key, cost_share=item.share) for item in usage]
        return Response(Capabilities(**common_fields(query), capabilities=rows))


class UsageCredentialsView(UsageView):
    """`GET /usage/credentials`"""

    @operation("usage_credentials", UsageQuerySerializer, CredentialsUsage)
    def get(self, request: Request) -> Response:
        """List usage by API credential."""
        query = usage_query(self, UsageQuerySerializer)
        usage = breakdown.credentials(organization=self.organization, filters=query.filters, window=query.window)
        rows = [CredentialUsage.of(item, item.figures, cost_share=item.share) for item in usage]
        return Response(CredentialsUsage(**common_fields(query), credentials=rows))


def common_fields(query: UsageQuery) -> dict[str, Any]:
    """Return the fields of `UsageBody`."""
    local, since = local_formatter(query.calendar), query.visible.history_start
    return {
        "organization": query.organization.slug,
        "plan": query.organization.plan_id,
        "currency": "USD",
        "timezone": query.organization.time_zone,
        "window": period(local, query.window),
        "history_start": local(since) if since is not None else None,
        "clipped": query.visible.is_clipped,
        "as_of": query.now,
    }


def local_formatter(calendar: Calendar) -> Callable[[datetime], str]:
    """Return a formatter for instants: ISO 8601 with the offset of the time zone of the organization."""
    zone = calendar.zone
    return lambda instant: instant.astimezone(zone).isoformat()


def period(local: Callable[[datetime], str], window: Span) -> WindowBody:
    return WindowBody(start=local(window.start), end=local(window.end))


def spend_body(local: Callable[[datetime], str], spend: Spend) -> SpendBody:
    return SpendBody.of(spend, billing_period=period(local, spend.billing_period))
