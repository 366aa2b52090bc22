"""What the OpenAPI document says about the bodies of errors, one or two components for each dialect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorSchema:
    """A component of the document: its name and its JSON schema."""

    name: str
    schema: Mapping[str, Any]


NATIVE_ERROR = ErrorSchema(
    "Error",
    {
        "type": "object",
        "description": "What went wrong. Some codes come with further keys, for example the scope that is missing.",
        "properties": {
            "error": {"type": "string", "description": "A sentence for people."},
            "code": {"type": "string", "description": "Stable machine-readable error code."},
            "fields": {
                "type": "object",
                "description": "For wrong input: each field with its mistakes.",
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
        "properties": {"detail": {"type": "string", "description": "A sentence for people."}},
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
                            "description": "Where it stands, for example query and the parameter's name.",
                            "items": {"type": ["string", "integer"]},
                        },
                        "msg": {"type": "string"},
                        "type": {"type": "string", "description": "A word for programs."},
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
                    "message": {"type": "string", "description": "A sentence for people."},
                    "type": {"type": "string", "description": "A word for programs, for example auth_error."},
                    "param": {"type": ["string", "null"], "description": "The parameter at fault, if one is."},
                    "code": {"type": "string", "description": "The HTTP status."},
                },
                "required": ["message", "type", "param", "code"],
            }
        },
        "required": ["error"],
    },
)
