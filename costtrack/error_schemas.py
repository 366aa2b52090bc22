"""OpenAPI components of error bodies, one or two per dialect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorSchema:
    """An OpenAPI component: its name and JSON schema."""

    name: str
    schema: Mapping[str, Any]


_SCOPE = {"type": "string", "description": "With 403: the scope that the credential needs."}

NATIVE_ERROR = ErrorSchema(
    "Error",
    {
        "type": "object",
        "description": "An error. Some codes have additional keys.",
        "properties": {
            "error": {"type": "string", "description": "Human-readable message."},
            "code": {"type": "string", "description": "Stable machine-readable error code."},
            "scope": _SCOPE,
            "fields": {
                "type": "object",
                "description": "For invalid input: the messages of each field.",
                "additionalProperties": {"type": "array", "items": {"type": "string"}},
            },
        },
        "required": ["error", "code"],
    },
)

DETAIL_ERROR = ErrorSchema(
    "DetailError",
    {
        "type": "object",
        "properties": {"detail": {"type": "string", "description": "Human-readable message."}, "scope": _SCOPE},
        "required": ["detail"],
    },
)

DETAIL_INVALID = ErrorSchema(
    "DetailValidationError",
    {
        "type": "object",
        "properties": {
            "detail": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "loc": {
                            "type": "array",
                            "description": "Location, for example query and the parameter's name.",
                            "items": {"type": ["string", "integer"]},
                        },
                        "msg": {"type": "string"},
                        "type": {"type": "string", "description": "Machine-readable error type."},
                    },
                    "required": ["loc", "msg", "type"],
                },
            }
        },
        "required": ["detail"],
    },
)

LITELLM_ERROR = ErrorSchema(
    "SpendError",
    {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "message": {"type": "string", "description": "Human-readable message."},
                    "type": {"type": "string", "description": "Machine-readable error type, for example auth_error."},
                    "param": {"type": ["string", "null"], "description": "The invalid parameter, if any."},
                    "code": {"type": "string", "description": "The HTTP status."},
                },
                "required": ["message", "type", "param", "code"],
            }
        },
        "required": ["error"],
    },
)

GRPC_STATUS = ErrorSchema(
    "Status",
    {
        "type": "object",
        "description": "google.rpc.Status, in the encoding of the request.",
        "properties": {
            "code": {"type": "integer", "description": "The code of gRPC."},
            "message": {"type": "string", "description": "Human-readable message."},
        },
        "required": ["code", "message"],
    },
)

PROBLEM_DETAILS = ErrorSchema(
    "Problem",
    {
        "type": "object",
        "description": "RFC 9457.",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string", "description": "The status."},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "Human-readable message."},
        },
        "required": ["type", "title", "status", "detail"],
    },
)
