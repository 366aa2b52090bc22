"""Senders whose metrics count as usage: `/organizations/{slug}/metric-senders`."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.ingest.metric_senders import add_metric_sender, remove_metric_sender
from billing.models import MetricSender
from billing.reports.metric_senders import MetricTokens, metric_tokens
from costtrack.clock import utc_now
from costtrack.serializers import StrictSerializer, validated
from organizations.api.base import OrganizationScopedViewSet
from organizations.permissions import PRICES

_EXAMPLE = OpenApiExample("Claude Code", {"name": "claude-code"}, request_only=True)


class MetricSenderSerializer(serializers.ModelSerializer[MetricSender]):
    metric = serializers.CharField(help_text="The metrics that are counted. Empty until the first ones arrive.")
    current_hour_tokens = serializers.SerializerMethodField(
        help_text="Tokens in its metrics in the current hour (UTC) so far. They are counted with each export, unless "
        "logs or spans of the hour have arrived."
    )
    last_day_tokens = serializers.SerializerMethodField(help_text="Tokens in its metrics in the last 24 hours.")
    last_day_missing_tokens = serializers.SerializerMethodField(
        help_text="Of these, tokens that are in no event: logs or spans of their hours came first, but have fewer."
    )

    class Meta:
        model = MetricSender
        fields = (
            *("id", "name", "metric", "created_at"),
            *("current_hour_tokens", "last_day_tokens", "last_day_missing_tokens"),
        )

    def get_current_hour_tokens(self, sender: MetricSender) -> int:
        return self._tokens(sender).current_hour

    def get_last_day_tokens(self, sender: MetricSender) -> int:
        return self._tokens(sender).last_day

    def get_last_day_missing_tokens(self, sender: MetricSender) -> int:
        return self._tokens(sender).last_day_missing

    def _tokens(self, sender: MetricSender) -> MetricTokens:
        tokens: dict[int, MetricTokens] = self.context["tokens"]
        return tokens[sender.pk]


class NewMetricSenderSerializer(StrictSerializer):
    name = serializers.CharField(max_length=255, help_text="The `service.name` of the sender.")


class MetricSenderViewSet(mixins.ListModelMixin, OrganizationScopedViewSet[MetricSender]):
    """Senders of OpenTelemetry that export only metrics, which therefore count as usage."""

    resource = PRICES
    queryset = MetricSender.objects.order_by("id")
    serializer_class = MetricSenderSerializer
    filterset_class = None

    def get_serializer(self, *rows: Any, **options: Any) -> Any:
        if rows:
            senders = rows[0] if options.get("many") else rows
            tokens = metric_tokens(self.organization, senders, utc_now())
            options["context"] = {**self.get_serializer_context(), "tokens": tokens}
        return super().get_serializer(*rows, **options)

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
        return Response(self.get_serializer(sender).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: OpenApiResponse(description="The sender's metrics are only a check again.")})
    def destroy(self, request: Request, **_: Any) -> Response:
        """Stop counting the metrics of a sender as usage. What was counted stays."""
        remove_metric_sender(organization=self.organization, sender=self.get_object(), actor=self.principal.label)
        return Response(status=status.HTTP_204_NO_CONTENT)
