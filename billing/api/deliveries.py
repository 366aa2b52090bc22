"""`/organizations/{slug}/deliveries`: the log of notice deliveries, and resending them."""

from typing import Any

import django_filters
from django import forms
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from billing.models import Delivery
from billing.notifications.deliveries import resend, shown_recipient
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack.clock import utc_now
from organizations.api.base import OrganizationScopedViewSet
from organizations.permissions import NOTIFICATIONS
from organizations.types import Scope

_DELIVERY = {
    "id": 12,
    "kind": NoticeKind.PAUSED,
    "subject": "Access of Acme Research is paused: $100 of $100 are spent",
    "channel": Channel.WEBHOOK,
    "recipient": "https://ops.acme.example/hooks/costtrack",
    "webhook": 7,
    "message_id": "5-webhook-2-9f1c3a7be204",
    "state": DeliveryState.PENDING,
    "attempts": 1,
    "created_at": "2026-11-02T09:00:00Z",
    "next_attempt_at": "2026-11-02T09:00:05Z",
    "finished_at": None,
    "last_status": 503,
    "last_error": "Answered 503.",
}


def can_see_secrets(serializer: serializers.BaseSerializer[Any]) -> bool:
    """Whether the caller may see full recipients and errors, which requires `manage`. The path of a URL may be
    enough to post to a channel, and errors may repeat it."""
    return Scope.MANAGE in serializer.context["view"].access.scopes


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """The delivery of a notice to one recipient."""

    kind = serializers.ChoiceField(source="notice.kind", choices=NoticeKind.choices)
    subject = serializers.CharField(source="notice.subject", help_text="One line of text.")
    channel = serializers.ChoiceField(choices=Channel.choices)
    recipient = serializers.SerializerMethodField(help_text="The URL or email address; without `manage` only its host.")
    webhook = serializers.IntegerField(
        source="webhook_id", allow_null=True, help_text="Null if the webhook was deleted."
    )
    message_id = serializers.CharField(
        help_text="The same for every attempt: header `webhook-id`, or part of `Message-ID`."
    )
    state = serializers.ChoiceField(choices=DeliveryState.choices)
    next_attempt_at = serializers.SerializerMethodField(help_text="Null once it is sent or failed.")
    last_status = serializers.IntegerField(
        allow_null=True, help_text="HTTP or SMTP status of the last attempt; null if there was no response."
    )
    last_error = serializers.SerializerMethodField(help_text="Error of the last attempt; empty without `manage`.")

    class Meta:
        model = Delivery
        fields = (
            *("id", "kind", "subject", "channel", "recipient", "webhook", "message_id", "state", "attempts"),
            *("created_at", "next_attempt_at", "finished_at", "last_status", "last_error"),
        )

    @extend_schema_field(str)
    def get_recipient(self, delivery: Delivery) -> str:
        return shown_recipient(delivery, is_open=can_see_secrets(self))

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, delivery: Delivery) -> Any:
        if delivery.state != DeliveryState.PENDING:
            return None
        return serializers.DateTimeField().to_representation(delivery.next_attempt_at)

    @extend_schema_field(str)
    def get_last_error(self, delivery: Delivery) -> str:
        return delivery.last_error if can_see_secrets(self) else ""


@extend_schema_field({"type": "integer"})
class RowFilter(django_filters.Filter):
    """Filters by the id of a row."""

    field_class = forms.IntegerField


class DeliveryFilter(django_filters.FilterSet):
    channel = django_filters.ChoiceFilter(choices=Channel.choices)
    state = django_filters.ChoiceFilter(choices=DeliveryState.choices)
    kind = django_filters.ChoiceFilter(field_name="notice__kind", choices=NoticeKind.choices)
    webhook = RowFilter(field_name="webhook_id", label="Id of the webhook.")

    class Meta:
        model = Delivery
        fields = ("channel", "state", "kind", "webhook")


class DeliveryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[Delivery]):
    """Deliveries, newest first."""

    queryset = Delivery.objects.select_related("notice").order_by("-id")
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter
    resource = NOTIFICATIONS

    @extend_schema(
        request=None,
        responses={200: DeliverySerializer, 409: OpenApiResponse(description="The webhook is deleted or disabled.")},
        examples=[OpenApiExample("A webhook", _DELIVERY, response_only=True, status_codes=["200"])],
    )
    @action(detail=True, methods=["post"])
    def resend(self, request: Request, **_: Any) -> Response:
        """Resend a delivery now, whatever its state. The message id of a webhook stays the same."""
        delivery = resend(
            organization=self.organization, delivery=self.get_object(), now=utc_now(), actor=self.principal.label
        )
        return Response(self.get_serializer(delivery).data)
