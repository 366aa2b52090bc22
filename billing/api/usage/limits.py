"""`GET /usage/limits`: the current status of every limit. (Limits are managed under `/organizations/{slug}/limits`.)"""

from datetime import datetime
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.queries import validated_query
from billing.api.usage.limit_shapes import LimitStatusesSerializer, common_fields, limit_bodies
from billing.limits.status import LimitFilter, PerValueStatus, list_limits
from billing.limits.types import LimitStatus
from billing.types import LimitScope, LimitState
from costtrack.clock import utc_now
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedAPIView
from organizations.models import APICredential, Organization
from organizations.types import Access, Scope

_TERMS = {
    "action": "pause",
    "amount_usd": "50",
    "base_amount_usd": "50",
    "raised_until": None,
    "soft_amount_usd": None,
    "thresholds": [80, 95, 100],
    "paused_by_hand": None,
    "opened_by_hand": None,
}
_USER = {"scope": "user", "of_each": True, "window": "calendar_month"}
_EXAMPLE = {
    "organization": "acme",
    "plan": "enterprise",
    "currency": "USD",
    "timezone": "Europe/Berlin",
    "week_start": 1,
    "as_of": "2026-11-02T12:00:00Z",
    "limits": [
        {
            "id": 1,
            "scope": "organization",
            "scope_value": "",
            "of_each": False,
            "window": "rolling_7d",
            **_TERMS,
            "spent_usd": "41.25",
            "reserved_usd": "0.75",
            "remaining_usd": "8",
            "percent": 82.5,
            "state": "warning",
            "window_start": "2026-10-26T12:00:00.000001Z",
            "window_end": None,
            "resets_at": None,
            "as_of": "2026-11-02T12:00:00Z",
            "unpriced_events": 0,
            "hit_at": "2026-11-03T07:30:00Z",
        },
        {
            "id": 2,
            **_USER,
            "scope_value": "",
            **_TERMS,
            "values": [
                {
                    "id": 2,
                    **_USER,
                    "scope_value": "ada",
                    **_TERMS,
                    "spent_usd": "50.02",
                    "reserved_usd": "0",
                    "remaining_usd": "0",
                    "percent": 100.04,
                    "state": "paused",
                    "window_start": "2026-10-31T23:00:00Z",
                    "window_end": "2026-11-30T23:00:00Z",
                    "resets_at": "2026-11-30T23:00:00Z",
                    "as_of": "2026-11-02T12:00:00Z",
                    "unpriced_events": 0,
                    "hit_at": None,
                }
            ],
            "values_left_out": 0,
            "values_used": 17,
        },
    ],
}


class LimitsQuery(StrictSerializer):
    """Filters; an empty value is ignored."""

    scope = serializers.ChoiceField(required=False, allow_blank=True, choices=LimitScope.choices)
    scope_value = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="Only this value of `scope` (a credential by its Client ID), including per-value limits.",
    )
    state = serializers.ChoiceField(required=False, allow_blank=True, choices=LimitState.choices)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("scope_value") and not attrs.get("scope"):
            raise serializers.ValidationError({"scope": "Required with scope_value."}, code="required")
        return attrs


class UsageLimitsView(OrganizationScopedAPIView):
    """`GET /usage/limits`"""

    required_scope: ClassVar[Scope | None] = None
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="usage_limits",
        tags=["limits"],
        parameters=[LimitsQuery],
        responses=LimitStatusesSerializer,
        examples=[OpenApiExample("A limit of the organization and a per-user limit", _EXAMPLE, response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """List limits with spend, reservations, remaining amount, state, reset time and, at the current rate, when
        they will be reached. Members and credentials with `costs:read` see all limits; other credentials see those
        of the organization and their own."""
        params, now = validated_query(LimitsQuery, request.query_params), utc_now()
        return Response(
            {
                **common_fields(self.organization, now),
                "limits": limit_bodies(_list_limits(self.organization, self.access, params, now)),
            }
        )


def _list_limits(
    organization: Organization, access: Access, params: dict[str, Any], now: datetime
) -> list[LimitStatus | PerValueStatus]:
    scope = LimitScope(params["scope"]) if params.get("scope") else None
    value: str | None = params.get("scope_value") or None
    if value is not None and scope is LimitScope.CREDENTIAL:
        value = _credential_value(organization, value)
        if value is None:
            return []
    filters = LimitFilter(
        scope=scope,
        value=value,
        state=LimitState(params["state"]) if params.get("state") else None,
        of_credential=_visible_credential(access),
    )
    return list_limits(organization=organization, filters=filters, now=now)


def _visible_credential(access: Access) -> str | None:
    """Return the value of the credential whose limits alone are visible, or None for all."""
    credential = access.principal.credential
    return str(credential.pk) if credential is not None and Scope.COSTS_READ not in access.scopes else None


def _credential_value(organization: Organization, client_id: str) -> str | None:
    """Return the id of a credential as a limit value, or None if the organization has no such Client ID."""
    credential_id = (
        APICredential.objects.of(organization).filter(client_id=client_id).values_list("pk", flat=True).first()
    )
    return str(credential_id) if credential_id is not None else None
