"""Messages of OTLP whose attributes are not decoded: each is the bytes of its `KeyValue`.

A span has about twenty attributes, most of which are the same in many spans or are not read at all, so that decoding
them one by one, and only if they are new, takes a third of the time.
"""

from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_FILE, _PACKAGE = "costtrack/shallow_otlp.proto", "costtrack.otlp"
_FIELDS: dict[Any, tuple[str, ...]] = {
    Resource: ("attributes",),
    Span: (
        *("trace_id", "span_id", "parent_span_id", "name", "kind", "start_time_unix_nano", "end_time_unix_nano"),
        *("attributes", "status"),
    ),
    LogRecord: (
        *("time_unix_nano", "observed_time_unix_nano", "event_name", "trace_id", "span_id"),
        *("body", "attributes"),
    ),
}


def _shallow(message: Any, names: tuple[str, ...]) -> DescriptorProto:
    """Return the message with these fields and no others."""
    original = DescriptorProto()
    message.DESCRIPTOR.CopyToProto(original)
    shallow = DescriptorProto(name=original.name, field=[field for field in original.field if field.name in names])
    for field in shallow.field:
        if field.name == "attributes":
            field.type = FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
    return shallow


_pool = descriptor_pool.Default()
_pool.Add(
    FileDescriptorProto(
        name=_FILE,
        package=_PACKAGE,
        syntax="proto3",
        dependency=[message.DESCRIPTOR.file.name for message in _FIELDS],
        message_type=[_shallow(message, names) for message, names in _FIELDS.items()],
    )
)


def _class_of(message: Any) -> Any:
    return GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{message.DESCRIPTOR.name}"))


ShallowResource, ShallowSpan, ShallowLogRecord = map(_class_of, _FIELDS)
