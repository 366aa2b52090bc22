"""A process with an OTLP endpoint exports its requests, tasks, statements and log lines, without secrets."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.database import database_url

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
_PROGRAM = """
import sys

import django

django.setup()

from celery.app.trace import trace_task
from celery.signals import before_task_publish
from django.test import Client

from costtrack import telemetry
from costtrack.celery import app
from costtrack.tasks import tick
from organizations.models import Organization

stop = telemetry.start("web")


@before_task_publish.connect
def read_headers(headers, **_):
    headers_of_task.update(headers)


headers_of_task = {}
client = Client(headers={"host": "localhost", "x-request-id": "request-1", "traceparent": sys.argv[1]})
client.get("/healthz")
client.get("/account/password/choose/a-secret-link/?token=a-secret-query")
client.post("/usage/events", [], content_type="application/json", headers={"authorization": "Bearer a-secret-key"})
with telemetry._tracer.start_as_current_span("the request"):
    before_task_publish.send(sender="costtrack.tick", headers=headers_of_task)
    Organization.objects.filter(slug="a-secret-slug").exists()
trace_task(tick, "task-1", ["a-secret-argument"], {}, {"id": "task-1", **headers_of_task}, app=app)
stop()
"""


@dataclass
class Collector:
    spans: list[Span] = field(default_factory=list)
    lines: list[LogRecord] = field(default_factory=list)
    services: set[object] = field(default_factory=set)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    def span(self, name: str) -> Span:
        (span,) = (span for span in self.spans if span.name == name)
        return span


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.bodies.append(body)
            if self.path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    collector.services.add(attributes(resource.resource.attributes)["service.name"])
                    collector.spans += (span for scope in resource.scope_spans for span in scope.spans)
            else:
                for logs in ExportLogsServiceRequest.FromString(body).resource_logs:
                    collector.lines += (line for scope in logs.scope_logs for line in scope.log_records)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests are silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield collector
    server.shutdown()
    thread.join()
    server.server_close()


def attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


@pytest.mark.django_db(transaction=True)
def test_requests_tasks_statements_and_log_lines_are_exported_without_secrets(collector: Collector) -> None:
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "COSTTRACK_LOG_LEVEL": "INFO",
        "DATABASE_URL": database_url(),
    }
    command = [sys.executable, "-W", "error", "-c", _PROGRAM, f"00-{TRACE_ID}-b7ad6b7169203331-01"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr

    refused = collector.span("POST /usage/events")
    assert refused.trace_id.hex() == TRACE_ID
    assert refused.kind == Span.SPAN_KIND_SERVER
    found = attributes(refused.attributes)
    assert (found["http.response.status_code"], found["request_id"], found["url.path"]) == (
        401,
        "request-1",
        "/usage/events",
    )

    task, request = collector.span("costtrack.tick"), collector.span("the request")
    assert (task.trace_id, task.parent_span_id) == (request.trace_id, request.span_id)

    statements = [span for span in collector.spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert statements
    assert {attributes(span.attributes)["db.system.name"] for span in statements} == {"postgresql"}
    assert {request.span_id} <= {span.parent_span_id for span in statements}

    line = next(line for line in collector.lines if attributes(line.attributes).get("path") == "/usage/events")
    assert (line.body.string_value, line.trace_id.hex()) == ("request", TRACE_ID)
    assert attributes(line.attributes)["trace_id"] == TRACE_ID

    assert not [span.name for span in collector.spans if "healthz" in span.name]
    assert not [body for body in collector.bodies if b"a-secret" in body]
