"""Request and response bodies of authorizations. Responses are built without serializers, which only describe them
in the OpenAPI document.
"""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from billing.api.structs import struct_schemas
from billing.api.usage.events import AmountField
from billing.limits.authorize import Grant
from billing.limits.refusal import CODE, CURRENCY, Reason
from billing.limits.request_schema import AuthorizationInput, ExtensionInput
from billing.models import Authorization
from billing.reports.authorizations import status_at
from billing.types import AuthorizationStatus, LimitAction, LimitScope, LimitWindow
from costtrack.clock import iso
from costtrack.money import plain

Json = dict[str, Any]

_SCHEMAS = struct_schemas(AuthorizationInput, ExtensionInput)
AUTHORIZATION_REQUEST = {"application/json": _SCHEMAS[AuthorizationInput.__name__]}
EXTENSION_REQUEST = {"application/json": {**_SCHEMAS[ExtensionInput.__name__], "required": ["ttl_seconds"]}}

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Any text of up to 255 characters. Repeating a request with a key returns the same authorization. "
    "The field idempotency_key is equivalent.",
)
EXAMPLES = (
    OpenApiExample(
        "Known cost",
        {"model": "gpt-4o", "service": "openai", "user_id": "ada", "estimated_cost_usd": "0.0125"},
        request_only=True,
    ),
    OpenApiExample(
        "Token counts",
        {"model": "gpt-4o", "service": "openai", "input_tokens": 1200, "max_tokens": 800, "run_id": "nightly-7"},
        request_only=True,
    ),
    OpenApiExample(
        "Messages to count",
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hey, how's it going?"}], "max_tokens": 500},
        request_only=True,
    ),
)


class LeftSerializer(serializers.Serializer[Any]):
    """A limit that applies to the call, and what remains of it after this authorization."""

    id = serializers.IntegerField()
    scope = serializers.ChoiceField(choices=LimitScope.choices)
    scope_value = serializers.CharField(help_text="The value that the limit applies to; empty for the organization.")
    window = serializers.ChoiceField(choices=LimitWindow.choices)
    amount_usd = AmountField()
    remaining_usd = AmountField()


class GrantedSerializer(serializers.Serializer[Any]):
    """Send the `id` as `authorization_id` in the event of the call."""

    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=AuthorizationStatus.choices)
    reserved_usd = AmountField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(help_text="When the reservation expires, unless it ends before.")
    limits = LeftSerializer(many=True, help_text="Empty if no limit applies.")


class AuthorizationSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=AuthorizationStatus.choices)
    reserved_usd = AmountField()
    settled_usd = AmountField(allow_null=True, help_text="Actual cost of the call; null until its event arrives.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True, help_text="When it was settled, released or expired.")
    client_id = serializers.CharField(help_text="The credential that requested it; empty for a user.")
    service = serializers.CharField()
    model = serializers.CharField()
    user_id = serializers.CharField()
    workflow_id = serializers.CharField()
    run_id = serializers.CharField()
    session_id = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    idempotency_key = serializers.CharField()


class AuthorizationPageSerializer(serializers.Serializer[Any]):
    results = AuthorizationSerializer(many=True, help_text="Newest first.")
    next_cursor = serializers.UUIDField(allow_null=True, help_text="Cursor of the next page; null on the last page.")


class RefusedLimitSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    scope = serializers.ChoiceField(choices=LimitScope.choices)
    scope_value = serializers.CharField()
    window = serializers.ChoiceField(choices=LimitWindow.choices)
    amount_usd = AmountField()
    action = serializers.ChoiceField(choices=LimitAction.choices)


class SpendLimitExceededSerializer(serializers.Serializer[Any]):
    """If several limits block the call, this is the one that lasts longest."""

    error = serializers.CharField(help_text="Human-readable: which limit, its amount, and until when.")
    code = serializers.ChoiceField(choices=[CODE])
    reason = serializers.ChoiceField(choices=[reason.value for reason in Reason])
    limit = RefusedLimitSerializer()
    spent_usd = AmountField()
    reserved_usd = AmountField(help_text="Reserved by open authorizations.")
    remaining_usd = AmountField()
    requested_usd = AmountField()
    currency = serializers.ChoiceField(choices=[CURRENCY])
    window_start = serializers.DateTimeField(allow_null=True, help_text="Null if spend is counted without a start.")
    window_end = serializers.DateTimeField(allow_null=True, help_text="Null for rolling and unlimited windows.")
    time_zone = serializers.CharField()
    resets_at = serializers.DateTimeField(
        allow_null=True, help_text="When the call would be granted if nothing else were spent; null if unknown."
    )
    retry_after = serializers.IntegerField(allow_null=True, help_text="`resets_at` in seconds from `as_of`.")
    as_of = serializers.DateTimeField()
    request_increase = serializers.CharField(help_text="Path for requesting an increase.")


def _optional_header(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, int, OpenApiParameter.HEADER, response=[429], description=description)


REFUSED = OpenApiResponse(
    SpendLimitExceededSerializer, "A spend limit blocks the call, or a rate limit (code too_many_requests)."
)
REFUSAL_HEADERS = (
    _optional_header("Retry-After", "Seconds until the call would be granted; absent if unknown."),
    _optional_header("X-RateLimit-Reset", "The same as an instant, in epoch seconds."),
    OpenApiParameter(
        "x-should-retry",
        str,
        OpenApiParameter.HEADER,
        response=[429],
        enum=["false"],
        description="Tells vendor SDKs not to retry the 429.",
    ),
)


def grant_body(grant: Grant) -> Json:
    """Build the response to a new authorization."""
    authorization = grant.authorization
    return {
        "id": str(authorization.id),
        "status": authorization.status,
        "reserved_usd": plain(authorization.amount_usd),
        "created_at": iso(authorization.created_at),
        "expires_at": iso(authorization.expires_at),
        "limits": [
            {
                "id": left.rule.limit_id,
                "scope": left.rule.scope.value,
                "scope_value": left.rule.display_value,
                "window": left.rule.window.value,
                "amount_usd": plain(left.rule.amount_usd),
                "remaining_usd": plain(left.remaining_usd),
            }
            for left in grant.limits
        ],
    }


def authorization_body(authorization: Authorization, now: datetime) -> Json:
    """Build the body of a listed authorization."""
    credential = authorization.credential
    settled, ended_at = authorization.settled_usd, authorization.ended_at
    return {
        "id": str(authorization.id),
        "status": status_at(authorization, now).value,
        "reserved_usd": plain(authorization.amount_usd),
        "settled_usd": plain(settled) if settled is not None else None,
        "created_at": iso(authorization.created_at),
        "expires_at": iso(authorization.expires_at),
        "ended_at": iso(ended_at) if ended_at is not None else None,
        "client_id": credential.client_id if credential is not None else "",
        "service": authorization.service,
        "model": authorization.model,
        "user_id": authorization.user_ref,
        "workflow_id": authorization.workflow_id,
        "run_id": authorization.run_id,
        "session_id": authorization.session_id,
        "tags": authorization.tags,
        "idempotency_key": authorization.idempotency_key,
    }
