"""`GET /usage/own`: what the credential that asks has spent itself, and the limits that are about it."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.queries import checked
from billing.api.usage.limit_shapes import HeadSerializer, StandingSerializer, head, standing
from billing.api.usage.shapes import SpendSerializer, clock_of, spend_of
from billing.limits.cache import limit_set
from billing.limits.status import statuses
from billing.limits.types import Dimensions
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.series import spend_now
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedAPIView
from organizations.models import APICredential
from organizations.types import Environment, Scope

_EXAMPLE = {
    "organization": "acme",
    "plan": "pay_as_you_go",
    "currency": "USD",
    "timezone": "Europe/Berlin",
    "week_start": 1,
    "as_of": "2026-11-02T12:00:00Z",
    "client_id": "ct_9f8a2b7c6d5e4f3a2b1c",
    "name": "nightly reports",
    "environment": "production",
    "spend": {
        "today_usd": "1.25",
        "rolling_7d_usd": "12.5",
        "month_to_date_usd": "2.75",
        "billing_period": {"start": "2026-11-01T00:00:00+01:00", "end": "2026-12-01T00:00:00+01:00"},
    },
    "limits": [],
}


class OwnQuery(StrictSerializer):
    """Nothing but the organization, which a credential need not name."""


class OwnSerializer(HeadSerializer):
    client_id = serializers.CharField()
    name = serializers.CharField()
    environment = serializers.ChoiceField(choices=Environment.choices)
    spend = SpendSerializer(help_text="Of this credential, up to now, by the organization's calendar.")
    limits = StandingSerializer(many=True, help_text="The organization's, and those of the credential.")


class UsageOwnView(OrganizationScopedAPIView):
    """`GET /usage/own`"""

    required_scope: ClassVar[Scope | None] = None
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="usage_own",
        tags=["limits"],
        responses=OwnSerializer,
        examples=[OpenApiExample("A credential without limits", _EXAMPLE, response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """What this credential has spent today, in the last seven days and this month, and its limits. For
        credentials, whatever their scopes; people see `/usage/summary`."""
        checked(OwnQuery, request.query_params)
        credential, now = self._credential(), utc_now()
        call = Dimensions(credential_id=credential.pk)
        rules = limit_set(self.organization).rules_for(call, now=now)
        filters = UsageFilter(client_id=credential.client_id)
        spend = spend_now(organization=self.organization, filters=filters, now=now)
        answer: dict[str, Any] = {
            **head(self.organization, now),
            "client_id": credential.client_id,
            "name": credential.name,
            "environment": credential.environment,
            "spend": spend_of(clock_of(self.organization.calendar), spend),
            "limits": [standing(status) for status in statuses(organization=self.organization, rules=rules, now=now)],
        }
        return Response(answer)

    def _credential(self) -> APICredential:
        credential = self.principal.credential
        if credential is None or credential.organization_id is None:
            message = "This is for an organization's credentials; people and operators see /usage/summary."
            raise InvalidError(message, code="not_a_credential")
        return credential
