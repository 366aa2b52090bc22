"""`/usage/authorizations`: may this call go ahead? What it can cost is reserved until its event settles it.

A call asks before and tells after, so no path is taken more often than this one. It reads its body by itself, as intake
does, and writes its answer without serializers.
"""

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.intake import MalformedBodyError
from billing.api.usage.authorization_shapes import (
    ASKED,
    EXAMPLES,
    EXTENSION,
    IDEMPOTENCY_KEY,
    REFUSAL_HEADERS,
    REFUSED,
    AuthorizationPageSerializer,
    AuthorizationSerializer,
    GrantedSerializer,
    granted,
    shown,
)
from billing.ingest.body import decompress
from billing.ingest.types import Malformed
from billing.limits.authorize import AuthorizationRequest, authorize, extend, release
from billing.limits.estimate import Estimate, reserved_amount
from billing.limits.request_schema import (
    MAX_KEY_LENGTH,
    AuthorizationInput,
    payload_hash,
    read_authorization,
    read_extension,
)
from billing.reports.authorizations import authorization_by_id, list_authorizations
from billing.types import AuthorizationStatus
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.serializers import StrictSerializer
from costtrack.tenancy import tenant_reads
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

# Long prompts are those whose cost people want to know before: room for about a million tokens.
_MAX_BYTES = 4 * 1024 * 1024

_ENDED = OpenApiResponse(description="It has ended already.")


class AuthorizationsQuery(StrictSerializer):
    """An empty filter is none."""

    status = serializers.ChoiceField(required=False, allow_blank=True, choices=AuthorizationStatus.choices)
    limit = serializers.IntegerField(default=50, min_value=1, max_value=200)
    cursor = serializers.UUIDField(required=False, help_text="`next_cursor` of the page before.")


class AuthorizationsView(OrganizationScopedAPIView):
    """`GET` and `POST /usage/authorizations`"""

    required_scope: ClassVar[Scope] = Scope.LIMITS_AUTHORIZE
    scopes_by_action = {"get": Scope.COSTS_READ}
    requires_api_plan: ClassVar[bool] = True
    own_transactions: ClassVar[bool] = True

    @extend_schema(
        operation_id="usage_authorize",
        tags=["limits"],
        request=ASKED,
        parameters=[IDEMPOTENCY_KEY, *REFUSAL_HEADERS],
        responses={
            201: GrantedSerializer,
            200: OpenApiResponse(GrantedSerializer, "The idempotency key was used: what it stands for, as it is now."),
            429: REFUSED,
        },
        examples=[*EXAMPLES],
    )
    def post(self, request: Request) -> Response:
        """Reserve what a call can cost, of every limit that covers it, or of none. Name the authorization in the
        call's event (`authorization_id`), which settles it; release it if the call does not take place."""
        now = utc_now()
        try:
            asked = read_authorization(_body(request))
        except Malformed as error:
            raise MalformedBodyError(str(error)) from error
        grant = authorize(
            organization=self.organization,
            credential=self.principal.credential,
            request=self._request(asked, _idempotency_key(request, asked)),
            now=now,
        )
        return Response(granted(grant), status=status.HTTP_201_CREATED if grant.is_new else status.HTTP_200_OK)

    def _request(self, asked: AuthorizationInput, key: str) -> AuthorizationRequest:
        credential = self.principal.credential
        credential_id = credential.pk if credential is not None else None
        call = asked.dimensions(credential_id)
        estimate = Estimate(asked.estimated_cost_usd, asked.messages, asked.input_tokens, asked.max_tokens)
        return AuthorizationRequest(
            dimensions=call,
            amount_usd=reserved_amount(organization=self.organization, call=call, estimate=estimate, now=utc_now()),
            ttl=asked.ttl,
            idempotency_key=key,
            payload_hash=payload_hash(asked, credential_id) if key else 0,
        )

    @extend_schema(
        operation_id="usage_authorizations_list",
        tags=["limits"],
        parameters=[AuthorizationsQuery],
        responses=AuthorizationPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """The organization's authorizations, newest first."""
        asked = _query(request)
        now = utc_now()
        with tenant_reads(self.organization.pk):
            page = list_authorizations(
                organization=self.organization,
                status=AuthorizationStatus(asked["status"]) if asked.get("status") else None,
                after=asked.get("cursor"),
                limit=asked["limit"],
                now=now,
            )
        results = [shown(authorization, now) for authorization in page.authorizations]
        return Response({"results": results, "next_cursor": str(page.last) if page.last is not None else None})


class AuthorizationView(OrganizationScopedAPIView):
    """`GET`, `PATCH` and `DELETE /usage/authorizations/{id}`"""

    required_scope: ClassVar[Scope] = Scope.LIMITS_AUTHORIZE
    requires_api_plan: ClassVar[bool] = True
    # What is not needed any more is given back whatever else the caller has asked in this minute.
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"delete"})
    own_transactions: ClassVar[bool] = True

    @extend_schema(operation_id="usage_authorization", tags=["limits"], responses=AuthorizationSerializer)
    def get(self, request: Request, authorization_id: UUID) -> Response:
        """One authorization, and what has become of it."""
        return self._shown(authorization_id)

    @extend_schema(
        operation_id="usage_authorization_extend",
        tags=["limits"],
        request=EXTENSION,
        responses={200: AuthorizationSerializer, 409: _ENDED},
    )
    def patch(self, request: Request, authorization_id: UUID) -> Response:
        """Have it hold for so long from now on, also for less long than before."""
        try:
            ttl = read_extension(_body(request))
        except Malformed as error:
            raise MalformedBodyError(str(error)) from error
        extend(organization=self.organization, authorization_id=authorization_id, ttl=ttl, now=utc_now())
        return self._shown(authorization_id)

    @extend_schema(
        operation_id="usage_authorization_release",
        tags=["limits"],
        responses={
            204: OpenApiResponse(description="It holds nothing any more."),
            409: OpenApiResponse(description="Its event has come: what was spent cannot be released."),
        },
    )
    def delete(self, request: Request, authorization_id: UUID) -> Response:
        """Give back what is reserved, because the call does not take place. Releasing again changes nothing."""
        release(organization=self.organization, authorization_id=authorization_id, now=utc_now())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _shown(self, authorization_id: UUID) -> Response:
        with tenant_reads(self.organization.pk):
            found = authorization_by_id(organization=self.organization, authorization_id=authorization_id)
        return Response(shown(found, utc_now()))


def _body(request: Request) -> bytes:
    encoding = request.headers.get("Content-Encoding", "")
    return decompress(request._request.body, encoding=encoding, max_bytes=_MAX_BYTES)  # noqa: SLF001 - not DRF's


def _idempotency_key(request: Request, asked: AuthorizationInput) -> str:
    """From the header or from the body. Raises InvalidError if they contradict each other."""
    told = asked.idempotency_key or ""
    header = request.headers.get("Idempotency-Key", "").strip()
    if told and header and told != header:
        message = "idempotency_key: is not what the header Idempotency-Key says."
        raise InvalidError(message, param="idempotency_key", code="ambiguous")
    if len(header) > MAX_KEY_LENGTH:
        raise InvalidError(f"Idempotency-Key: at most {MAX_KEY_LENGTH} characters.", param="Idempotency-Key")
    return told or header


def _query(request: Request) -> dict[str, Any]:
    given = request.query_params.copy()
    given.pop("organization", None)
    for name in [name for name in given if not given[name]]:
        given.pop(name)
    query = AuthorizationsQuery(data=given)
    query.is_valid(raise_exception=True)
    asked: dict[str, Any] = query.validated_data
    return asked
