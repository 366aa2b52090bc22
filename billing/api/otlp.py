"""`POST /otlp/v1/traces`, `/otlp/v1/logs` and `/otlp/v1/metrics`, also at `/v1/...` and at Langfuse's path."""

from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from billing.api.intake import body_errors, content_type, read_body
from billing.ingest import otlp
from billing.ingest.coverage import MAX_AGE
from billing.ingest.metric_usage import record_metrics
from billing.ingest.otlp import json_encoding, protobuf
from billing.ingest.otlp.metrics import Point
from billing.ingest.quarantine import ingest_parsed_or_quarantine
from billing.ingest.trace_context import TraceContext
from billing.ingest.types import Malformed, ParsedBatch, RecordError
from costtrack.clock import utc_now
from costtrack.error_formats import OTLP, Dialect
from costtrack.errors import DomainError
from costtrack.renderers import JSONRenderer
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
# Spans and log records of one request; those that are no calls of models are many, and cost little.
_MAX_RECORDS = 100_000
_MAX_ERRORS_NAMED = 3

_UNREADABLE_POINTS = "A number of tokens needs a value from 0 on, a time and a temporality."
_OUTDATED_POINTS = f"Points older than {MAX_AGE.days} days or in the future are not compared."

Decode = Callable[..., list[otlp.Record]]
_DECODERS: dict[tuple[str, str], Decode] = {
    ("traces", _PROTOBUF): protobuf.spans,
    ("traces", _JSON): json_encoding.spans,
    ("logs", _PROTOBUF): protobuf.logs,
    ("logs", _JSON): json_encoding.logs,
}


_METRICS: dict[str, Callable[..., tuple[list[Point], int]]] = {
    _PROTOBUF: protobuf.metrics,
    _JSON: json_encoding.metrics,
}


class UnsupportedTypeError(DomainError):
    status = 415
    code = "unsupported_media_type"


class ProtobufRenderer(BaseRenderer):
    """Renders errors as google.rpc.Status in protobuf."""

    media_type = _PROTOBUF
    format = "protobuf"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return _status(data.get("code", 0), data.get("message", "")) if isinstance(data, dict) else b""


def _status(code: int, message: str) -> bytes:
    """Encode a google.rpc.Status: `int32 code = 1; string message = 2`."""
    text = message[:1000].encode()
    return b"\x08" + bytes([code]) + b"\x12" + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits in each byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _answer(request: Request, response: Message) -> HttpResponse:
    """Return a response in the encoding of the request; it may be empty."""
    encoding = content_type(request)
    body = response.SerializeToString() if encoding == _PROTOBUF else msgspec.json.encode(_as_json(response))
    return HttpResponse(body, content_type=encoding)


def _as_json(response: Message) -> dict[str, Any]:
    """Return a response in OTLP's JSON, where 64-bit numbers are texts."""
    for descriptor, partial in response.ListFields():
        if descriptor.name == "partial_success":
            fields: dict[str, Any] = {
                field.json_name: str(value) if isinstance(value, int) else value
                for field, value in partial.ListFields()
            }
            return {"partialSuccess": fields}
    return {}


class AnswerInKind(BaseContentNegotiation):
    """The response has the encoding of the request."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return next(iter(parsers), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        renderer = ProtobufRenderer() if content_type(request) == _PROTOBUF else JSONRenderer()
        return renderer, renderer.media_type


_EXPORT_REQUEST = {
    _PROTOBUF: {"type": "string", "format": "binary"},
    _JSON: {"type": "object", "additionalProperties": True},
}
_EXPORT_RESPONSE = OpenApiResponse(
    {
        "type": "object",
        "properties": {"partialSuccess": {"type": "object", "additionalProperties": True}},
        "title": "ExportResponse",
    },
    "In the encoding of the request. `partialSuccess` says how many records were rejected and why.",
)


class ExportView(OrganizationScopedAPIView):
    """`POST /otlp/v1/{signal}`"""

    required_scope: ClassVar[Scope] = Scope.USAGE_WRITE
    max_body_bytes: ClassVar[int] = settings.INTAKE_MAX_BYTES
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"post"})
    own_transactions: ClassVar[bool] = True
    takes_idempotency_key: ClassVar[bool] = False  # each record has an id of its own
    dialect: ClassVar[Dialect] = OTLP
    content_negotiation_class = AnswerInKind
    signal: ClassVar[str]

    def _body(self, request: Request) -> tuple[bytes, str]:
        """Return the unpacked body and its encoding. Raises UnsupportedTypeError."""
        encoding = content_type(request)
        if encoding not in (_PROTOBUF, _JSON):
            raise UnsupportedTypeError(f"The body must be {_PROTOBUF} or {_JSON}.", param="Content-Type")
        return read_body(request, max_bytes=settings.INTAKE_MAX_BYTES), encoding

    def _records(self, request: Request) -> list[otlp.Record]:
        body, encoding = self._body(request)
        with body_errors():
            return _DECODERS[self.signal, encoding](body, max_records=_MAX_RECORDS)

    def _store(self, records: Sequence[otlp.Record], now: datetime) -> tuple[int, str]:
        """Store the calls among the records. Return how many records were rejected and why."""
        errors: list[RecordError] = []
        context = TraceContext(self.organization, records)
        parsed = otlp.to_events(records, now=now, known=context.known)
        context.add(parsed.events)
        for start in range(0, max(len(parsed.events), 1), settings.INTAKE_MAX_EVENTS):
            chunk = parsed.events[start : start + settings.INTAKE_MAX_EVENTS]
            result = ingest_parsed_or_quarantine(
                organization=self.organization,
                credential=self.principal.credential,
                format=otlp.SOURCE,
                parsed=ParsedBatch(chunk, parsed.errors if start == 0 else []),
                raw=lambda index: otlp.encode(records[index]),
                now=now,
            )
            errors += result.errors
        context.complete(now)
        named = "; ".join(dict.fromkeys(error.message for error in errors[:_MAX_ERRORS_NAMED]))
        return len(errors), named


class TracesView(ExportView):
    """`POST /otlp/v1/traces`"""

    signal = "traces"

    @extend_schema(
        tags=["intake"],
        request=_EXPORT_REQUEST,
        responses={HTTPStatus.OK: _EXPORT_RESPONSE},
    )
    def post(self, request: Request) -> HttpResponse:
        """Accept spans of OpenTelemetry (OTLP/HTTP, protobuf or JSON). Calls of models become events; all other spans
        only say whose calls those are."""
        records = self._records(request)
        if records and otlp.without_ids(records):
            with body_errors():
                raise Malformed("No span has a trace id of 16 bytes and a span id of 8 bytes. Is this another signal?")
        rejected, message = self._store(records, utc_now())
        response = ExportTraceServiceResponse()
        if rejected:
            response.partial_success.rejected_spans = rejected
            response.partial_success.error_message = message
        return _answer(request, response)


class LogsView(ExportView):
    """`POST /otlp/v1/logs`"""

    signal = "logs"

    @extend_schema(
        tags=["intake"],
        request=_EXPORT_REQUEST,
        responses={HTTPStatus.OK: _EXPORT_RESPONSE},
    )
    def post(self, request: Request) -> HttpResponse:
        """Accept log records of OpenTelemetry (OTLP/HTTP, protobuf or JSON). Calls of models, as Claude Code, Codex and
        Gemini CLI log them, become events."""
        rejected, message = self._store(self._records(request), utc_now())
        response = ExportLogsServiceResponse()
        if rejected:
            response.partial_success.rejected_log_records = rejected
            response.partial_success.error_message = message
        return _answer(request, response)


class MetricsView(ExportView):
    """`POST /otlp/v1/metrics`"""

    signal = "metrics"

    @extend_schema(
        tags=["intake"],
        request=_EXPORT_REQUEST,
        responses={HTTPStatus.OK: _EXPORT_RESPONSE},
    )
    def post(self, request: Request) -> HttpResponse:
        """Accept metrics of OpenTelemetry (OTLP/HTTP, protobuf or JSON). They repeat the tokens of spans and logs, so
        they are not counted, except those of senders that export nothing else; they show how much of a sender's logs
        and spans has arrived."""
        body, encoding = self._body(request)
        with body_errors():
            points, unreadable = _METRICS[encoding](body, max_records=_MAX_RECORDS)
        outdated = record_metrics(
            organization=self.organization, credential=self.principal.credential, points=points, now=utc_now()
        )
        response = ExportMetricsServiceResponse()
        if unreadable or outdated:
            response.partial_success.rejected_data_points = unreadable + outdated
            response.partial_success.error_message = _UNREADABLE_POINTS if unreadable else _OUTDATED_POINTS
        return _answer(request, response)
