"""`/usage/authorizations`: reserve the cost of a call until its event settles it.

This is the most frequent request besides intake, so it parses its body itself and responds without serializers.
"""

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.intake import MalformedBodyError
from billing.api.usage.authorization_shapes import (
    AUTHORIZATION_REQUEST,
    EXAMPLES,
    EXTENSION_REQUEST,
    IDEMPOTENCY_KEY,
    REFUSAL_HEADERS,
    REFUSED,
    AuthorizationPageSerializer,
    AuthorizationSerializer,
    GrantedSerializer,
    authorization_body,
    grant_body,
)
from billing.ingest.body import decompress
from billing.ingest.types import Malformed
from billing.limits.authorize import AuthorizationRequest, authorize, extend, release
from billing.limits.estimate import Estimate, reserved_amount
from billing.limits.request_schema import (
    MAX_KEY_LENGTH,
    AuthorizationInput,
    parse_authorization,
    parse_extension,
    payload_hash,
)
from billing.reports.authorizations import get_authorization, list_authorizations
from billing.types import AuthorizationStatus
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.serializers import StrictSerializer
from costtrack.tenancy import tenant_reads
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

# Allows about a million tokens, because long prompts are the ones whose cost users check in advance.
_MAX_BYTES = 4 * 1024 * 1024

_ENDED = OpenApiResponse(description="The authorization has already ended.")


class AuthorizationsQuery(StrictSerializer):
    """Filters; an empty value is ignored."""

    status = serializers.ChoiceField(required=False, allow_blank=True, choices=AuthorizationStatus.choices)
    limit = serializers.IntegerField(default=50, min_value=1, max_value=200)
    cursor = serializers.UUIDField(required=False, help_text="`next_cursor` of the previous page.")


class AuthorizationsView(OrganizationScopedAPIView):
    """`GET` and `POST /usage/authorizations`"""

    required_scope: ClassVar[Scope] = Scope.LIMITS_AUTHORIZE
    scopes_by_action = {"get": Scope.COSTS_READ}
    requires_api_plan: ClassVar[bool] = True
    own_transactions: ClassVar[bool] = True

    @extend_schema(
        operation_id="usage_authorize",
        tags=["limits"],
        request=AUTHORIZATION_REQUEST,
        parameters=[IDEMPOTENCY_KEY, *REFUSAL_HEADERS],
        responses={
            201: GrantedSerializer,
            200: OpenApiResponse(
                GrantedSerializer, "The idempotency key was used before; the current state of its authorization."
            ),
            429: REFUSED,
        },
        examples=[*EXAMPLES],
    )
    def post(self, request: Request) -> Response:
        """Reserve the cost of a call under all limits that apply to it, or under none. Send the id as
        `authorization_id` in the event of the call, which settles it, or release it if the call does not take place."""
        now = utc_now()
        try:
            params = parse_authorization(_body(request))
        except Malformed as error:
            raise MalformedBodyError(str(error)) from error
        grant = authorize(
            organization=self.organization,
            credential=self.principal.credential,
            request=self._request(params, _idempotency_key(request, params)),
            now=now,
        )
        return Response(grant_body(grant), status=status.HTTP_201_CREATED if grant.is_new else status.HTTP_200_OK)

    def _request(self, params: AuthorizationInput, key: str) -> AuthorizationRequest:
        credential = self.principal.credential
        credential_id = credential.pk if credential is not None else None
        call = params.dimensions(credential_id)
        estimate = Estimate(params.estimated_cost_usd, params.messages, params.input_tokens, params.max_tokens)
        return AuthorizationRequest(
            dimensions=call,
            amount_usd=reserved_amount(organization=self.organization, call=call, estimate=estimate, now=utc_now()),
            ttl=params.ttl,
            idempotency_key=key,
            payload_hash=payload_hash(params, credential_id) if key else 0,
        )

    @extend_schema(
        operation_id="usage_authorizations_list",
        tags=["limits"],
        parameters=[AuthorizationsQuery],
        responses=AuthorizationPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List the authorizations of the organization, newest first."""
        params = _query(request)
        now = utc_now()
        with tenant_reads(self.organization.pk):
            page = list_authorizations(
                organization=self.organization,
                status=AuthorizationStatus(params["status"]) if params.get("status") else None,
                after=params.get("cursor"),
                limit=params["limit"],
                now=now,
            )
        results = [authorization_body(authorization, now) for authorization in page.rows]
        return Response({"results": results, "next_cursor": str(page.last) if page.last is not None else None})


class AuthorizationView(OrganizationScopedAPIView):
    """`GET`, `PATCH` and `DELETE /usage/authorizations/{id}`"""

    required_scope: ClassVar[Scope] = Scope.LIMITS_AUTHORIZE
    requires_api_plan: ClassVar[bool] = True
    # Releasing is never rate-limited, so that reservations can always be returned.
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"delete"})
    own_transactions: ClassVar[bool] = True

    @extend_schema(operation_id="usage_authorization", tags=["limits"], responses=AuthorizationSerializer)
    def get(self, request: Request, authorization_id: UUID) -> Response:
        """Get one authorization and its status."""
        return self._detail_response(authorization_id)

    @extend_schema(
        operation_id="usage_authorization_extend",
        tags=["limits"],
        request=EXTENSION_REQUEST,
        responses={200: AuthorizationSerializer, 409: _ENDED},
    )
    def patch(self, request: Request, authorization_id: UUID) -> Response:
        """Set a new time to live from now; it may be shorter than before."""
        try:
            ttl = parse_extension(_body(request))
        except Malformed as error:
            raise MalformedBodyError(str(error)) from error
        extend(organization=self.organization, authorization_id=authorization_id, ttl=ttl, now=utc_now())
        return self._detail_response(authorization_id)

    @extend_schema(
        operation_id="usage_authorization_release",
        tags=["limits"],
        responses={
            204: OpenApiResponse(description="Released."),
            409: OpenApiResponse(description="It is settled: spent amounts cannot be released."),
        },
    )
    def delete(self, request: Request, authorization_id: UUID) -> Response:
        """Release the reservation because the call does not take place. Idempotent."""
        release(organization=self.organization, authorization_id=authorization_id, now=utc_now())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _detail_response(self, authorization_id: UUID) -> Response:
        with tenant_reads(self.organization.pk):
            authorization = get_authorization(organization=self.organization, authorization_id=authorization_id)
        return Response(authorization_body(authorization, utc_now()))


def _body(request: Request) -> bytes:
    encoding = request.headers.get("Content-Encoding", "")
    return decompress(request._request.body, encoding=encoding, max_bytes=_MAX_BYTES)  # noqa: SLF001 - not DRF's


def _idempotency_key(request: Request, params: AuthorizationInput) -> str:
    """Return the key from the header or the body. Raises InvalidError if they differ."""
    body_key = params.idempotency_key or ""
    header_key = request.headers.get("Idempotency-Key", "").strip()
    if body_key and header_key and body_key != header_key:
        message = "idempotency_key: does not match the Idempotency-Key header."
        raise InvalidError(message, param="idempotency_key", code="ambiguous")
    if len(header_key) > MAX_KEY_LENGTH:
        raise InvalidError(f"Idempotency-Key: at most {MAX_KEY_LENGTH} characters.", param="Idempotency-Key")
    return body_key or header_key


def _query(request: Request) -> dict[str, Any]:
    given = request.query_params.copy()
    given.pop("organization", None)
    for name in [name for name in given if not given[name]]:
        given.pop(name)
    query = AuthorizationsQuery(data=given)
    query.is_valid(raise_exception=True)
    params: dict[str, Any] = query.validated_data
    return params
