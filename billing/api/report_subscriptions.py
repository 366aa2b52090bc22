"""`/organizations/{slug}/reports`: reports of spend that the member who sends the request gets by email."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.own_membership import own_membership
from billing.models import ReportSubscription
from billing.notifications.report_subscriptions import subscribe, subscriptions_of, unsubscribe
from billing.spend_reports import send_now
from billing.types import ReportFrequency, ReportScope
from costtrack.clock import utc_now
from costtrack.serializers import StrictSerializer, validated
from organizations.api.base import OrganizationScopedViewSet
from organizations.permissions import REPORTS

_MEMBERS_ONLY = OpenApiResponse(description="The caller is a credential or an operator, not a member.")
_EXAMPLE = OpenApiExample(
    "A team each week", {"frequency": "weekly", "scope": "team", "value": "search"}, request_only=True
)


class ReportSubscriptionSerializer(serializers.ModelSerializer[ReportSubscription]):
    class Meta:
        model = ReportSubscription
        fields = ("id", "frequency", "scope", "value", "last_period", "created_at")


class NewReportSubscriptionSerializer(StrictSerializer):
    frequency = serializers.ChoiceField(choices=ReportFrequency.choices, help_text="After each week or month.")
    scope = serializers.ChoiceField(choices=ReportScope.choices, default=ReportScope.ORGANIZATION)
    value = serializers.CharField(
        max_length=255, default="", allow_blank=True, help_text="The team or the tag; empty for the organization."
    )


class ReportSubscriptionViewSet(mixins.ListModelMixin, OrganizationScopedViewSet[ReportSubscription]):
    """Reports of spend that the current member gets by email, after each week or month."""

    resource = REPORTS
    requires_api_plan = True
    queryset = ReportSubscription.objects.order_by("id")
    serializer_class = ReportSubscriptionSerializer
    filterset_class = None

    def narrow(self, queryset: Any) -> Any:
        return subscriptions_of(own_membership(self.access))

    @extend_schema(
        request=NewReportSubscriptionSerializer,
        responses={
            201: ReportSubscriptionSerializer,
            403: _MEMBERS_ONLY,
            409: OpenApiResponse(description="The member has this report already, or too many."),
        },
        examples=[_EXAMPLE],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Get a report after each week or month, beginning with the current one."""
        body = validated(NewReportSubscriptionSerializer, request.data)
        subscription = subscribe(
            organization=self.organization,
            membership=own_membership(self.access),
            frequency=ReportFrequency(body["frequency"]),
            scope=ReportScope(body["scope"]),
            value=body["value"],
            now=utc_now(),
        )
        return Response(ReportSubscriptionSerializer(subscription).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: OpenApiResponse(description="The member no longer gets the report.")})
    def destroy(self, request: Request, **_: Any) -> Response:
        """Unsubscribe from a report."""
        unsubscribe(organization=self.organization, subscription=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        request=None,
        responses={
            204: OpenApiResponse(description="The report is being sent."),
            429: OpenApiResponse(description="The member had too many emails in the last hour."),
        },
    )
    @action(detail=True, methods=["post"])
    def send(self, request: Request, **_: Any) -> Response:
        """Send the report of the last week or month now, in addition to the scheduled one."""
        send_now(organization=self.organization, subscription=self.get_object(), now=utc_now())
        return Response(status=status.HTTP_204_NO_CONTENT)
