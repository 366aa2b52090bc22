"""Document 001: the numbers behind the dashboard. (`/usage/requests` is `billing.api.usage.requests`.)"""

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
    all_of,
    head,
    local_time,
    period,
    spend_of,
)
from billing.reports.usage import breakdown
from billing.reports.usage.figures import Summary
from billing.reports.usage.periods import periods_of
from billing.reports.usage.query import UsageQuery
from billing.reports.usage.series import summary
from costtrack.calendar import Span, Unit
from costtrack.clock import iso
from costtrack.money import plain
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Environment, Scope


class UsageView(OrganizationScopedAPIView):
    """What the endpoints of the document have in common."""

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
        help_text="As much time before; of a window that runs, as much as has gone by. Null: the plan shows less.",
    )
    spend = SpendSerializer(help_text="Of the same credential, capability, model and status.")
    daily = DaySerializer(many=True, help_text="Every day, oldest first.")


class UsageSummaryView(UsageView):
    """`GET /usage/summary`"""

    @extend_schema(
        operation_id="usage_summary", tags=["usage"], parameters=[UsageQuerySerializer], responses=SummarySerializer
    )
    def get(self, request: Request) -> Response:
        """Requests, tokens and costs of a range, day by day, and what is spent now."""
        query = usage_query(request, self.access, UsageQuerySerializer)
        days = periods_of(query.calendar, query.window, Unit.DAY, param="start_date")
        before = query.before
        found = summary(
            organization=self.organization,
            filters=query.filters,
            window=query.window,
            days=days,
            before=before,
            now=query.now,
        )
        return Response(_summary(query, found, days, before))


def _summary(query: UsageQuery, found: Summary, days: list[Span], before: Span | None) -> dict[str, Any]:
    local = local_time(query)
    previous = None
    if before is not None and found.before is not None:
        previous = {"window": period(local, before), **all_of(found.before)}
    return {
        **head(query),
        **all_of(found.figures),
        "previous": previous,
        "spend": spend_of(local, found.spend),
        "daily": [
            {
                "date": query.calendar.date_of(day.start).isoformat(),
                "requests": figures.requests,
                "total_tokens": figures.total_tokens,
                "cost_usd": plain(figures.cost_usd),
            }
            for day, figures in zip(days, found.days, strict=True)
        ],
    }


class CapabilitySerializer(FiguresSerializer):
    capability = serializers.CharField(help_text="Empty: the calls did not say.")
    cost_share = serializers.FloatField(help_text="Of the cost of all, from 0 to 1.")


class CapabilitiesSerializer(AnswerSerializer):
    capabilities = CapabilitySerializer(many=True, help_text="The dearest first.")


class UsageCapabilitiesView(UsageView):
    """`GET /usage/capabilities`"""

    @extend_schema(
        operation_id="usage_capabilities",
        tags=["usage"],
        parameters=[UsageQuerySerializer],
        responses=CapabilitiesSerializer,
    )
    def get(self, request: Request) -> Response:
        """Usage by capability."""
        query = usage_query(request, self.access, UsageQuerySerializer)
        found = breakdown.capabilities(organization=self.organization, filters=query.filters, window=query.window)
        rows = [{"capability": one.key, **all_of(one.figures), "cost_share": one.share} for one in found]
        return Response({**head(query), "capabilities": rows})


class CredentialUsageSerializer(FiguresSerializer):
    client_id = serializers.CharField(help_text="Empty: recorded without a credential.")
    name = serializers.CharField()
    environment = serializers.ChoiceField(choices=[*Environment.values, ""])
    last_used_at = serializers.DateTimeField(allow_null=True)
    cost_share = serializers.FloatField(help_text="Of the cost of all, from 0 to 1.")


class CredentialsUsageSerializer(AnswerSerializer):
    credentials = CredentialUsageSerializer(many=True, help_text="The dearest first; unused ones are there, too.")


class UsageCredentialsView(UsageView):
    """`GET /usage/credentials`"""

    @extend_schema(
        operation_id="usage_credentials",
        tags=["usage"],
        parameters=[UsageQuerySerializer],
        responses=CredentialsUsageSerializer,
    )
    def get(self, request: Request) -> Response:
        """Usage by API credential."""
        query = usage_query(request, self.access, UsageQuerySerializer)
        found = breakdown.credentials(organization=self.organization, filters=query.filters, window=query.window)
        rows = [
            {
                "client_id": one.client_id,
                "name": one.name,
                "environment": one.environment,
                "last_used_at": iso(one.last_used_at) if one.last_used_at is not None else None,
                **all_of(one.figures),
                "cost_share": one.share,
            }
            for one in found
        ]
        return Response({**head(query), "credentials": rows})
