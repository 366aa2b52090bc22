"""Error formats. Each API family has its own (docs/families); one exception handler renders them all.

A view class declares its dialect (`dialect = DETAIL`); the default is the native format. An exception is first
converted to a `Failure`, which a dialect renders as a JSON body.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core import signals
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from django.utils.log import log_response
from rest_framework import exceptions
from rest_framework.response import Response

from costtrack.error_schemas import (
    DETAIL_ERROR,
    DETAIL_INVALID,
    GRPC_STATUS,
    LITELLM_ERROR,
    NATIVE_ERROR,
    PROBLEM_DETAILS,
    ErrorSchema,
)
from costtrack.errors import DomainError
from costtrack.timeouts import is_query_timeout, log_query_timeout

_RETRY_AFTER = {"Retry-After": "5"}


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error in one field, with its path, for example `("events", 3, "id")`. An empty path means the whole input."""

    path: tuple[str | int, ...]
    message: str
    code: str

    @property
    def name(self) -> str:
        return ".".join(map(str, self.path))


@dataclass(frozen=True, slots=True)
class Failure:
    """An error response, before a dialect renders it."""

    status: int
    code: str
    message: str
    param: str | None = None
    fields: Sequence[FieldError] = ()
    extra: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    location: str = "query"  # of the fields: query, body or path


QUERY_TIMEOUT = Failure(
    503,
    "query_timeout",
    "The query took too long and was canceled. Try again, or request a shorter period.",
    headers=_RETRY_AFTER,
)
DATABASE_UNAVAILABLE = Failure(503, "unavailable", "The database is unavailable. Try again.", headers=_RETRY_AFTER)


@dataclass(frozen=True, slots=True)
class Dialect:
    """An error format. The name and the schemas are for the OpenAPI document."""

    name: str
    body: Callable[[Failure], dict[str, Any]]
    schema: ErrorSchema
    schema_of_invalid: ErrorSchema | None = None  # of 422, if it differs

    def schema_for(self, status: int) -> ErrorSchema:
        if status == HTTPStatus.UNPROCESSABLE_ENTITY and self.schema_of_invalid is not None:
            return self.schema_of_invalid
        return self.schema


# --- The dialects ----------------------------------------------------------------------------------------------


def _native(failure: Failure) -> dict[str, Any]:
    """`{"error": message, "code": code}`, for wrong input with `"fields": {"name": ["..."]}`."""
    body: dict[str, Any] = {"error": failure.message, "code": failure.code}
    fields: dict[str, list[str]] = {}
    for error in failure.fields:
        if error.path:
            fields.setdefault(error.name, []).append(error.message)
    if fields:
        body["fields"] = fields
    return {**body, **failure.extra}


# FastAPI's error types, where Django's codes differ.
_FASTAPI_TYPES = {
    "required": "missing",
    "null": "none_required",
    "blank": "string_too_short",
    "min_value": "greater_than_equal",
    "max_value": "less_than_equal",
    "min_length": "string_too_short",
    "max_length": "string_too_long",
    "invalid_choice": "enum",
    "invalid": "value_error",
}


def _fastapi(failure: Failure) -> dict[str, Any]:
    """`{"detail": message}`; 422 is FastAPI's list of `{"loc", "msg", "type"}`."""
    if failure.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return {"detail": failure.message, **failure.extra}
    errors = failure.fields or [FieldError((), failure.message, failure.code)]
    return {
        "detail": [
            {
                "loc": [failure.location, *error.path],
                "msg": error.message,
                "type": _FASTAPI_TYPES.get(error.code, error.code),
            }
            for error in errors
        ]
    }


# Codes that LiteLLM's clients know as types, whatever the status.
_LITELLM_CODES = frozenset({"model_not_priced"})
_LITELLM_TYPES = {400: "bad_request", 401: "auth_error", 403: "permission_denied", 404: "not_found", 422: "bad_request"}


def _litellm(failure: Failure) -> dict[str, Any]:
    """`{"error": {"message", "type", "param", "code"}}`; the code is the status as a string."""
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind = "internal_server_error"
    elif failure.code in _LITELLM_CODES:
        kind = failure.code
    else:
        kind = _LITELLM_TYPES.get(failure.status, failure.code)
    param = failure.param or next((error.name for error in failure.fields if error.path), None)
    return {"error": {"message": failure.message, "type": kind, "param": param, "code": str(failure.status)}}


# The codes of gRPC, which OTLP's errors have.
_GRPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 422: 3, 429: 8, 503: 14}
_GRPC_INTERNAL = 13


def _grpc(failure: Failure) -> dict[str, Any]:
    """google.rpc.Status: `{"code": number, "message": message}`."""
    return {"code": _GRPC_CODES.get(failure.status, _GRPC_INTERNAL), "message": failure.message}


def _problem(failure: Failure) -> dict[str, Any]:
    """RFC 9457: `{"type", "title", "status", "detail"}`."""
    title = HTTPStatus(failure.status).phrase
    return {"type": "about:blank", "title": title, "status": failure.status, "detail": failure.message}


NATIVE = Dialect("", _native, NATIVE_ERROR)
DETAIL = Dialect("Detail", _fastapi, DETAIL_ERROR, DETAIL_INVALID)
LITELLM = Dialect("Spend", _litellm, LITELLM_ERROR)
OTLP = Dialect("Otlp", _grpc, GRPC_STATUS)
PROBLEM = Dialect("Problem", _problem, PROBLEM_DETAILS)


# --- From exceptions to failures -------------------------------------------------------------------------------


def to_failure(error: Exception, location: str = "query") -> Failure:  # noqa: PLR0911 - one for each kind
    """Convert an exception to a `Failure`. An unexpected one is a 500 without details."""
    match error:
        case DomainError():
            return _of_domain_error(error, location)
        case exceptions.ValidationError():
            return _of_validation_error(error, location)
        case exceptions.APIException():
            return _of_api_exception(error)
        case Http404():
            return Failure(404, "not_found", "Not found.")
        case PermissionDenied():
            return Failure(403, "forbidden", "You do not have permission to do this.")
        case RequestDataTooBig():
            return Failure(413, "too_large", str(error))
        case SuspiciousOperation():
            return Failure(400, "bad_request", "The request is malformed.")
        case OperationalError() | InterfaceError():
            return database_failure(error)
        case _:
            return Failure(500, "internal_error", "Something went wrong on our side.")


def database_failure(error: OperationalError | InterfaceError) -> Failure:
    """A canceled query, or a connection that could not be made or was lost."""
    return QUERY_TIMEOUT if is_query_timeout(error) else DATABASE_UNAVAILABLE


def _of_domain_error(error: DomainError, location: str) -> Failure:
    is_about_a_field = error.param is not None and error.status == HTTPStatus.UNPROCESSABLE_ENTITY
    fields = [FieldError((error.param or "",), error.message, error.code)] if is_about_a_field else []
    return Failure(
        error.status, error.code, error.message, error.param, fields, error.extra, error.headers, location=location
    )


def _of_validation_error(error: exceptions.ValidationError, location: str) -> Failure:
    fields = list(_field_errors(error.detail))
    first = fields[0]
    message = f"{first.name}: {first.message}" if first.path else first.message
    param = first.name if first.path else None
    return Failure(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", message, param, fields, location=location)


def _field_errors(detail: Any, path: tuple[str | int, ...] = ()) -> Iterator[FieldError]:
    """Flatten Django REST framework's nested details."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _field_errors(inner, path if name == "non_field_errors" else (*path, name))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            is_nested = isinstance(inner, dict | list)
            yield from _field_errors(inner, (*path, index) if is_nested else path)
    else:
        yield FieldError(path, str(detail), getattr(detail, "code", "invalid"))


_CODES = {
    exceptions.NotAuthenticated: "unauthorized_missing_authorization",
    exceptions.AuthenticationFailed: "unauthorized",
    exceptions.PermissionDenied: "forbidden",
    exceptions.Throttled: "too_many_requests",
    exceptions.ParseError: "bad_request",
}


def _of_api_exception(error: exceptions.APIException) -> Failure:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(int(wait))
    code = _CODES.get(type(error), error.default_code)
    return Failure(error.status_code, code, str(error.detail), headers=headers)


# --- The handler -----------------------------------------------------------------------------------------------


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """Django REST framework's EXCEPTION_HANDLER: every exception of a view becomes JSON in the view's dialect."""
    request = context["request"]
    dialect: Dialect = getattr(context["view"], "dialect", NATIVE)
    failure = to_failure(error, "query" if request.method in ("GET", "HEAD") else "body")
    response = Response(dialect.body(failure), status=failure.status, headers=dict(failure.headers))
    if failure is QUERY_TIMEOUT:
        log_query_timeout(request, response)
    elif failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, DomainError):
        # As Django does for an uncaught exception: send the signal, and log it with its traceback.
        signals.got_request_exception.send(sender=type(context["view"]), request=request)
        log_response(
            "%s: %s", response.reason_phrase, request.path, response=response, request=request, exception=error
        )
    return response
