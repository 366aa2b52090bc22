"""Document 001: figures of the usage dashboard. (`/usage/requests` is in `billing.api.usage.requests`.)"""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.usage.events import AmountField
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.api.usage.shapes import (
    AnswerSerializer,
    FiguresSerializer,
    SpendSerializer,
    WindowSerializer,
    common_fields,
    figures_body,
    local_time,
    period,
    spend_body,
)
from billing.reports.usage import breakdown
from billing.reports.usage.figures import Summary
from billing.reports.usage.query import UsageQuery, split_into_periods
from billing.reports.usage.totals import summary
from costtrack.calendar import Span, Unit
from costtrack.clock import iso
from costtrack.money import plain
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Environment, Scope


class UsageView(OrganizationScopedAPIView):
    """Base of the endpoints of document 001."""

    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True


class DaySerializer(serializers.Serializer[Any]):
    date = serializers.DateField()
    requests = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    cost_usd = AmountField()


class PreviousSerializer(FiguresSerializer):
    window = WindowSerializer()


class SummarySerializer(AnswerSerializer, FiguresSerializer):
    previous = PreviousSerializer(
        allow_null=True,
        help_text="The equally long time before; in progress: as much as has elapsed. Null if not in the plan.",
    )
    spend = SpendSerializer(help_text="With the same filters.")
    daily = DaySerializer(many=True, help_text="Every day, oldest first.")


class UsageSummaryView(UsageView):
    """`GET /usage/summary`"""

    @extend_schema(
        operation_id="usage_summary", tags=["usage"], parameters=[UsageQuerySerializer], responses=SummarySerializer
    )
    def get(self, request: Request) -> Response:
        """Get requests, tokens and cost of a range, by day, and the current spend."""
        query = usage_query(request, self.access, UsageQuerySerializer)
        days = split_into_periods(query.calendar, query.window, Unit.DAY, param="start_date")
        before = query.before
        report = summary(
            organization=self.organization,
            filters=query.filters,
            window=query.window,
            days=days,
            before=before,
            now=query.now,
        )
        return Response(_summary(query, report, days, before))


def _summary(query: UsageQuery, report: Summary, days: list[Span], before: Span | None) -> dict[str, Any]:
    local = local_time(query)
    previous = None
    if before is not None and report.before is not None:
        previous = {"window": period(local, before), **figures_body(report.before)}
    return {
        **common_fields(query),
        **figures_body(report.figures),
        "previous": previous,
        "spend": spend_body(local, report.spend),
        "daily": [
            {
                "date": query.calendar.date_of(day.start).isoformat(),
                "requests": figures.requests,
                "total_tokens": figures.total_tokens,
                "cost_usd": plain(figures.cost_usd),
            }
            for day, figures in zip(days, report.days, strict=True)
        ],
    }


class CapabilitySerializer(FiguresSerializer):
    capability = serializers.CharField(help_text="Empty if the calls have none.")
    cost_share = serializers.FloatField(help_text="Share of the total cost, from 0 to 1.")


class CapabilitiesSerializer(AnswerSerializer):
    capabilities = CapabilitySerializer(many=True, help_text="The most expensive first.")


class UsageCapabilitiesView(UsageView):
    """`GET /usage/capabilities`"""

    @extend_schema(
        operation_id="usage_capabilities",
        tags=["usage"],
        parameters=[UsageQuerySerializer],
        responses=CapabilitiesSerializer,
    )
    def get(self, request: Request) -> Response:
        """List usage by capability."""
        query = usage_query(request, self.access, UsageQuerySerializer)
        usage = breakdown.capabilities(organization=self.organization, filters=query.filters, window=query.window)
        rows = [{"capability": item.key, **figures_body(item.figures), "cost_share": item.share} for item in usage]
        return Response({**common_fields(query), "capabilities": rows})


class CredentialUsageSerializer(FiguresSerializer):
    client_id = serializers.CharField(help_text="Empty for usage without a credential.")
    name = serializers.CharField()
    environment = serializers.ChoiceField(choices=[*Environment.values, ""])
    last_used_at = serializers.DateTimeField(allow_null=True)
    cost_share = serializers.FloatField(help_text="Share of the total cost, from 0 to 1.")


class CredentialsUsageSerializer(AnswerSerializer):
    credentials = CredentialUsageSerializer(
        many=True, help_text="The most expensive first, including unused credentials."
    )


class UsageCredentialsView(UsageView):
    """`GET /usage/credentials`"""

    @extend_schema(
        operation_id="usage_credentials",
        tags=["usage"],
        parameters=[UsageQuerySerializer],
        responses=CredentialsUsageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List usage by API credential."""
        query = usage_query(request, self.access, UsageQuerySerializer)
        usage = breakdown.credentials(organization=self.organization, filters=query.filters, window=query.window)
        rows = [
            {
                "client_id": item.client_id,
                "name": item.name,
                "environment": item.environment,
                "last_used_at": iso(item.last_used_at) if item.last_used_at is not None else None,
                **figures_body(item.figures),
                "cost_share": item.share,
            }
            for item in usage
        ]
        return Response({**common_fields(query), "credentials": rows})
