"""`GET /usage/access`: check whether a call may proceed, without reserving anything."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.queries import validated_query
from billing.api.usage.authorization_shapes import SpendLimitExceededSerializer
from billing.api.usage.limit_shapes import Json
from billing.limits.authorize import access_refusal
from billing.limits.estimate import UnpricedModelError
from billing.limits.refusal import CODE, Refusal
from billing.limits.types import Dimensions
from costtrack.clock import iso, utc_now
from costtrack.money import DECIMALS, DIGITS
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

MAX_TAGS = 50
_NO_STORE = {"Cache-Control": "no-store"}


class AccessQuery(StrictSerializer):
    """The dimensions of the call. The credential is that of the request."""

    service = serializers.CharField(required=False, allow_blank=True, max_length=255)
    model = serializers.CharField(required=False, allow_blank=True, max_length=255)
    user_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    workflow_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    run_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    session_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    tags = serializers.ListField(
        required=False,
        child=serializers.CharField(allow_blank=True, max_length=255),
        max_length=MAX_TAGS,
        help_text="Repeat for several tags: `tags=a&tags=b`.",
    )
    estimated_cost_usd = serializers.DecimalField(
        required=False,
        max_digits=DIGITS,
        decimal_places=DECIMALS,
        min_value=Decimal(0),
        help_text="The estimated cost, which must fit into every limit.",
    )


@extend_schema_field({"type": "boolean", "const": True})
class _Yes(serializers.BooleanField):
    pass


@extend_schema_field({"type": "boolean", "const": False})
class _No(serializers.BooleanField):
    pass


@extend_schema_field({"type": "string", "const": UnpricedModelError.code})
class _NotPriced(serializers.CharField):
    pass


class AllowedSerializer(serializers.Serializer[Any]):
    """The call may proceed. Nothing is reserved: use an authorization if a limit must never be exceeded."""

    allowed = _Yes()
    as_of = serializers.DateTimeField()


class NotAllowedSerializer(SpendLimitExceededSerializer):
    """A limit blocks the call, as in a 429 of `POST /usage/authorizations`."""

    allowed = _No()


class NotPricedSerializer(serializers.Serializer[Any]):
    """The cost of the call would be unknown, so a pausing limit could not be enforced."""

    allowed = _No()
    error = serializers.CharField()
    code = _NotPriced()
    reason = _NotPriced()
    as_of = serializers.DateTimeField()


_ANSWER = PolymorphicProxySerializer(
    "Access", [AllowedSerializer, NotAllowedSerializer, NotPricedSerializer], resource_type_field_name=None
)
_EXAMPLES = (
    OpenApiExample("Yes", {"allowed": True, "as_of": "2026-11-02T12:00:00Z"}, response_only=True),
    OpenApiExample(
        "No",
        {
            "allowed": False,
            "error": "The weekly limit of user ada is reached: $50.02 of $50.00 are spent. Access is back Sunday, "
            "08 November 2026, at 10:15:00 (Europe/Berlin).",
            "code": CODE,
            "reason": "limit_reached",
            "limit": {
                "id": 2,
                "scope": "user",
                "scope_value": "ada",
                "window": "rolling_7d",
                "amount_usd": "50",
                "action": "pause",
            },
            "spent_usd": "50.02",
            "reserved_usd": "0",
            "remaining_usd": "0",
            "requested_usd": "0",
            "currency": "USD",
            "window_start": "2026-10-26T12:00:00.000001Z",
            "window_end": None,
            "time_zone": "Europe/Berlin",
            "resets_at": "2026-11-08T09:15:00Z",
            "retry_after": 508500,
            "as_of": "2026-11-02T12:00:00Z",
            "request_increase": "/organizations/acme/limit-requests",
        },
        response_only=True,
    ),
)


class UsageAccessView(OrganizationScopedAPIView):
    """`GET /usage/access`"""

    required_scope: ClassVar[Scope | None] = None
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="usage_access",
        tags=["limits"],
        parameters=[AccessQuery],
        responses=_ANSWER,
        examples=[*_EXAMPLES],
    )
    def get(self, request: Request) -> Response:
        """Check whether a call may proceed and, if not, which limit blocks it and until when. The status is always
        200. Open to any credential."""
        params, now = validated_query(AccessQuery, request.query_params), utc_now()
        try:
            refusal = access_refusal(
                organization=self.organization,
                call=self._call(params),
                estimated_usd=params.get("estimated_cost_usd"),
                now=now,
            )
        except UnpricedModelError as error:
            return Response(_not_priced(error, now), headers=_NO_STORE)
        return Response(_response(refusal, now), headers=_NO_STORE)

    def _call(self, params: dict[str, Any]) -> Dimensions:
        credential = self.principal.credential
        return Dimensions(
            credential_id=credential.pk if credential is not None else None,
            service=params.get("service", ""),
            model=params.get("model", ""),
            user_ref=params.get("user_id", ""),
            workflow_id=params.get("workflow_id", ""),
            run_id=params.get("run_id", ""),
            session_id=params.get("session_id", ""),
            tags=tuple(dict.fromkeys(filter(None, params.get("tags", ())))),
        )


def _response(refusal: Refusal | None, now: datetime) -> Json:
    if refusal is None:
        return {"allowed": True, "as_of": iso(now)}
    return {"allowed": False, "error": refusal.message, "code": CODE, **refusal.details()}


def _not_priced(error: UnpricedModelError, now: datetime) -> Json:
    return {"allowed": False, "error": error.message, "code": error.code, "reason": error.code, "as_of": iso(now)}
