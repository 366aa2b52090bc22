"""`GET /usage/limits`: how every limit stands now. (Limits are set under `/organizations/{slug}/limits`.)"""

from datetime import datetime
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.queries import checked
from billing.api.usage.limit_shapes import StandingsSerializer, head, standings
from billing.limits.listing import EachStatus, LimitFilter, list_limits
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
    """An empty filter is none."""

    scope = serializers.ChoiceField(required=False, allow_blank=True, choices=LimitScope.choices)
    scope_value = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="Exactly this value of `scope` (a credential by its Client ID), also in limits of each value.",
    )
    state = serializers.ChoiceField(required=False, allow_blank=True, choices=LimitState.choices)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("scope_value") and not attrs.get("scope"):
            raise serializers.ValidationError({"scope": "Say what scope_value is a value of."}, code="required")
        return attrs


class UsageLimitsView(OrganizationScopedAPIView):
    """`GET /usage/limits`"""

    required_scope: ClassVar[Scope | None] = None
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="usage_limits",
        tags=["limits"],
        parameters=[LimitsQuery],
        responses=StandingsSerializer,
        examples=[OpenApiExample("An organization's limit, and one of each user", _EXAMPLE, response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """How each limit stands: what is spent and reserved, what is left, whether it pauses, when it resets and, at
        today's rate, when it will be hit. Members and credentials with `costs:read` see all of them; any other
        credential the organization's and its own."""
        asked, now = checked(LimitsQuery, request.query_params), utc_now()
        return Response(
            {**head(self.organization, now), "limits": standings(_found(self.organization, self.access, asked, now))}
        )


def _found(
    organization: Organization, access: Access, asked: dict[str, Any], now: datetime
) -> list[LimitStatus | EachStatus]:
    scope = LimitScope(asked["scope"]) if asked.get("scope") else None
    value: str | None = asked.get("scope_value") or None
    if value is not None and scope is LimitScope.CREDENTIAL:
        value = _number_of(organization, value)
        if value is None:
            return []
    filters = LimitFilter(
        scope=scope,
        value=value,
        state=LimitState(asked["state"]) if asked.get("state") else None,
        of_credential=_only_of(access),
    )
    return list_limits(organization=organization, filters=filters, now=now)


def _only_of(access: Access) -> str | None:
    """The credential whose limits alone are shown, by its number."""
    credential = access.principal.credential
    return str(credential.pk) if credential is not None and Scope.COSTS_READ not in access.scopes else None


def _number_of(organization: Organization, client_id: str) -> str | None:
    """A credential's number as rollups keep it; None: the organization has none with that Client ID."""
    found = APICredential.objects.of(organization).filter(client_id=client_id).values_list("pk", flat=True).first()
    return str(found) if found is not None else None
