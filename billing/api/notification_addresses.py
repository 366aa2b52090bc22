"""Addresses that get notices without being a member: `/organizations/{slug}/notification-addresses`."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.models import NotificationAddress
from billing.notifications.preferences import CATEGORY_NAMES
from billing.notifications.recipients import add_address, remove_address
from costtrack.clock import utc_now
from costtrack.serializers import StrictSerializer, validated
from organizations.api.base import OrganizationScopedViewSet
from organizations.permissions import MEMBERS

_EXAMPLE = OpenApiExample("Finance", {"address": "finance@acme.example", "categories": ["pauses"]}, request_only=True)


class NotificationAddressSerializer(serializers.ModelSerializer[NotificationAddress]):
    categories = serializers.ListField(
        child=serializers.ChoiceField(choices=CATEGORY_NAMES), help_text="Empty: notices of all categories."
    )

    class Meta:
        model = NotificationAddress
        fields = ("id", "address", "categories", "created_at")


class NewNotificationAddressSerializer(StrictSerializer):
    address = serializers.EmailField(max_length=254)
    categories = serializers.ListField(
        child=serializers.ChoiceField(choices=CATEGORY_NAMES),
        default=list,
        help_text="Categories of notices, as in the preferences of members. Default: all.",
    )


class NotificationAddressViewSet(mixins.ListModelMixin, OrganizationScopedViewSet[NotificationAddress]):
    """Addresses that get notices in addition to members, for example of the finance department."""

    resource = MEMBERS
    queryset = NotificationAddress.objects.order_by("id")
    serializer_class = NotificationAddressSerializer
    filterset_class = None

    @extend_schema(
        request=NewNotificationAddressSerializer,
        responses={
            201: NotificationAddressSerializer,
            409: OpenApiResponse(description="The address was already added, or there are too many."),
        },
        examples=[_EXAMPLE],
    )
    def create(self, request: Request, **_: str) -> Response:
        """Send notices to an address."""
        body = validated(NewNotificationAddressSerializer, request.data)
        row = add_address(organization=self.organization, **body, actor=self.principal.label, now=utc_now())
        return Response(NotificationAddressSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: OpenApiResponse(description="The address gets no more notices.")})
    def destroy(self, request: Request, **_: Any) -> Response:
        """Send no more notices to an address."""
        remove_address(organization=self.organization, row=self.get_object(), actor=self.principal.label)
        return Response(status=status.HTTP_204_NO_CONTENT)
