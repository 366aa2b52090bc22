"""`/organizations/{slug}/webhooks`: where notices are sent to."""

from datetime import timedelta
from typing import Any

import django_filters
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.deliveries import DeliverySerializer, sees_secrets
from billing.models import WebhookEndpoint
from billing.notifications import webhooks
from billing.notifications.webhook_urls import MAX_URL_LENGTH, display_url
from billing.types import NoticeKind, WebhookFormat
from costtrack.clock import utc_now
from costtrack.filters import TrueOrFalseFilter
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedViewSet
from organizations.services import MAX_GRACE
from organizations.types import Scope

WANTED_KINDS = [(kind.value, kind.label) for kind in webhooks.WANTED_KINDS]
_NEVER_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}
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
    """A webhook as it is shown: never with a secret."""

    url = serializers.SerializerMethodField(help_text="Without manage, only its host: a path may be a secret.")
    format = serializers.ChoiceField(choices=WebhookFormat.choices)
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=WANTED_KINDS), help_text="What it is told of. Empty: everything."
    )
    disabled_reason = serializers.CharField(help_text="Empty while it is enabled.")
    failing_since = serializers.DateTimeField(
        allow_null=True, help_text="The first failed attempt since a message has arrived. Null: the last one has."
    )
    previous_secret_valid_until = serializers.DateTimeField(
        source="previous_valid_until",
        allow_null=True,
        help_text="Until then messages bear the signature of the secret before, too.",
    )

    class Meta:
        model = WebhookEndpoint
        fields = (
            *("id", "url", "description", "format", "kinds", "enabled", "disabled_reason", "failing_since"),
            *("previous_secret_valid_until", "created_at"),
        )

    @extend_schema_field(str)
    def get_url(self, webhook: WebhookEndpoint) -> str:
        return webhook.url if sees_secrets(self) else display_url(webhook.url)


class IssuedWebhookSerializer(WebhookSerializer):
    """For the OpenAPI document: a webhook with its secret."""

    secret = serializers.CharField(help_text="Verifies the signatures. Shown now, and never again.")

    class Meta(WebhookSerializer.Meta):
        fields = (*WebhookSerializer.Meta.fields, "secret")  # type: ignore[assignment]


class WebhookChangeSerializer(StrictSerializer):
    url = serializers.CharField(
        max_length=MAX_URL_LENGTH,
        required=False,
        help_text="https, at port 443 or from 1024 on, on the public internet.",
    )
    description = serializers.CharField(max_length=_MAX_DESCRIPTION_LENGTH, required=False, allow_blank=True)
    format = serializers.ChoiceField(choices=WebhookFormat.choices, required=False)
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=WANTED_KINDS), required=False, help_text="Empty: everything."
    )


class NewWebhookSerializer(WebhookChangeSerializer):
    url = serializers.CharField(
        max_length=MAX_URL_LENGTH, help_text="https, at port 443 or from 1024 on, on the public internet."
    )


class WebhookPatchSerializer(WebhookChangeSerializer):
    enabled = serializers.BooleanField(required=False, help_text="False: it is told nothing until it is enabled again.")


class WebhookRotationSerializer(StrictSerializer):
    grace_seconds = serializers.IntegerField(
        min_value=0,
        max_value=int(MAX_GRACE.total_seconds()),
        default=int(_DEFAULT_GRACE.total_seconds()),
        help_text="How long messages bear the signature of the secret before, too: a day if not given, at most 30.",
    )


class WebhookFilter(django_filters.FilterSet):
    enabled = TrueOrFalseFilter(label="Only enabled ones, or only others.")

    class Meta:
        model = WebhookEndpoint
        fields = ("enabled",)


class WebhookViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[WebhookEndpoint]):
    queryset = WebhookEndpoint.objects.order_by("id")
    serializer_class = WebhookSerializer
    filterset_class = WebhookFilter
    scopes_by_action = {"list": Scope.COSTS_READ, "retrieve": Scope.COSTS_READ}

    @extend_schema(
        request=NewWebhookSerializer,
        responses={
            201: IssuedWebhookSerializer,
            409: OpenApiResponse(description="There are as many webhooks as there may be."),
        },
        examples=[
            OpenApiExample("Two kinds", _NEW, request_only=True),
            OpenApiExample("With its secret", _ISSUED, response_only=True, status_codes=["201"]),
        ],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Add a webhook. The answer shows its secret, once and never again."""
        body = NewWebhookSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        issued = webhooks.create_webhook(
            organization=self.organization, **body.validated_data, actor=self.principal.label, now=utc_now()
        )
        return self._shown_once(issued, status.HTTP_201_CREATED)

    @extend_schema(
        request=WebhookPatchSerializer,
        responses=WebhookSerializer,
        examples=[OpenApiExample("Told of everything", {"kinds": []}, request_only=True)],
    )
    def partial_update(self, request: Request, **_: Any) -> Response:
        """Change what is given."""
        webhook = self.get_object()
        body = WebhookPatchSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        changes = dict(body.validated_data)
        enabled, actor = changes.pop("enabled", None), self.principal.label
        webhook = webhooks.change_webhook(organization=self.organization, webhook=webhook, **changes, actor=actor)
        if enabled is True:
            webhook = webhooks.enable_webhook(organization=self.organization, webhook=webhook, actor=actor)
        elif enabled is False:
            webhook = webhooks.disable_webhook(
                organization=self.organization, webhook=webhook, actor=actor, now=utc_now()
            )
        return Response(self.get_serializer(webhook).data)

    @extend_schema(responses={204: OpenApiResponse(description="The webhook is gone.")})
    def destroy(self, request: Request, **_: Any) -> Response:
        """Remove a webhook. What waits for it is given up; the log of its deliveries stays."""
        webhooks.remove_webhook(
            organization=self.organization, webhook=self.get_object(), actor=self.principal.label, now=utc_now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        request=WebhookRotationSerializer,
        responses=IssuedWebhookSerializer,
        examples=[
            OpenApiExample("An hour to change it", {"grace_seconds": 3600}, request_only=True),
            OpenApiExample("With its secret", _ISSUED, response_only=True),
        ],
    )
    def rotate(self, request: Request, **_: Any) -> Response:
        """A new secret, shown once; messages bear both signatures while the grace period lasts."""
        webhook = self.get_object()
        body = WebhookRotationSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        issued = webhooks.rotate_webhook(
            organization=self.organization,
            webhook=webhook,
            grace=timedelta(seconds=body.validated_data["grace_seconds"]),
            now=utc_now(),
            actor=self.principal.label,
        )
        return self._shown_once(issued, status.HTTP_200_OK)

    @extend_schema(request=None, responses=WebhookSerializer)
    def enable(self, request: Request, **_: Any) -> Response:
        """Enable a webhook again. What was given up meanwhile can be sent again, one by one."""
        webhook = webhooks.enable_webhook(
            organization=self.organization, webhook=self.get_object(), actor=self.principal.label
        )
        return Response(self.get_serializer(webhook).data)

    @extend_schema(
        request=None,
        responses={
            202: OpenApiResponse(DeliverySerializer, description="On its way; ask for the delivery by its id."),
            409: OpenApiResponse(description="The webhook is disabled."),
        },
    )
    def test(self, request: Request, **_: Any) -> Response:
        """Send a message of the kind `test` to this webhook alone, in one attempt."""
        delivery = webhooks.send_test(
            organization=self.organization, webhook=self.get_object(), actor=self.principal.label, now=utc_now()
        )
        shown = DeliverySerializer(delivery, context=self.get_serializer_context())
        return Response(shown.data, status=status.HTTP_202_ACCEPTED)

    def _shown_once(self, issued: webhooks.IssuedWebhook, code: int) -> Response:
        body = {**self.get_serializer(issued.webhook).data, "secret": issued.secret}
        return Response(body, status=code, headers=_NEVER_KEPT)
