"""`/organizations/{slug}/notification-preferences`: the email preferences of the member who sends the request."""

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.own_membership import own_membership
from billing.models import NotificationPreference
from billing.notifications.preferences import CATEGORY_NAMES, change_preference, preference_of
from costtrack.serializers import StrictSerializer, validated
from organizations.api.base import OrganizationScopedAPIView
from organizations.models import Membership

_ALL = dict.fromkeys(CATEGORY_NAMES, True)
_MEMBERS_ONLY = OpenApiResponse(description="The caller is a credential or an operator, not a member.")
_EXAMPLE = OpenApiExample("All but webhooks", {**_ALL, "webhooks": False}, response_only=True, status_codes=["200"])


class PreferencesSerializer(serializers.ModelSerializer[NotificationPreference]):
    """Email preferences of owners and admins. Viewers always get the responses to their own requests."""

    class Meta:
        model = NotificationPreference
        fields = CATEGORY_NAMES


class PreferencesChangeSerializer(StrictSerializer):
    warnings = serializers.BooleanField(
        required=False, help_text="A limit is close to its amount, or a notify-only limit was exceeded."
    )
    pauses = serializers.BooleanField(required=False, help_text="Access was paused or resumed.")
    requests = serializers.BooleanField(required=False, help_text="An increase was requested, approved or declined.")
    usage = serializers.BooleanField(
        required=False,
        help_text="A model has no price, usage was not read with certainty, spend is unusual, or a month is closed.",
    )
    webhooks = serializers.BooleanField(required=False, help_text="A webhook was disabled because it kept failing.")


class NotificationPreferencesView(OrganizationScopedAPIView):
    required_scope = None
    is_own = True

    @extend_schema(responses={200: PreferencesSerializer, 403: _MEMBERS_ONLY}, examples=[_EXAMPLE])
    def get(self, request: Request, **_: str) -> Response:
        """Get the email preferences of the current member."""
        return Response(PreferencesSerializer(preference_of(self._membership())).data)

    @extend_schema(
        request=PreferencesChangeSerializer,
        responses={200: PreferencesSerializer, 403: _MEMBERS_ONLY},
        examples=[OpenApiExample("Turn off webhook emails", {"webhooks": False}, request_only=True), _EXAMPLE],
    )
    def patch(self, request: Request, **_: str) -> Response:
        """Turn categories of emails on or off for the current member."""
        body = validated(PreferencesChangeSerializer, request.data)
        preference = change_preference(organization=self.organization, membership=self._membership(), changes=body)
        return Response(PreferencesSerializer(preference).data)

    def _membership(self) -> Membership:
        return own_membership(self.access)
