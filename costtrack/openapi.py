"""The OpenAPI operations (drf-spectacular), with the errors that all endpoints have in common.

An endpoint documents its request and response; this module adds its errors, in the dialect of its view. An endpoint's
additional errors need only a description, `responses={201: Thing, 409: OpenApiResponse(description="Taken.")}`, and get
the body of the dialect.
"""

from copy import deepcopy
from http import HTTPStatus
from types import GenericAlias
from typing import Any

import uritemplate
from drf_spectacular import plumbing
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import Direction
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.viewsets import GenericViewSet

from costtrack.error_formats import NATIVE, Dialect, Failure, FieldError
from costtrack.openapi_structs import reference_to
from costtrack.rate_limit_headers import RATE_LIMIT_HEADERS
from costtrack.responses import DECIMAL_STRING
from costtrack.serializers import StrictSerializer

Schema = dict[str, Any]

_JSON = "application/json"

_MISSING_ORGANIZATION = [FieldError(("organization",), "The organization parameter is required.", "invalid")]
# The component's name, the meaning of the response, and an example.
_ERRORS: dict[int, tuple[str, str, Failure]] = {
    failure.status: (name, meaning, failure)
    for name, meaning, failure in (
        (
            "BadRequest",
            "The request is malformed.",
            Failure(400, "bad_request", "The body is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ),
        (
            "Unauthorized",
            "Missing or invalid credentials.",
            Failure(401, "unauthorized", "The credentials are not valid."),
        ),
        (
            "Forbidden",
            "The scope, the role or the plan does not allow it.",
            Failure(403, "missing_scope", "missing scope: this needs manage.", extra={"scope": "manage"}),
        ),
        (
            "NotFound",
            "It does not exist, or belongs to another organization.",
            Failure(404, "not_found", "No such organization."),
        ),
        (
            "NotAcceptable",
            "Not acceptable.",
            Failure(406, "not_acceptable", "Could not satisfy the request Accept header."),
        ),
        ("Conflict", "Conflict with the current state.", Failure(409, "conflict", "Conflict with the current state.")),
        ("TooLarge", "The body is too large.", Failure(413, "too_large", "The body is larger than 1048576 bytes.")),
        (
            "UnsupportedMediaType",
            "The media type of the body is not supported.",
            Failure(415, "unsupported_media_type", 'Unsupported media type "text/plain" in request.'),
        ),
        (
            "Invalid",
            "A parameter or a field is invalid.",
            Failure(422, "invalid", "The organization parameter is required.", "organization", _MISSING_ORGANIZATION),
        ),
        (
            "TooManyRequests",
            "The rate limit of the plan is exceeded, or too many wrong credentials were sent (`too_many_attempts`).",
            Failure(429, "too_many_requests", "Rate limit exceeded"),
        ),
        (
            "Unavailable",
            "The database is unavailable, or a query took too long and was canceled.",
            Failure(503, "unavailable", "The database is unavailable. Try again."),
        ),
    )
}
_HEADERS: dict[int, Schema] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "How to authenticate."}},
    429: {
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."},
        **{name: {"$ref": f"#/components/headers/{name}"} for name in RATE_LIMIT_HEADERS},
    },
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}},
}


def classes_without_descriptions() -> list[type]:
    """GET_LIB_DOC_EXCLUDES: base classes whose docstrings are for developers."""
    return [*plumbing.get_lib_doc_excludes(), StrictSerializer]


class DialectSchema(AutoSchema):
    """Adds the possible errors, a summary, and stricter types to each operation."""

    def error_statuses(self) -> set[int]:
        """Return the statuses that any caller can get, depending on the parameters and the body of the operation."""
        statuses = {400, 406, 503}
        if self.view.get_authenticators():
            statuses |= {401, 403, 429}
        if self._has_body():
            statuses |= {413, 415, 422}
        if uritemplate.variables(self.path) or self._is_paginated():
            statuses.add(404)
        if any(parameter["in"] == "query" for parameter in self._get_parameters()):
            statuses.add(422)
        return statuses

    def get_description(self) -> str:  # type: ignore[override] # as drf-spectacular does
        """Return the method's docstring, or a sentence about the model for a method of Django REST framework."""
        action = getattr(self.view, "action", None) or self.method.lower()
        written = plumbing.get_doc(getattr(self.view, action, None))
        model = plumbing.get_view_model(self.view, emit_warnings=False)
        if written or model is None:
            return written
        if action == "list":
            return f"List {model._meta.verbose_name_plural}."  # noqa: SLF001
        return f"Get one {model._meta.verbose_name}."  # noqa: SLF001

    def get_summary(self) -> str | None:
        """Return the first sentence of the description."""
        first, _, _ = " ".join(self.get_description().split()).partition(". ")
        return first.rstrip(".") or None

    def get_tags(self) -> list[str]:
        """Return the tag of the view (`openapi_tag`), or the first segment of the path."""
        tag = getattr(self.view, "openapi_tag", None)
        return [tag] if tag is not None else super().get_tags()

    def get_operation_id(self) -> str:
        """Name custom actions of viewsets directly: `prices_end`, not `organizations_prices_end_create`."""
        action = getattr(self.view, "action", None)
        if not isinstance(self.view, GenericViewSet) or action is None:
            return super().get_operation_id()
        tokens = [token.replace("-", "_") for token in self._tokenize_path()]
        nouns = tokens[1:] or tokens
        return "_".join([*(noun for noun in nouns if noun != action), action])

    def _is_rate_limited(self) -> bool:
        """Only views based on `organizations.api.base` have rate limits."""
        exempt: frozenset[str] | None = getattr(self.view, "actions_without_rate_limit", None)
        action = getattr(self.view, "action", None) or self.method.lower()
        return exempt is not None and action not in exempt

    def _get_response_headers_for_code(self, status_code: str, direction: Direction = "response") -> Schema:
        headers: Schema = super()._get_response_headers_for_code(status_code, direction)
        if not self._is_rate_limited():
            return headers
        return {**self._rate_limit_headers(), **headers}

    def _rate_limit_headers(self) -> Schema:
        """Return references to shared components."""
        return {
            name: self._component(ResolvedComponent.HEADER, name, deepcopy(schema))
            for name, schema in RATE_LIMIT_HEADERS.items()
        }

    def _has_body(self) -> bool:
        return self._get_request_body() is not None

    def _is_paginated(self) -> bool:
        return self._get_paginator() is not None and self._is_list_view()

    # --- Errors ------------------------------------------------------------------------------------------------

    def _get_response_bodies(self, direction: Direction = "response") -> Schema:
        responses: Schema = super()._get_response_bodies(direction)
        for status in self.error_statuses():
            code = str(status)
            responses[code] = self._with_error(responses[code], status) if code in responses else self._error(status)
        for code, response in responses.items():
            if int(code) >= HTTPStatus.BAD_REQUEST and "$ref" not in response and "content" not in response:
                responses[code] = {**self._error_response(int(code)), **response}
            elif "$ref" not in response and not response["description"]:
                response["description"] = HTTPStatus(int(code)).phrase
        return dict(sorted(responses.items()))

    @property
    def _dialect(self) -> Dialect:
        return getattr(self.view, "dialect", NATIVE)

    def _error(self, status: int) -> Schema:
        """Return a reference to the shared component of the dialect."""
        name = self._dialect.name + _ERRORS[status][0]
        return self._component(ResolvedComponent.RESPONSE, name, self._error_response(status))

    def _error_response(self, status: int) -> Schema:
        _, description, failure = _ERRORS[status]
        content = {"schema": self._error_body(status), "example": self._dialect.body(failure)}
        response = {"description": description, "content": {_JSON: content}}
        return {"headers": _HEADERS[status], **response} if status in _HEADERS else response

    def _error_body(self, status: int) -> Schema:
        error = self._dialect.schema_for(status)
        # A copy: post-processing hooks change it in place.
        return self._component(ResolvedComponent.SCHEMA, error.name, deepcopy(dict(error.schema)))

    def _with_error(self, response: Schema, status: int) -> Schema:
        """Add the dialect's error to a status for which the view has its own response."""
        body = response.get("content", {}).get(_JSON)
        error = self._error_body(status)
        if body is None or body["schema"] == error:
            return response
        return {**response, "content": {_JSON: {**body, "schema": {"anyOf": [body["schema"], error]}}}}

    def _component(self, kind: str, name: str, schema: Schema) -> Schema:
        component = ResolvedComponent(name=name, type=kind, schema=schema, object=name)
        self.registry.register_on_missing(component)
        return component.ref

    # --- Parameters --------------------------------------------------------------------------------------------

    def _get_parameters(self) -> list[Schema]:
        """Allow empty values for optional query parameters: they count as missing."""
        parameters: list[Schema] = super()._get_parameters()
        for parameter in parameters:
            if parameter["in"] == "query" and not parameter.get("required", False):
                parameter["schema"].pop("minLength", None)
        return parameters

    def _get_request_for_media_type(
        self, serializer: Any, direction: Direction = "request"
    ) -> tuple[Schema | None, bool]:
        """Mark a body with an explicit schema as required; drf-spectacular considers it optional."""
        schema, required = super()._get_request_for_media_type(serializer, direction)
        return schema, required or isinstance(serializer, dict)

    # --- Types -------------------------------------------------------------------------------------------------

    def _get_response_for_code(
        self, serializer: Any, status_code: str, media_types: list[str] | None = None, direction: Direction = "response"
    ) -> Schema:
        """Describe a list of structs (`costtrack.responses`) too: `responses=list[SpendTag]`."""
        if isinstance(serializer, GenericAlias):
            serializer = reference_to(serializer, self)
        response: Schema = super()._get_response_for_code(serializer, status_code, media_types, direction)
        return response

    def _map_serializer_field(self, field: Any, direction: Direction, bypass_extensions: bool = False) -> Schema:  # noqa: FBT001, FBT002 - its base's
        schema: Schema = super()._map_serializer_field(field, direction, bypass_extensions)
        if isinstance(schema.get("type"), list):
            schema["type"] = list(
                dict.fromkeys(schema["type"])
            )  # null is listed twice if the field's own schema has it
        if isinstance(field, serializers.DecimalField) and "pattern" in schema:
            return {**schema, **(_decimal_in(field, schema) if direction == "request" else DECIMAL_STRING)}
        return schema

    def _map_basic_serializer(self, serializer: Any, direction: Direction) -> Schema:
        schema: Schema = super()._map_basic_serializer(serializer, direction)
        serializer = plumbing.force_instance(serializer)
        if direction == "request" and isinstance(serializer, StrictSerializer):
            schema["additionalProperties"] = False
        if direction == "response":
            always = {name for name, field in serializer.fields.items() if _is_always_there(field)}
            required = sorted(always.union(schema.get("required", [])) & schema["properties"].keys())
            schema |= {"required": required} if required else {}
        return schema

    def _get_serializer_field_meta(self, field: Any, direction: Direction) -> Schema:
        meta: Schema = super()._get_serializer_field_meta(field, direction)
        if isinstance(field, serializers.JSONField):
            meta.pop("nullable", None)  # any JSON value may be null
        if direction == "response":
            meta.pop("readOnly", None)  # as everything in a response
            meta.pop("default", None)
        return meta


def _decimal_in(field: serializers.DecimalField, schema: Schema) -> Schema:
    """Accept numbers too; a string may omit the digits on one side of the point."""
    integer_digits, fraction_digits = field.max_whole_digits, field.decimal_places
    sign = "" if field.min_value is not None and field.min_value >= 0 else "-?"
    pattern = rf"^{sign}(\d{{1,{integer_digits}}}(\.\d{{0,{fraction_digits}}})?|\.\d{{1,{fraction_digits}}})$"
    null = ["null"] if "null" in schema["type"] else []
    return {"type": ["string", "number", *null], "pattern": pattern}


def _is_always_there(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    """Whether every response contains the field: all except declared ones with `required=False` and no default."""
    is_of_the_model = isinstance(field.parent, serializers.ModelSerializer) and (
        field.field_name not in field.parent._declared_fields  # noqa: SLF001 - there is no public equivalent
    )
    return is_of_the_model or field.required or field.read_only or field.default is not empty
