"""The OpenAPI components of response bodies (`costtrack.responses`)."""

from types import GenericAlias
from typing import Any, get_args

import msgspec
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import append_meta, build_array_type, build_basic_type, build_choice_field
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import Direction
from msgspec import inspect
from rest_framework import serializers

from costtrack.responses import DECIMAL_STRING, Amount, OneOf

Schema = dict[str, Any]

_BASIC_TYPES: dict[type[inspect.Type], OpenApiTypes] = {
    inspect.StrType: OpenApiTypes.STR,
    inspect.IntType: OpenApiTypes.INT,
    inspect.FloatType: OpenApiTypes.DOUBLE,
    inspect.BoolType: OpenApiTypes.BOOL,
    inspect.UUIDType: OpenApiTypes.UUID,
    inspect.DateType: OpenApiTypes.DATE,
    inspect.DateTimeType: OpenApiTypes.DATETIME,
    inspect.AnyType: OpenApiTypes.ANY,
}


class StructExtension(OpenApiSerializerExtension):
    """The OpenAPI component of a struct."""

    target_class = msgspec.Struct
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:
        return str(self.target.__name__).removesuffix("Body")

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> Schema:
        struct = inspect.type_info(self.target)
        if not isinstance(struct, inspect.StructType):
            raise TypeError(f"{self.target} is not a struct.")
        schema: Schema = {
            "type": "object",
            "properties": {field.encode_name: _schema_of(field.type, auto_schema) for field in struct.fields},
        }
        if description := self.target.__dict__.get("__doc__"):
            schema["description"] = " ".join(description.split())
        if required := sorted(field.encode_name for field in struct.fields if not _may_be_absent(field)):
            schema["required"] = required
        return schema


class OneOfExtension(OpenApiSerializerExtension):
    target_class = OneOf

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:
        return str(self.target.name)

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> Schema:
        return {"oneOf": [reference_to(option, auto_schema) for option in self.target.options]}


def reference_to(body: Any, auto_schema: AutoSchema) -> Schema:
    """Return the schema of a response: a reference to the component of a struct, or a list of it."""
    if isinstance(body, GenericAlias):
        (item,) = get_args(body)
        return dict(build_array_type(reference_to(item, auto_schema)))
    return dict(auto_schema.resolve_serializer(body, "response").ref)


def _may_be_absent(field: inspect.Field) -> bool:
    """Whether its value may be `msgspec.UNSET`, which is not encoded."""
    return not field.required and field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT


def _schema_of(described: inspect.Type, auto_schema: AutoSchema) -> Schema:  # noqa: PLR0911 - one for each kind
    """Return the JSON schema of a field; nested structs become separate components."""
    match described:
        case inspect.Metadata():
            return append_meta(_schema_of_annotated(described, auto_schema), described.extra_json_schema or {})
        case inspect.UnionType():
            (option,) = (option for option in described.types if not isinstance(option, inspect.NoneType))
            return _or_null(_schema_of(option, auto_schema))
        case inspect.StructType():
            return reference_to(described.cls, auto_schema)
        case inspect.ListType():
            return build_array_type(_schema_of(described.item_type, auto_schema))
        case inspect.DictType():
            return {"type": "object", "additionalProperties": _schema_of(described.value_type, auto_schema)}
        case inspect.LiteralType():
            return _choice_of(list(described.values))
    return _scalar(described)


def _schema_of_annotated(annotated: inspect.Metadata, auto_schema: AutoSchema) -> Schema:
    """Respect the `extra` of its `Meta`, if there is one."""
    extra = annotated.extra or {}
    if "items" in extra:
        return build_array_type(reference_to(extra["items"], auto_schema))
    if "choices" not in extra:
        return _schema_of(annotated.type, auto_schema)
    schema = _choice_of(extra["choices"])
    return _or_null(schema) if isinstance(annotated.type, inspect.UnionType) else schema


def _or_null(schema: Schema) -> Schema:
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return append_meta({**schema, **choices}, {"nullable": True})


def _scalar(described: inspect.Type) -> Schema:
    if isinstance(described, inspect.EnumType):
        return _choice_of([choice.value for choice in described.cls])
    if isinstance(described, inspect.CustomType):
        choices = getattr(described.cls, "choices", None)  # Django's
        return {"type": "string", **DECIMAL_STRING} if described.cls is Amount else _choice_of(choices)
    return dict(build_basic_type(_BASIC_TYPES[type(described)]) or {})


def _choice_of(choices: Any) -> Schema:
    return dict(build_choice_field(serializers.ChoiceField(choices=choices)))
