"""`POST /oauth2/token`: the client credentials grant (RFC 6749, sections 2.3, 4.4 and 5)."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar

from django.conf import settings
from django.http import QueryDict
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import parsers, serializers
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from costtrack.clock import utc_now
from costtrack.error_formats import Dialect, Failure
from costtrack.error_schemas import ErrorSchema
from costtrack.errors import DomainError
from costtrack.openapi import DialectSchema
from costtrack.parsers import read_limited
from organizations.api.authentication import (
    Authenticated,
    PresentedCredential,
    authenticate_credential,
    basic_credentials,
    throttled_attempt,
)
from organizations.models import APICredential
from organizations.tokens import issue_token

EVERYTHING = "api/access"
"""The only scope of document 001: everything the credential may do."""
_PARAMETERS = ("grant_type", "client_id", "client_secret", "scope")
_SERVER_ERROR = "server_error"
ERROR_CODES = ("invalid_request", "invalid_client", "unsupported_grant_type", "invalid_scope", _SERVER_ERROR)


def _rfc_6749(failure: Failure) -> dict[str, Any]:
    """`{"error": code, "error_description": sentence}`; the codes are those of section 5.2."""
    code = failure.code if failure.code in ERROR_CODES else "invalid_request"
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        code = _SERVER_ERROR
    return {"error": code, "error_description": failure.message}


_ERROR = ErrorSchema(
    "TokenError",
    {
        "type": "object",
        "properties": {
            "error": {"type": "string", "enum": list(ERROR_CODES)},
            "error_description": {"type": "string", "description": "Human-readable message."},
        },
        "required": ["error", "error_description"],
    },
)
RFC_6749 = Dialect("Token", _rfc_6749, _ERROR)


class TokenError(DomainError):
    """One of the errors of RFC 6749, section 5.2."""

    code = "invalid_request"


class InvalidClientError(TokenError):
    """The client could not be authenticated."""

    status = 401
    code = "invalid_client"


class FormParser(parsers.BaseParser):
    """Parses a form in UTF-8, up to 1 MiB."""

    media_type = "application/x-www-form-urlencoded"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> QueryDict:
        return QueryDict(read_limited(stream), encoding="utf-8")


class TokenFormSerializer(serializers.Serializer[None]):
    """The form of the client credentials grant."""

    grant_type = serializers.ChoiceField(choices=["client_credentials"])
    client_id = serializers.CharField(required=False, help_text="Not needed with HTTP Basic.")
    client_secret = serializers.CharField(required=False, help_text="Not needed with HTTP Basic.")
    scope = serializers.CharField(
        required=False, help_text=f"Scopes of the credential, separated by spaces; `{EVERYTHING}` means all."
    )


class TokenSerializer(serializers.Serializer[None]):
    access_token = serializers.CharField()
    token_type = serializers.ChoiceField(choices=["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds.")
    scope = serializers.CharField()


class TokenSchema(DialectSchema):
    def error_statuses(self) -> set[int]:
        """Errors in the form are a 400."""
        absent = {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
        return super().error_statuses() - absent | {HTTPStatus.TOO_MANY_REQUESTS}

    def get_auth(self) -> list[dict[str, Any]]:
        """The Client ID and its secret are sent by HTTP Basic or in the form."""
        return [{"basicAuth": []}, {}]


class TokenView(APIView):
    """`POST /oauth2/token`"""

    dialect: ClassVar[Dialect] = RFC_6749
    schema = TokenSchema()
    authentication_classes = ()
    permission_classes = ()
    parser_classes = (FormParser,)
    metadata_class = None

    @extend_schema(
        operation_id="oauth2_token",
        tags=["oauth2"],
        request={"application/x-www-form-urlencoded": TokenFormSerializer},
        responses={200: TokenSerializer, 401: OpenApiResponse(description="The client could not be authenticated.")},
        examples=[
            OpenApiExample("all scopes", {"grant_type": "client_credentials", "scope": EVERYTHING}, request_only=True)
        ],
    )
    def post(self, request: Request) -> Response:
        """Exchange a client id and secret for a token that is valid for one hour.

        It ends earlier if its secret or credential is rotated, revoked or expires.
        """
        form = _read_form(request)
        now = utc_now()
        client = _authenticate_client(request, form, now)
        if form.get("grant_type") != "client_credentials":
            raise TokenError("grant_type must be client_credentials.", code="unsupported_grant_type")
        scopes = _granted_scopes(client.credential, form.get("scope", EVERYTHING))
        ends = (now + settings.OAUTH_TOKEN_LIFETIME, client.valid_until, client.credential.expires_at)
        expires_at = min(end for end in ends if end is not None)
        token = issue_token(
            client_id=client.credential.client_id,
            secret_hash=client.secret_hash,
            scopes=scopes,
            now=now,
            expires_at=expires_at,
        )
        body = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int((expires_at - now).total_seconds()),
            "scope": " ".join(scopes),
        }
        return Response(body, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


def _read_form(request: Request) -> dict[str, str]:
    """Return the parameters of this grant. Others are ignored, and duplicates are an error (section 3.2)."""
    try:
        form = request.data
    except UnsupportedMediaType:
        form = None
    if not isinstance(form, QueryDict):
        raise TokenError("Send a form (application/x-www-form-urlencoded).")
    for name in _PARAMETERS:
        if len(form.getlist(name)) > 1:
            raise TokenError(f"{name} must not be repeated.")
    parameters = {name: str(form[name]) for name in _PARAMETERS if form.get(name)}
    if "grant_type" not in parameters:
        raise TokenError("grant_type is missing.")
    return parameters


def _authenticate_client(request: Request, form: Mapping[str, str], now: datetime) -> Authenticated:
    in_header = basic_credentials(request)
    if in_header is not None and "client_secret" in form:
        raise TokenError("Send the client secret in the header or in the body, not in both.")
    if in_header is not None:
        client_id, secret = in_header.client_id, in_header.secret
    else:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    with throttled_attempt(request, PresentedCredential(client_id, secret), refusal=InvalidClientError):
        authenticated = authenticate_credential(client_id, secret, now=now)
        if authenticated is None or form.get("client_id", client_id) != client_id:
            headers = {"WWW-Authenticate": 'Basic realm="costtrack"'}
            raise InvalidClientError("Invalid client id or secret.", headers=headers)
    return authenticated


def _granted_scopes(credential: APICredential, requested: str) -> list[str]:
    if requested == EVERYTHING:
        return credential.scopes
    scopes = requested.split()
    if not scopes or not set(scopes) <= set(credential.scopes):
        raise TokenError("The credential does not have all requested scopes.", code="invalid_scope")
    return [scope for scope in credential.scopes if scope in scopes]
