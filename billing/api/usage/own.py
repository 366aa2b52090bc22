"""`GET /usage/own`: the spend of the calling credential and the limits that apply to it."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.queries import validated_query
from billing.api.usage.limit_shapes import HeadSerializer, LimitStatusSerializer, common_fields, limit_body
from billing.api.usage.shapes import SpendSerializer, local_formatter, spend_body
from billing.limits.cache import limit_set
from billing.limits.status import statuses
from billing.limits.types import Dimensions
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.totals import spend_now
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
    """No parameters besides the organization, which is optional for a credential."""


class OwnSerializer(HeadSerializer):
    client_id = serializers.CharField()
    name = serializers.CharField()
    environment = serializers.ChoiceField(choices=Environment.choices)
    spend = SpendSerializer(help_text="Spend of this credential until now, by the calendar of the organization.")
    limits = LimitStatusSerializer(many=True, help_text="Limits of the organization and of the credential.")


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
        """Get the spend of this credential today, in the last seven days and this month, and its limits. For
        credentials, with any scopes; users see `/usage/summary`."""
        validated_query(OwnQuery, request.query_params)
        credential, now = self._credential(), utc_now()
        call = Dimensions(credential_id=credential.pk)
        rules = limit_set(self.organization).rules_for(call, now=now)
        filters = UsageFilter(client_id=credential.client_id)
        spend = spend_now(organization=self.organization, filters=filters, now=now)
        answer: dict[str, Any] = {
            **common_fields(self.organization, now),
            "client_id": credential.client_id,
            "name": credential.name,
            "environment": credential.environment,
            "spend": spend_body(local_formatter(self.organization.calendar), spend),
            "limits": [limit_body(status) for status in statuses(organization=self.organization, rules=rules, now=now)],
        }
        return Response(answer)

    def _credential(self) -> APICredential:
        credential = self.principal.credential
        if credential is None or credential.organization_id is None:
            message = (
                "Only credentials of an organization can use this endpoint. Users and operators can use /usage/summary."
            )
            raise InvalidError(message, code="not_a_credential")
        return credential
