"""Senders whose metrics count as usage: `/organizations/{slug}/metric-senders`."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.ingest.metric_senders import add_metric_sender, remove_metric_sender
from billing.models import MetricSender
from costtrack.clock import utc_now
from costtrack.serializers import StrictSerializer, validated
from organizations.api.base import OrganizationScopedViewSet
from organizations.permissions import PRICES

_EXAMPLE = OpenApiExample("Claude Code", {"name": "claude-code"}, request_only=True)


class MetricSenderSerializer(serializers.ModelSerializer[MetricSender]):
    metric = serializers.CharField(help_text="The metrics that are counted. Empty until the first ones arrive.")

    class Meta:
        model = MetricSender
        fields = ("id", "name", "metric", "created_at")


class NewMetricSenderSerializer(StrictSerializer):
    name = serializers.CharField(max_length=255, help_text="The `service.name` of the sender.")


class MetricSenderViewSet(mixins.ListModelMixin, OrganizationScopedViewSet[MetricSender]):
    """Senders of OpenTelemetry that export only metrics, which therefore count as usage."""

    resource = PRICES
    queryset = MetricSender.objects.order_by("id")
    serializer_class = MetricSenderSerializer
    filterset_class = None

    @extend_schema(
        request=NewMetricSenderSerializer,
        responses={
            201: MetricSenderSerializer,
            409: OpenApiResponse(description="The sender was already added, or there are too many."),
        },
        examples=[_EXAMPLE],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Count the metrics of a sender as usage from now on."""
        body = validated(NewMetricSenderSerializer, request.data)
        sender = add_metric_sender(organization=self.organization, **body, actor=self.principal.label, now=utc_now())
        return Response(MetricSenderSerializer(sender).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: OpenApiResponse(description="The sender's metrics are only a check again.")})
    def destroy(self, request: Request, **_: Any) -> Response:
        """Stop counting the metrics of a sender as usage. What was counted stays."""
        remove_metric_sender(organization=self.organization, sender=self.get_object(), actor=self.principal.label)
        return Response(status=status.HTTP_204_NO_CONTENT)
