"""`/usage/authorizations`: reserve the cost of a call until its event settles it.

This is the most frequent request besides intake, so it parses its body itself and responds without serializers.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from msgspec import UNSET, Meta, UnsetType
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.intake import body_errors, read_body
from billing.api.operations import LimitEndpoint, operation
from billing.api.queries import validated_query
from billing.api.structs import struct_schemas
from billing.limits.authorize import AuthorizationRequest, Grant, authorize, dry_run, extend, release
from billing.limits.caps import AcceptedCaps, Cap
from billing.limits.estimate import Estimate, identify_call, is_free, reserved_amount, reserved_tokens
from billing.limits.refusal import CODE, CURRENCY, Reason
from billing.limits.request_schema import (
    AuthorizationInput,
    ExtensionInput,
    parse_authorization,
    parse_extension,
    payload_hash,
)
from billing.models import Authorization
from billing.reports.authorizations import get_authorization, list_authorizations, status_at
from billing.types import AuthorizationStatus, LimitAction, LimitScope, LimitUnit, LimitWindow
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.responses import Amount, OneOf, ResponseBody, about, choice
from costtrack.serializers import StrictSerializer, page_size, request_example
from costtrack.tenancy import tenant_reads
from organizations import idempotency
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

# Allows about a million tokens, because long prompts are the ones whose cost users check in advance.
_MAX_BYTES = 4 * 1024 * 1024

_NO_STORE = {"Cache-Control": "no-store"}
_ENDED = OpenApiResponse(description="The authorization has already ended.")


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
EXAMPLES = [
    request_example("Known cost", model="gpt-4o", service="openai", user_id="ada", estimated_cost_usd="0.0125"),
    request_example(
        "Token counts", model="gpt-4o", service="openai", input_tokens=1200, max_tokens=800, run_id="nightly-7"
    ),
    request_example(
        "Messages to count",
        model="gpt-4o",
        messages=[{"role": "user", "content": "Hey, how's it going?"}],
        max_tokens=500,
    ),
]


class Left(ResponseBody, kw_only=True):
    """A limit that applies to the call, and what remains of it after this authorization."""

    id: int
    scope: LimitScope
    scope_value: Annotated[str, about("The value that the limit applies to; empty for the organization.")]
    window: LimitWindow
    unit: Annotated[LimitUnit | UnsetType, about("Of both amounts; absent: US dollars.")] = UNSET
    amount_usd: Amount
    remaining_usd: Amount


class Caps(ResponseBody):
    """What the client must do differently from its request."""

    max_tokens: Annotated[int | None, about("Generate at most this many tokens; null: as requested.", 512)] = None
    model: Annotated[str | None, about("Call this model; null: as requested.", "gpt-4o-mini")] = None


class Granted(ResponseBody, kw_only=True):
    """Send the `id` as `authorization_id` in the event of the call."""

    id: UUID
    status: Annotated[str, choice(AuthorizationStatus.choices)]
    decision: Annotated[
        Literal["allow", "allow_with_caps"] | UnsetType,
        about("With `accept_caps`: whether the call is granted as requested. Otherwise absent."),
    ] = UNSET
    caps: Annotated[Caps | UnsetType, about("With the decision `allow_with_caps`.")] = UNSET
    reserved_usd: Amount
    created_at: datetime
    expires_at: Annotated[datetime, about("When the reservation expires, unless it ends before.")]
    limits: Annotated[list[Left], about("Empty if no limit applies.")]


class DryRun(ResponseBody, kw_only=True):
    """What the request would get without `dry_run`. Nothing is reserved."""

    dry_run: Annotated[bool, Meta(extra_json_schema={"const": True})]
    decision: Literal["allow", "allow_with_caps"]
    caps: Annotated[Caps | UnsetType, about("With the decision `allow_with_caps`.")] = UNSET
    would_reserve_usd: Amount
    limits: Annotated[list[Left], about("What would remain of the limits that apply.")]


class AuthorizationBody(ResponseBody, kw_only=True):
    id: UUID
    status: AuthorizationStatus
    reserved_usd: Amount
    caps: Annotated[Caps | UnsetType, about("What was granted instead of the requested call, if it was capped.")] = (
        UNSET
    )
    settled_usd: Annotated[Amount | None, about("Actual cost of the call; null until its event arrives.")]
    created_at: datetime
    expires_at: datetime
    ended_at: Annotated[datetime | None, about("When it was settled, released or expired.")]
    client_id: Annotated[str, about("The credential that requested it; empty for a user.")]
    service: str
    model: Annotated[str, about("The model as limits and reports know it.")]
    sent_model: Annotated[str, about("The model as sent.")]
    provider: Annotated[str, about("Who bills the call; empty if that is unknown.")]
    capability: str
    agent_id: str
    environment: Annotated[str, about("Of the credential.")]
    user_id: str
    end_user: str
    team: str
    workflow_id: str
    run_id: str
    session_id: str
    tags: list[str]
    idempotency_key: str


class AuthorizationPage(ResponseBody):
    results: Annotated[list[AuthorizationBody], about("Newest first.")]
    next_cursor: Annotated[UUID | None, about("Cursor of the next page; null on the last page.")]


class LimitConditionBody(ResponseBody):
    scope: LimitScope
    scope_value: Annotated[str, about("Empty: every value of the scope counts separately.")]


class RefusedLimit(ResponseBody, kw_only=True):
    id: int
    scope: LimitScope
    scope_value: Annotated[str, Meta(examples=["ada"])]
    conditions: Annotated[
        list[LimitConditionBody] | UnsetType, about("Further conditions of the limit; absent if there are none.")
    ] = UNSET
    window: LimitWindow
    unit: Annotated[LimitUnit | UnsetType, about("Of all amounts of the response; absent: US dollars.")] = UNSET
    amount_usd: Annotated[Amount, Meta(examples=["50"])]
    action: LimitAction


class SpendLimitExceeded(ResponseBody):
    """If several limits block the call, this is the one that lasts longest."""

    error: Annotated[
        str,
        about(
            "Human-readable: which limit, its amount, and until when.",
            "The daily limit of user ada is reached: $50.02 of $50.00 are spent. It does not reset automatically.",
        ),
    ]
    code: Annotated[str, choice([CODE])]
    reason: Reason
    limit: RefusedLimit
    spent_usd: Annotated[Amount, Meta(examples=["50.02"])]
    reserved_usd: Annotated[Amount, about("Reserved by open authorizations.", "0")]
    remaining_usd: Annotated[Amount, Meta(examples=["0"])]
    requested_usd: Annotated[Amount, Meta(examples=["0"])]
    currency: Annotated[str, choice([CURRENCY])]
    window_start: Annotated[datetime | None, about("Null if spend is counted without a start.")]
    window_end: Annotated[datetime | None, about("Null for rolling and unlimited windows.")]
    time_zone: Annotated[str, Meta(examples=["Europe/Berlin"])]
    resets_at: Annotated[
        datetime | None,
        about(
            "When the call would be granted if nothing else were spent and no reservation ended early; null if unknown."
        ),
    ]
    retry_after: Annotated[
        int | None,
        about(
            "Seconds after which to try again: until `resets_at`, or a moment if only reservations are in the way.",
            508500,
        ),
    ]
    as_of: datetime
    request_increase: Annotated[
        str | None,
        about(
            "Path for requesting an increase; null for a manual pause, which an increase does not end.",
            "/organizations/acme/limit-requests",
        ),
    ]


def _optional_header(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, int, OpenApiParameter.HEADER, response=[429], description=description)


REFUSED = OpenApiResponse(
    SpendLimitExceeded, "A spend limit blocks the call, or a rate limit (code too_many_requests)."
)
REFUSAL_HEADERS = (
    _optional_header("Retry-After", "`retry_after`; absent if unknown."),
    _optional_header("X-RateLimit-Reset", "`resets_at` in epoch seconds; absent if unknown."),
    OpenApiParameter(
        "x-should-retry",
        str,
        OpenApiParameter.HEADER,
        response=[429],
        enum=["true", "false"],
        description="Whether vendor SDKs retry the 429: only if the amount is reserved and not spent.",
    ),
)


class AuthorizationsQuery(StrictSerializer):
    """Filters; an empty value is ignored."""

    status = serializers.ChoiceField(required=False, allow_blank=True, choices=AuthorizationStatus.choices)
    limit = page_size()
    cursor = serializers.UUIDField(required=False, help_text="`next_cursor` of the previous page.")


class DryRunQuery(StrictSerializer):
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="Check the request without reserving anything, like the field."
    )


class AuthorizationsView(LimitEndpoint, OrganizationScopedAPIView):
    """`GET` and `POST /usage/authorizations`"""

    required_scope: ClassVar[Scope | None] = Scope.LIMITS_AUTHORIZE
    scopes_by_action = {"get": Scope.COSTS_READ}
    max_body_bytes: ClassVar[int] = _MAX_BYTES
    own_transactions: ClassVar[bool] = True
    methods_with_late_check: ClassVar[frozenset[str]] = frozenset({"post"})

    @extend_schema(
        operation_id="usage_authorize",
        request=AUTHORIZATION_REQUEST,
        parameters=[DryRunQuery, IDEMPOTENCY_KEY, *REFUSAL_HEADERS],
        responses={
            201: Granted,
            200: OpenApiResponse(
                OneOf("GrantedBefore", (Granted, DryRun)),
                "The idempotency key was used before (the current state of its authorization), or a dry run.",
            ),
            429: REFUSED,
        },
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        """Reserve the cost of a call under all limits that apply to it, or under none. Send the id as
        `authorization_id` in the event of the call, which settles it, or release it if the call does not take place."""
        now = utc_now()
        with body_errors():
            params = parse_authorization(read_body(request, max_bytes=_MAX_BYTES))
        query = validated_query(DryRunQuery, request.query_params)
        call = self._request(params, _idempotency_key(request, params))
        caller: dict[str, Any] = {"organization": self.organization, "credential": self.principal.credential}
        if params.dry_run or query["dry_run"]:
            with tenant_reads(self.organization.pk):
                return Response(_dry_run(dry_run(**caller, request=call, now=now)), headers=_NO_STORE)
        grant = authorize(**caller, request=call, now=now)
        return Response(_granted(grant, params), status=status.HTTP_201_CREATED if grant.is_new else status.HTTP_200_OK)

    def _request(self, params: AuthorizationInput, key: str) -> AuthorizationRequest:
        credential = self.principal.credential
        credential_id = credential.pk if credential is not None else None
        now = utc_now()
        environment = credential.environment if credential is not None else ""
        dimensions = params.dimensions(credential_id, environment)
        dimensions = replace(dimensions, user_ref=self.organization.user_name(dimensions.user_ref))
        call = identify_call(self.organization.pk, dimensions, now=now)
        estimate = Estimate(params.estimated_cost_usd, params.messages, params.input_tokens, params.max_tokens)
        amount_usd = reserved_amount(organization=self.organization, call=call, estimate=estimate, now=now)
        return AuthorizationRequest(
            dimensions=call,
            amount_usd=amount_usd,
            tokens=reserved_tokens(call, estimate),
            is_free=is_free(organization=self.organization, call=call, amount_usd=amount_usd, now=now),
            accepted_caps=_accepted_caps(params, estimate),
            ttl=params.ttl,
            idempotency_key=key,
            payload_hash=payload_hash(params, credential_id) if key else 0,
        )

    @operation("usage_authorizations_list", AuthorizationsQuery, AuthorizationPage)
    def get(self, request: Request) -> Response:
        """List the authorizations of the organization, newest first."""
        params, now = validated_query(AuthorizationsQuery, request.query_params), utc_now()
        with tenant_reads(self.organization.pk):
            page = list_authorizations(
                organization=self.organization,
                status=AuthorizationStatus(params["status"]) if params.get("status") else None,
                after=params.get("cursor"),
                limit=params["limit"],
                now=now,
            )
        results = [_authorization(authorization, now) for authorization in page.rows]
        return Response(AuthorizationPage(results=results, next_cursor=page.last))


class AuthorizationView(LimitEndpoint, OrganizationScopedAPIView):
    """`GET`, `PATCH` and `DELETE /usage/authorizations/{id}`"""

    required_scope: ClassVar[Scope | None] = Scope.LIMITS_AUTHORIZE
    # Releasing is never rate-limited, so that reservations can always be returned.
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"delete"})
    own_transactions: ClassVar[bool] = True

    @extend_schema(operation_id="usage_authorization", responses=AuthorizationBody)
    def get(self, request: Request, authorization_id: UUID) -> Response:
        """Get one authorization and its status."""
        return self._detail_response(authorization_id)

    @extend_schema(
        operation_id="usage_authorization_extend",
        request=EXTENSION_REQUEST,
        responses={200: AuthorizationBody, 409: _ENDED},
    )
    def patch(self, request: Request, authorization_id: UUID) -> Response:
        """Set a new time to live from now; it may be shorter than before."""
        with body_errors():
            ttl = parse_extension(read_body(request, max_bytes=_MAX_BYTES))
        now = utc_now()
        extended = extend(organization=self.organization, authorization_id=authorization_id, ttl=ttl, now=now)
        return Response(_authorization(extended, now))

    @extend_schema(
        operation_id="usage_authorization_release",
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
        return Response(_authorization(authorization, utc_now()))


def _accepted_caps(params: AuthorizationInput, estimate: Estimate) -> AcceptedCaps | None:
    if not params.accept_caps:
        return None
    return AcceptedCaps(tuple(map(Cap, params.accept_caps)), estimate, params.min_tokens or 1)


def _caps(authorization: Authorization) -> Caps | UnsetType:
    return Caps(**authorization.caps) if authorization.caps is not None else UNSET


def _decision(authorization: Authorization) -> Literal["allow", "allow_with_caps"]:
    return "allow" if authorization.caps is None else "allow_with_caps"


def _dry_run(grant: Grant) -> DryRun:
    return DryRun(
        dry_run=True,
        decision=_decision(grant.authorization),
        caps=_caps(grant.authorization),
        would_reserve_usd=Amount.of(grant.authorization.amount_usd),
        limits=_limits(grant),
    )


def _granted(grant: Grant, params: AuthorizationInput) -> Granted:
    authorization = grant.authorization
    return Granted(
        id=authorization.id,
        status=authorization.status,
        decision=_decision(authorization) if params.accept_caps else UNSET,
        caps=_caps(authorization),
        reserved_usd=Amount.of(authorization.amount_usd),
        created_at=authorization.created_at,
        expires_at=authorization.expires_at,
        limits=_limits(grant),
    )


def _limits(grant: Grant) -> list[Left]:
    return [
        Left(
            id=left.rule.limit_id,
            scope=left.rule.scope,
            scope_value=left.rule.display_value,
            window=left.rule.window,
            unit=left.rule.unit if left.rule.unit is not LimitUnit.USD else UNSET,
            amount_usd=Amount.of(left.rule.amount_usd),
            remaining_usd=Amount.of(left.remaining_usd),
        )
        for left in grant.limits
    ]


def _authorization(authorization: Authorization, now: datetime) -> AuthorizationBody:
    credential = authorization.credential
    return AuthorizationBody.of(
        authorization,
        status=status_at(authorization, now),
        caps=_caps(authorization),
        reserved_usd=authorization.amount_usd,
        client_id=credential.client_id if credential is not None else "",
        user_id=authorization.user_ref,
        sent_model=authorization.model_as_sent,
    )


def _idempotency_key(request: Request, params: AuthorizationInput) -> str:
    """Return the key from the header or the body. Raises InvalidError if they differ."""
    body_key = params.idempotency_key or ""
    header_key = idempotency.read_key(request.headers)
    if body_key and header_key and body_key != header_key:
        message = "idempotency_key: does not match the Idempotency-Key header."
        raise InvalidError(message, param="idempotency_key", code="ambiguous")
    return body_key or header_key
