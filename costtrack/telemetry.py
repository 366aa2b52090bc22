"""Traces and logs by OpenTelemetry, if `OTEL_EXPORTER_OTLP_ENDPOINT` is set (docs/operations.md, Traces).

Requests, tasks and database statements are spans; a task belongs to the trace of the request that enqueued it. The
SDK's own variables (`OTEL_*`) have the endpoint, headers, sampling and the limits of its queues. Exporting happens in
threads of the SDK, and what a collector does not take is dropped, so that no request waits for it.

No secrets are exported: paths and log lines have the log's masking, statements have no parameters, and there are no
query strings, headers, bodies or arguments of tasks.
"""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import structlog
from celery import Task
from celery.signals import before_task_publish, task_failure, task_postrun, task_prerun
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from opentelemetry import propagate, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from costtrack.logs import QUIET_PATHS, REQUEST_ID, current_request_id, json_formatter
from costtrack.secret_links import path_for_logs

_MAX_STATEMENT = 1_000
_SERVER_ERROR = 500
_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}
_OWN_LOGGER = "opentelemetry"

_tracer = trace.get_tracer("costtrack")


def start(process: str) -> Callable[[], None]:
    """Begin to export from this process, `web`, `worker` or `beat`. Call it after the last fork. Return a function that
    exports the rest and stops."""
    attributes = {"costtrack.process": process}
    if not OTELResourceDetector().detect().attributes.get(SERVICE_NAME):
        attributes[SERVICE_NAME] = "costtrack"
    resource = Resource.create(attributes)
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(traces)
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    handler = _Handler(logs)
    logging.getLogger().addHandler(handler)
    connection_created.connect(_trace_statements)
    before_task_publish.connect(_send_context)
    task_prerun.connect(_begin_task)
    task_failure.connect(_fail_task)
    task_postrun.connect(_end_task)

    def stop() -> None:
        logging.getLogger().removeHandler(handler)
        traces.shutdown()
        logs.shutdown()

    return stop


class TraceMiddleware:
    """Makes a span of each request, in the trace of its `traceparent` header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(QUIET_PATHS):
            return self.get_response(request)
        method = request.method or ""
        attributes = {
            "http.request.method": method,
            "url.path": path_for_logs(request),
            REQUEST_ID: current_request_id(),
        }
        parent = propagate.extract(request.headers)
        with _tracer.start_as_current_span(method, parent, SpanKind.SERVER, attributes) as span:
            structlog.contextvars.bind_contextvars(trace_id=_trace_id(span))
            response = self.get_response(request)
            if request.resolver_match is not None:
                route = f"/{request.resolver_match.route}"
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= _SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR))
            return response


# --- Tasks -------------------------------------------------------------------------------------------------------

_task_spans: dict[str, tuple[AbstractContextManager[Span], Span]] = {}


def _send_context(headers: dict[str, Any], **_: Any) -> None:
    propagate.inject(headers)


def _begin_task(task: "Task[..., Any]", task_id: str, **_: Any) -> None:
    headers = {name: task.request.get(name) for name in ("traceparent", "tracestate") if task.request.get(name)}
    attributes = {"messaging.system": "celery", "messaging.message.id": task_id, REQUEST_ID: current_request_id()}
    context = propagate.extract(headers)
    scope = _tracer.start_as_current_span(task.name, context, SpanKind.CONSUMER, attributes)
    span = scope.__enter__()
    structlog.contextvars.bind_contextvars(trace_id=_trace_id(span))
    _task_spans[task_id] = (scope, span)


def _fail_task(task_id: str, exception: BaseException, **_: Any) -> None:
    if task_id in _task_spans:
        # Without its text, which may have values of the caller.
        _task_spans[task_id][1].set_status(Status(StatusCode.ERROR, type(exception).__name__))


def _end_task(task_id: str, **_: Any) -> None:
    if task_id in _task_spans:
        scope, _span = _task_spans.pop(task_id)
        scope.__exit__(None, None, None)


# --- Statements --------------------------------------------------------------------------------------------------


def _trace_statements(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _trace_statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(_trace_statement)


def _trace_statement(
    execute: Callable[..., Any], statement: Any, params: Any, many: Any, context: Mapping[str, Any]
) -> Any:
    if not trace.get_current_span().is_recording():  # between requests and tasks
        return execute(statement, params, many, context)
    text = statement if isinstance(statement, str) else statement.as_string(context["connection"].connection)
    operation = text.split(maxsplit=1)[0].upper() if text.strip() else "SQL"
    attributes = {"db.system.name": "postgresql", "db.operation.name": operation}
    if isinstance(statement, str):  # a composed one has its values
        attributes["db.query.text"] = text[:_MAX_STATEMENT]
    with _tracer.start_as_current_span(operation, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False):
        return execute(statement, params, many, context)


# --- Logs --------------------------------------------------------------------------------------------------------


class _Handler(logging.Handler):
    """Exports the lines of the log, with the same masking."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self.setFormatter(json_formatter())
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_OWN_LOGGER):  # about exporting, which would go in a circle
            return
        try:
            line = json.loads(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler: logging fails nothing
            self.handleError(record)
            return
        body = str(line.pop("event", ""))
        span = trace.get_current_span().get_span_context()
        # The line about a whole request is written after its span.
        trace_id = span.trace_id or int(line.get("trace_id", "0"), base=16)
        attributes = {name: value if isinstance(value, int | float) else str(value) for name, value in line.items()}
        self._provider.get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                trace_id=trace_id,
                span_id=span.span_id,
                trace_flags=span.trace_flags,
                severity_text=record.levelname,
                severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
                body=body,
                attributes=attributes,
            )
        )


def _trace_id(span: Span) -> str:
    return trace.format_trace_id(span.get_span_context().trace_id)
