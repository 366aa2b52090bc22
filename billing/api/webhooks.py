"""`/organizations/{slug}/webhooks`: webhook endpoints that receive notices."""

from datetime import timedelta
from typing import Any

import django_filters
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.deliveries import DeliverySerializer, can_see_secrets
from billing.models import WebhookEndpoint
from billing.notifications import webhooks
from billing.notifications.webhook_urls import MAX_URL_LENGTH, display_url
from billing.types import NoticeKind, WebhookFormat
from costtrack.clock import utc_now
from costtrack.filters import TrueOrFalseFilter
from costtrack.serializers import StrictSerializer, validated
from organizations.api.base import OrganizationScopedViewSet
from organizations.permissions import NOTIFICATIONS
from organizations.services import MAX_GRACE

SELECTABLE_KINDS = [(kind.value, kind.label) for kind in webhooks.SELECTABLE_KINDS]
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_MAX_DESCRIPTION_LENGTH = 120
_DEFAULT_GRACE = timedelta(hours=24)

_NEW = {
    "url": "https://ops.acme.example/hooks/costtrack",
    "description": "On-call",
    "kinds": [NoticeKind.THRESHOLD, NoticeKind.PAUSED],
}
_WEBHOOK = {
    "id": 7,
    **_NEW,
    "format": WebhookFormat.STANDARD,
    "enabled": True,
    "disabled_reason": "",
    "failing_since": None,
    "previous_secret_valid_until": None,
    "created_at": "2026-11-02T09:00:00Z",
}
_ISSUED = {**_WEBHOOK, "secret": "whsec_<base64 of 32 random bytes>"}


class WebhookSerializer(serializers.ModelSerializer[WebhookEndpoint]):
    """A webhook endpoint, without its secret."""

    url = serializers.SerializerMethodField(
        help_text="Without `manage` only its host, because the path may be a secret."
    )
    format = serializers.ChoiceField(choices=WebhookFormat.choices)
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=SELECTABLE_KINDS),
        help_text="Kinds of notices to send. Empty: all.",
    )
    disabled_reason = serializers.CharField(help_text="Empty while it is enabled.")
    failing_since = serializers.DateTimeField(
        allow_null=True,
        help_text="The first failed attempt since the last successful one. Null if the last attempt succeeded.",
    )
    previous_secret_valid_until = serializers.DateTimeField(
        source="previous_valid_until",
        allow_null=True,
        help_text="Until then messages are also signed with the previous secret.",
    )

    class Meta:
        model = WebhookEndpoint
        fields = (
            *("id", "url", "description", "format", "kinds", "enabled", "disabled_reason", "failing_since"),
            *("previous_secret_valid_until", "created_at"),
        )

    @extend_schema_field(str)
    def get_url(self, webhook: WebhookEndpoint) -> str:
        return webhook.url if can_see_secrets(self) else display_url(webhook.url)


class IssuedWebhookSerializer(WebhookSerializer):
    """A webhook with its secret, for the OpenAPI document."""

    secret = serializers.CharField(help_text="Secret to verify signatures. Shown only once.")

    class Meta(WebhookSerializer.Meta):
        fields = (*WebhookSerializer.Meta.fields, "secret")  # type: ignore[assignment]


def _url(*, required: bool) -> serializers.CharField:
    help_text = "An https URL on the public internet, with port 443 or 1024 and above."
    return serializers.CharField(max_length=MAX_URL_LENGTH, required=required, help_text=help_text)


class WebhookChangeSerializer(StrictSerializer):
    url = _url(required=False)
    description = serializers.CharField(max_length=_MAX_DESCRIPTION_LENGTH, required=False, allow_blank=True)
    format = serializers.ChoiceField(choices=WebhookFormat.choices, required=False)
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=SELECTABLE_KINDS), required=False, help_text="Empty: all."
    )


class NewWebhookSerializer(WebhookChangeSerializer):
    url = _url(required=True)


class WebhookPatchSerializer(WebhookChangeSerializer):
    enabled = serializers.BooleanField(
        required=False, help_text="False: it receives nothing until it is enabled again."
    )


class WebhookRotationSerializer(StrictSerializer):
    grace_seconds = serializers.IntegerField(
        min_value=0,
        max_value=int(MAX_GRACE.total_seconds()),
        default=int(_DEFAULT_GRACE.total_seconds()),
        help_text="How long messages are also signed with the previous secret. Default: one day, maximum: 30 days.",
    )


class WebhookFilter(django_filters.FilterSet):
    enabled = TrueOrFalseFilter(label="Only enabled or only disabled ones.")

    class Meta:
        model = WebhookEndpoint
        fields = ("enabled",)


class WebhookViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[WebhookEndpoint]):
    queryset = WebhookEndpoint.objects.order_by("id")
    serializer_class = WebhookSerializer
    filterset_class = WebhookFilter
    resource = NOTIFICATIONS

    @extend_schema(
        request=NewWebhookSerializer,
        responses={
            201: IssuedWebhookSerializer,
            409: OpenApiResponse(description="The maximum number of webhooks is reached."),
        },
        examples=[
            OpenApiExample("Two kinds", _NEW, request_only=True),
            OpenApiExample("With its secret", _ISSUED, response_only=True, status_codes=["201"]),
        ],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Create a webhook. The response contains its secret, which is never shown again."""
        body = validated(NewWebhookSerializer, request.data)
        issued = webhooks.create_webhook(
            organization=self.organization, **body, actor=self.principal.label, now=utc_now()
        )
        return self._issued_response(issued, status.HTTP_201_CREATED)

    @extend_schema(
        request=WebhookPatchSerializer,
        responses=WebhookSerializer,
        examples=[OpenApiExample("All kinds", {"kinds": []}, request_only=True)],
    )
    def partial_update(self, request: Request, **_: Any) -> Response:
        """Change the given fields."""
        webhook = self.get_object()
        body = validated(WebhookPatchSerializer, request.data)
        changes = body
        enabled, actor = changes.pop("enabled", None), self.principal.label
        webhook = webhooks.change_webhook(organization=self.organization, webhook=webhook, **changes, actor=actor)
        if enabled is True:
            webhook = webhooks.enable_webhook(organization=self.organization, webhook=webhook, actor=actor)
        elif enabled is False:
            webhook = webhooks.disable_webhook(
                organization=self.organization, webhook=webhook, actor=actor, now=utc_now()
            )
        return Response(self.get_serializer(webhook).data)

    @extend_schema(responses={204: OpenApiResponse(description="The webhook was deleted.")})
    def destroy(self, request: Request, **_: Any) -> Response:
        """Delete a webhook. Its pending deliveries fail; the delivery log stays."""
        webhooks.remove_webhook(
            organization=self.organization, webhook=self.get_object(), actor=self.principal.label, now=utc_now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        request=WebhookRotationSerializer,
        responses=IssuedWebhookSerializer,
        examples=[
            OpenApiExample("One hour of overlap", {"grace_seconds": 3600}, request_only=True),
            OpenApiExample("With its secret", _ISSUED, response_only=True),
        ],
    )
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, **_: Any) -> Response:
        """A new secret, shown once; messages bear both signatures while the grace period lasts."""
        webhook = self.get_object()
        body = validated(WebhookRotationSerializer, request.data)
        issued = webhooks.rotate_webhook(
            organization=self.organization,
            webhook=webhook,
            grace=timedelta(seconds=body["grace_seconds"]),
            now=utc_now(),
            actor=self.principal.label,
        )
        return self._issued_response(issued, status.HTTP_200_OK)

    @extend_schema(request=None, responses=WebhookSerializer)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, **_: Any) -> Response:
        """Enable a webhook again. Failed deliveries can be resent one by one."""
        webhook = webhooks.enable_webhook(
            organization=self.organization, webhook=self.get_object(), actor=self.principal.label
        )
        return Response(self.get_serializer(webhook).data)

    @extend_schema(
        request=None,
        responses={
            202: OpenApiResponse(DeliverySerializer, description="Queued. Poll the delivery by its id."),
            409: OpenApiResponse(description="The webhook is disabled."),
        },
    )
    @action(detail=True, methods=["post"])
    def test(self, request: Request, **_: Any) -> Response:
        """Send a message of kind `test` to this webhook only, in one attempt."""
        delivery = webhooks.send_test(
            organization=self.organization, webhook=self.get_object(), actor=self.principal.label, now=utc_now()
        )
        serializer = DeliverySerializer(delivery, context=self.get_serializer_context())
        return Response(serializer.data, status=status.HTTP_202_ACCEPTED)

    def _issued_response(self, issued: webhooks.IssuedWebhook, code: int) -> Response:
        body = {**self.get_serializer(issued.webhook).data, "secret": issued.secret}
        return Response(body, status=code, headers=_NO_STORE)
