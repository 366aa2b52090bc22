"""`POST /otlp/v1/traces` and `/otlp/v1/logs`: OTLP/HTTP as the protocol's specification says."""

import gzip
import json
import struct
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any
from unittest.mock import Mock

import pytest
import redis
from django.conf import settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from rest_framework.test import APIClient

from billing.ingest import trace_context
from billing.ingest.quarantine import retry
from billing.ledger.net_cost import load_adjusted_event
from billing.models import Coverage, IngestBatch, MetricPoint, QuarantinedRecord, UsageEvent
from billing.reports.intake_health import intake_checks
from costtrack import heartbeat
from costtrack.breaker import Breaker
from costtrack.clock import utc_now
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.otlp import JSON, PROTOBUF, as_json, log, logs, metrics, point, span, traces
from tests.usage import set_price

TRACES, LOGS, METRICS = "/otlp/v1/traces", "/otlp/v1/logs", "/otlp/v1/metrics"
SECRET = "the quick brown secret"
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-Abc123Def456",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 200,
}
COST = Decimal("0.0045")


@pytest.fixture(autouse=True)
def _price(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")


def post(api: APIClient, path: str, body: Any, content_type: str = PROTOBUF, **headers: str) -> Any:
    """Post a request in protobuf or JSON, or bytes as they are."""
    if not isinstance(body, bytes):
        body = body.SerializeToString() if content_type == PROTOBUF else json.dumps(as_json(body)).encode()
    return api.post(path, body, content_type=content_type, headers=headers)


def status_of(response: Any) -> tuple[int, str]:
    """The code and message of a google.rpc.Status in protobuf."""
    content = response.content
    assert (content[0], content[2]) == (8, 18)
    return content[1], content[-content[3] :].decode() if content[3] < 128 else content[5:].decode()


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("path", [TRACES, "/v1/traces"])
def test_a_call_of_a_model_becomes_an_event(api: APIClient, path: str, content_type: str) -> None:
    response = post(api, path, traces([span(CALL, at=utc_now(), trace=7, number=9)]), content_type)
    assert (response.status_code, response["Content-Type"]) == (200, content_type)
    assert response.content == (b"" if content_type == PROTOBUF else b"{}")
    event = UsageEvent.objects.get()
    assert (event.source, event.event_id) == ("otlp", f"{7:032x}:{9:016x}")
    assert (event.service, event.model_as_sent, event.token_cost_usd) == ("openai", "gpt-4o-2024-08-06", COST)
    assert (event.input_tokens, event.output_tokens, event.duration_ms) == (1000, 200, 2000)
    assert (event.request_id, event.run_id, event.capability) == ("chatcmpl-Abc123Def456", f"{7:032x}", "chat")
    assert IngestBatch.objects.get().format == "otlp"


def test_a_retried_export_is_counted_once(api: APIClient) -> None:
    other = {**CALL, "gen_ai.response.id": "x" * 20}
    request = traces([span(CALL, at=utc_now(), number=1), span(other, at=utc_now(), number=2)])
    for _ in range(2):
        assert post(api, TRACES, request).content == b""
    assert UsageEvent.objects.count() == 2


def test_an_idempotency_key_is_ignored_because_spans_have_ids(api: APIClient) -> None:
    for number in (1, 2):
        other = {**CALL, "gen_ai.response.id": f"{number}" * 20}
        request = traces([span(other, at=utc_now(), number=number)])
        assert post(api, TRACES, request, **{"Idempotency-Key": "key-1"}).content == b""
    assert UsageEvent.objects.count() == 2


def test_an_empty_request_is_accepted(api: APIClient) -> None:
    for content_type, body in ((PROTOBUF, b""), (JSON, b"{}")):
        response = post(api, TRACES, body, content_type)
        assert (response.status_code, response["Content-Type"]) == (200, content_type)


def test_gzip_is_accepted_and_bounded_while_it_is_unpacked(api: APIClient) -> None:
    body = traces([span(CALL, at=utc_now())]).SerializeToString()
    assert post(api, TRACES, gzip.compress(body), **{"Content-Encoding": "gzip"}).status_code == 200
    assert UsageEvent.objects.count() == 1
    bomb = gzip.compress(bytes(settings.INTAKE_MAX_BYTES + 1))
    response = post(api, TRACES, bomb, **{"Content-Encoding": "gzip"})
    assert (response.status_code, status_of(response)[0]) == (413, 8)
    assert post(api, TRACES, body, **{"Content-Encoding": "gzip"}).status_code == 400


@pytest.mark.parametrize("path", [TRACES, LOGS])
def test_a_body_that_cannot_be_decoded_is_refused_in_its_encoding(api: APIClient, path: str) -> None:
    for body in (b"\x0a\xff", b"\x07", b"not protobuf at all", b"\x0a\x05\x12\x03\x12\x01\xff"):
        response = post(api, path, body)
        assert (response.status_code, response["Content-Type"]) == (400, PROTOBUF)
        code, message = status_of(response)
        assert code == 3
        assert message
    for text in (b"{", b"[]", b'{"resourceSpans": 5, "resourceLogs": 5}', b"[" * 100_000, b"\xff"):
        response = post(api, path, text, JSON)
        assert response.status_code == 400, text[:20]
        assert response.json()["code"] == 3


def test_other_types_are_refused(api: APIClient) -> None:
    assert post(api, TRACES, b"", "text/plain").status_code == 415
    response = post(api, TRACES, b"", **{"Content-Encoding": "br"})
    assert response.status_code == 415


def test_credentials_are_required(organization: Organization) -> None:
    body = traces([span(CALL, at=utc_now())])
    response = post(APIClient(), TRACES, body)
    assert (response.status_code, status_of(response)[0]) == (401, 16)
    response = post(make_key(organization, Scope.COSTS_READ).client(), TRACES, body, JSON)
    assert (response.status_code, response.json()["code"]) == (403, 7)


def test_logs_at_the_path_of_traces_are_refused(api: APIClient) -> None:
    body = logs([log({"event.name": "api_request"}, at=utc_now())]).SerializeToString()
    response = post(api, TRACES, body)
    assert response.status_code == 400
    assert "trace id" in status_of(response)[1]


def test_attributes_as_an_object_are_refused(api: APIClient) -> None:
    request = as_json(traces([span(CALL, at=utc_now())]))
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] = {"gen_ai.operation.name": "chat"}
    response = post(api, TRACES, json.dumps(request).encode(), JSON)
    assert response.status_code == 400
    assert "attributes is an object" in response.json()["message"]


def test_spans_that_cannot_be_stored_are_a_partial_success(api: APIClient, organization: Organization) -> None:
    future = span({**CALL, "gen_ai.response.id": "other-call-0001"}, at=utc_now() + timedelta(days=1))
    nameless = span(CALL, at=utc_now())
    nameless.trace_id = b""
    response = post(api, TRACES, traces([span(CALL, at=utc_now()), future, nameless]))
    assert response.status_code == 200
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_spans == 2
    assert "future" in partial.error_message
    assert UsageEvent.objects.count() == 1
    response = post(api, TRACES, traces([future]), JSON)
    assert response.json()["partialSuccess"]["rejectedSpans"] == "1"
    record = QuarantinedRecord.objects.get(record_id__startswith="0")
    assert record.format == "otlp"
    assert retry(record=record, now=utc_now() + timedelta(days=2)).accepted == 1
    assert UsageEvent.objects.of(organization).count() == 2


def test_numbers_may_be_texts(api: APIClient) -> None:
    request = as_json(traces([span(CALL, at=utc_now())]))
    sent = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    for attribute in sent["attributes"]:
        if attribute["key"] == "gen_ai.usage.input_tokens":
            attribute["value"] = {"stringValue": "1000"}
        elif attribute["key"] == "gen_ai.usage.output_tokens":
            attribute["value"] = {"doubleValue": 200.0}
    sent["endTimeUnixNano"] = int(sent["endTimeUnixNano"])
    sent["somethingNew"] = [{"a": 1}]
    assert post(api, TRACES, json.dumps(request).encode(), JSON).status_code == 200
    assert UsageEvent.objects.get().token_cost_usd == COST


@pytest.mark.parametrize("wrong", [-5, float("nan"), 2.0**60, "many", True])
def test_usage_that_is_no_number_is_recorded_without_a_cost(api: APIClient, wrong: Any) -> None:
    response = post(api, TRACES, traces([span({**CALL, "gen_ai.usage.input_tokens": wrong}, at=utc_now())]))
    assert response.content == b""
    event = UsageEvent.objects.get()
    assert (event.token_cost_usd, event.unpriced_reason) == (None, "unreadable_usage")


def test_a_failed_call_without_usage_is_a_failure(api: APIClient) -> None:
    attributes = {name: value for name, value in CALL.items() if "usage" not in name and "response" not in name}
    post(api, TRACES, traces([span({**attributes, "error.type": "429"}, at=utc_now(), is_error=True)]))
    event = UsageEvent.objects.get()
    assert (event.status, event.token_cost_usd) == ("failure", 0)


def test_content_is_never_stored(api: APIClient, caplog: pytest.LogCaptureFixture) -> None:
    content = {
        name: f"{SECRET} {name}"
        for name in (
            "gen_ai.input.messages",
            "gen_ai.output.messages",
            "gen_ai.system_instructions",
            "gen_ai.tool.definitions",
            "gen_ai.prompt.0.content",
            "gen_ai.completion.0.content",
            "gen_ai.prompt",
            "gen_ai.completion",
            "gen_ai.tool.call.arguments",
            "gen_ai.tool.call.result",
            "llm.input_messages.0.message.content",
            "llm.output_messages.0.message.content",
            "llm.prompts",
            "input.value",
            "output.value",
            "traceloop.entity.input",
            "traceloop.entity.output",
            "ai.prompt",
            "ai.prompt.messages",
            "ai.response.text",
            "ai.response.toolCalls",
            "ai.toolCall.args",
            "ai.toolCall.result",
            "langfuse.observation.input",
            "langfuse.observation.output",
            "langfuse.trace.input",
            "langfuse.trace.output",
            "all_messages_events",
            "final_result",
            "logfire.msg",
            "tool_arguments",
            "tool_response",
            "prompt",
            "llm.openai.messages",
            "exception.message",
            "db.statement",
            "http.request.body",
            "gen_ai.usage.input_tokens",
            "metadata",
            "graph.node.id",
        )
    }
    call = span({**content, **CALL}, at=utc_now(), name=f"chat {SECRET}", is_error=True)
    call.status.message = SECRET
    call.trace_state = SECRET
    call.events.add(name=SECRET).attributes.extend(span(content, at=utc_now()).attributes)
    call.links.add(attributes=span(content, at=utc_now()).attributes)
    refused = span({**content, **CALL, "gen_ai.response.id": "x" * 20}, at=utc_now() + timedelta(days=2), name=SECRET)
    unreadable = span({**CALL, **content, "gen_ai.response.id": "y" * 20}, at=utc_now())
    for content_type in (PROTOBUF, JSON):
        for request in (traces([call, refused, unreadable], resource=content, scope="scope"),):
            assert post(api, TRACES, request, content_type).status_code == 200
    logged = {**content, "model": "m", "input_tokens": 5}
    record = log({**logged, "event.name": "claude_code.api_request"}, at=utc_now(), body=SECRET)
    late = log({**logged, "event.name": "api_request"}, at=utc_now() + timedelta(days=2), body=SECRET)
    for content_type in (PROTOBUF, JSON):
        assert post(api, LOGS, logs([record, late], resource=content), content_type).status_code == 200
    assert QuarantinedRecord.objects.count() >= 2
    stored = repr([*UsageEvent.objects.values(), *QuarantinedRecord.objects.values(), *IngestBatch.objects.values()])
    assert SECRET not in stored
    assert SECRET not in caplog.text
    assert "gen_ai.input.messages" not in stored


def test_large_attributes_are_skipped_unread(api: APIClient) -> None:
    big = {**{f"gen_ai.prompt.{number}.content": "words " * 5000 for number in range(20)}, **CALL}
    assert post(api, TRACES, traces([span(big, at=utc_now())])).status_code == 200
    assert UsageEvent.objects.get().token_cost_usd == COST


@pytest.mark.parametrize("level", ["resources", "scopes", "spans", "attributes"])
def test_millions_of_empty_messages_are_bounded(api: APIClient, level: str) -> None:
    def message(field: int, content: bytes) -> bytes:
        length = len(content)
        encoded = bytearray([field << 3 | 2])
        while length > 127:
            encoded.append(length & 127 | 128)
            length >>= 7
        return bytes([*encoded, length]) + content

    many = 2_000_000
    body = {
        "resources": lambda: b"\x0a\x00" * many,
        "scopes": lambda: message(1, b"\x12\x00" * many),
        "spans": lambda: message(1, message(2, b"\x12\x00" * many)),
        "attributes": lambda: message(1, message(2, message(2, b"\x4a\x00" * many))),
    }[level]()
    response = post(api, TRACES, body)
    what = b"100,000 attributes" if level == "attributes" else b"100,000 spans"
    assert (response.status_code, what in response.content) == (413, True)


def test_millions_of_empty_objects_are_bounded(api: APIClient) -> None:
    many = b"[" + b"{}," * 2_000_000 + b"{}]"
    for body, what in (
        (b'{"resourceSpans":' + many + b"}", "spans"),
        (b'{"resourceSpans":[{"scopeSpans":' + many + b"}]}", "spans"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":' + many + b"}]}]}", "spans"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":' + many + b"}]}]}]}", "attributes"),
    ):
        response = post(api, TRACES, body, JSON)
        assert (response.status_code, f"100,000 {what}" in response.content.decode()) == (413, True)


def test_deep_values_are_refused_or_skipped(api: APIClient) -> None:
    deep = b"\x0a\x01a"
    for _ in range(5_000):
        deep = b"\x0a" + _length(deep) + deep
        deep = b"\x2a" + _length(deep) + deep
    attribute = b"\x0a\x05model\x12" + _length(deep) + deep
    body = b"\x4a" + _length(attribute) + attribute
    for field in (2, 2, 1):
        body = bytes([field << 3 | 2]) + _length(body) + body
    assert post(api, TRACES, body).status_code == 400
    nested = '{"kvlistValue":{"values":[{"key":"a","value":' * 3_000 + '{"intValue":1}' + "}]}}" * 3_000
    request = as_json(traces([span(CALL, at=utc_now())]))
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].append({"key": "model", "value": "DEEP"})
    text = json.dumps(request).replace('"DEEP"', nested)
    assert post(api, TRACES, text.encode(), JSON).status_code in (200, 400)


def _length(content: bytes) -> bytes:
    length, encoded = len(content), bytearray()
    while length > 127:
        encoded.append(length & 127 | 128)
        length >>= 7
    return bytes([*encoded, length])


def test_a_random_body_is_accepted_or_refused(api: APIClient) -> None:
    body = traces([span(CALL, at=utc_now())], resource={"service.name": "x"}).SerializeToString()
    for position in range(0, len(body), 3):
        changed = body[:position] + struct.pack("B", body[position] ^ 0x55) + body[position + 1 :]
        assert post(api, TRACES, changed).status_code in (200, 400), position
        assert post(api, TRACES, body[:position]).status_code in (200, 400), position


def test_log_records_that_are_no_calls_are_accepted(api: APIClient) -> None:
    records = [log({"event.name": name}, at=utc_now()) for name in ("user_prompt", "tool_result", "api_error")]
    response = post(api, LOGS, logs(records, resource={"service.name": "claude-code"}))
    assert response.status_code == 200
    assert not ExportLogsServiceResponse.FromString(response.content).HasField("partial_success")
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_metrics_are_a_check_and_no_usage(api: APIClient, content_type: str) -> None:
    now = utc_now()
    resource = {"service.name": "claude-code"}
    record = log(
        {"input_tokens": 60, "output_tokens": 20, "model": "gpt-4o"}, at=now, event_name="claude_code.api_request"
    )
    post(api, LOGS, logs([record], resource=resource), content_type)
    # A retried export does not arrive again.
    post(api, LOGS, logs([record], resource=resource), content_type)
    exported = metrics([point(100, at=now, since=now - timedelta(minutes=1))])
    response = post(api, METRICS, exported, content_type)
    assert (response.status_code, response.content) == (200, b"" if content_type == PROTOBUF else b"{}")
    assert UsageEvent.objects.count() == 1
    assert set(Coverage.objects.values_list("source", "signal", "tokens")) == {
        ("claude-code", "logs", 80),
        ("claude-code", "claude_code.token.usage", 100),
    }
    (check,) = [check for check in intake_checks() if check.name.startswith("coverage")]
    assert (check.title, check.ok, check.details["Arrived"]) == ("claude-code", False, "80%")


def test_unreadable_points_are_a_partial_success(api: APIClient) -> None:
    now = utc_now()
    points = [point(value, at=now) for value in (-1, float("nan"), 10)] + [point(1, at=now - timedelta(days=30))]
    response = post(api, METRICS, metrics(points))
    partial = ExportMetricsServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, partial.rejected_data_points) == (200, 3)
    assert "tokens" in partial.error_message


def test_content_in_metrics_is_never_stored(api: APIClient, caplog: pytest.LogCaptureFixture) -> None:
    now = utc_now()
    attributes = {"type": "input", "prompt": SECRET, "user.email": SECRET}
    exported = metrics([point(1, at=now, attributes=attributes)], name="claude_code.token.usage", scope=SECRET)
    for content_type in (PROTOBUF, JSON):
        assert post(api, METRICS, exported, content_type).status_code == 200
        assert post(api, METRICS, metrics([point(1, at=now)], name=SECRET), content_type).status_code == 200
    stored = repr([list(model.objects.values()) for model in (Coverage, MetricPoint, QuarantinedRecord, UsageEvent)])
    assert SECRET not in stored + caplog.text


# --- Spans around a call ---------------------------------------------------------------------------------------------

LIBRARY = "com.anthropic.sdk.python"
MESSAGE = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 200,
}
GENERATION = {
    "langfuse.observation.type": "generation",
    "langfuse.observation.model.name": "claude-sonnet-4-5",
    "langfuse.observation.usage_details": '{"input": 1000, "output": 200}',
    "session.id": "s-1",
}


def test_a_programs_span_around_the_librarys_own_is_the_same_call(api: APIClient, organization: Organization) -> None:
    """The program does not know the provider's id, and knows the session."""
    now = utc_now()
    inner = span({**MESSAGE, "gen_ai.response.id": "msg_Abc123Def456"}, at=now, number=2, parent=1)
    outer = span(GENERATION, at=now, number=1, kind=Span.SPAN_KIND_INTERNAL)
    post(api, TRACES, traces([outer, inner]))
    event = UsageEvent.objects.get(adjusts=None)
    assert (event.service, event.request_id) == ("anthropic", "msg_Abc123Def456")
    assert UsageEvent.objects.filter(session_id="s-1").exists()
    again = {"id": "msg_Abc123Def456", "service": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 1000}
    assert api.post("/usage/events", {**again, "output_tokens": 200}).json()["duplicates"] == 1


def test_a_streams_span_beside_the_librarys_own_is_the_same_call(api: APIClient) -> None:
    """Two calls with equal tokens at the same time are two, in whatever order their spans arrive."""
    now = utc_now()
    library = [
        span({**MESSAGE, "gen_ai.response.id": f"msg_Abc123Def45{number}"}, at=now, trace=number, number=number)
        for number in (1, 2)
    ]
    framework = [span(GENERATION, at=now, trace=number, number=number, seconds=3) for number in (3, 4)]
    request = traces(framework, scope="openinference")
    request.MergeFrom(traces(library, scope=LIBRARY))
    post(api, TRACES, request)
    assert set(UsageEvent.objects.filter(adjusts=None).values_list("request_id", flat=True)) == {
        "msg_Abc123Def451",
        "msg_Abc123Def452",
    }


def test_calls_that_only_resemble_each_other_are_all_counted(api: APIClient) -> None:
    now = utc_now()
    work = span({"gen_ai.operation.name": "invoke_agent"}, at=now, number=1)
    siblings = [span(GENERATION, at=now, number=number, parent=1) for number in (2, 3)]
    differing = {**GENERATION, "langfuse.observation.usage_details": '{"input": 7, "output": 2}'}
    around = [span(differing, at=now, number=4), span(GENERATION, at=now, number=5, parent=4)]
    post(api, TRACES, traces([work, *siblings, *around]))
    assert UsageEvent.objects.filter(adjusts=None).count() == 4


# --- Traces in several requests --------------------------------------------------------------------------------------


AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", "session.id": "s-1"}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_spans_around_a_call_say_whose_it_is_in_whatever_order_they_arrive(
    api: APIClient, organization: Organization, order: tuple[int, ...]
) -> None:
    """The agent's span ends, and is exported, after the calls inside it; a span between them is in another request."""
    now = utc_now()
    agent = span(AGENT, at=now, number=1, kind=Span.SPAN_KIND_INTERNAL)
    request = span({"http.route": "/v1"}, at=now, number=2, parent=1)
    call = span({**CALL, "user.id": "ada"}, at=now, number=3, parent=2)
    spans = [agent, request, call]
    for number in (*order, order[-1]):
        assert post(api, TRACES, traces([spans[number]])).status_code == 200
    event = UsageEvent.objects.get(adjusts=None)
    adjusted_event = load_adjusted_event(event)
    row = adjusted_event.attributed
    assert (row.session_id, row.agent_name, row.user_ref) == ("s-1", "planner", "ada")
    assert (adjusted_event.cost_usd, adjusted_event.count("requests")) == (COST, 1)
    assert len(adjusted_event.adjustments) == (0 if order[-1] == 2 else 2)


def test_only_the_calls_inside_an_agent_are_its_calls(api: APIClient) -> None:
    now = utc_now()
    calls = [
        span({**CALL, "gen_ai.response.id": f"chatcmpl-Abc123Def45{number}"}, at=now, number=number, parent=parent)
        for number, parent in ((3, 1), (4, 2), (5, 9))
    ]
    post(api, TRACES, traces(calls))
    inner = {**AGENT, "gen_ai.agent.name": "searcher", "session.id": "s-2"}
    post(api, TRACES, traces([span(inner, at=now, number=2, parent=1, kind=Span.SPAN_KIND_INTERNAL)]))
    post(api, TRACES, traces([span(AGENT, at=now, number=1, kind=Span.SPAN_KIND_INTERNAL)]))
    post(api, TRACES, traces([span(AGENT, at=now, number=9, trace=2, kind=Span.SPAN_KIND_INTERNAL)]))
    agents = [
        load_adjusted_event(event).attributed.agent_name
        for event in UsageEvent.objects.filter(adjusts=None).order_by("request_id")
    ]
    assert agents == ["planner", "searcher", ""]


@pytest.mark.parametrize("is_outer_first", [True, False])
def test_a_programs_span_in_another_request_is_the_same_call(api: APIClient, *, is_outer_first: bool) -> None:
    now = utc_now()
    inner = span({**MESSAGE, "gen_ai.response.id": "msg_Abc123Def456"}, at=now, number=2, parent=1)
    outer = span(GENERATION, at=now, number=1, kind=Span.SPAN_KIND_INTERNAL)
    for sent in (outer, inner) if is_outer_first else (inner, outer):
        post(api, TRACES, traces([sent]))
    event = UsageEvent.objects.get(adjusts=None)
    assert load_adjusted_event(event).attributed.session_id == "s-1"


def test_calls_are_stored_without_redis(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_context, "breaker", Breaker("test"))
    monkeypatch.setattr(heartbeat, "client", Mock(side_effect=redis.ConnectionError))
    for sent in (span(CALL, at=utc_now(), number=2, parent=1), span(AGENT, at=utc_now(), number=1)):
        assert post(api, TRACES, traces([sent])).status_code == 200
    assert UsageEvent.objects.get().token_cost_usd == COST


def test_an_organization_stores_a_bounded_number_of_spans(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_context, "MAX_SPANS_PER_HOUR", 1)
    for sent in (
        span({"http.route": "/v1"}, at=utc_now(), number=3, parent=4),
        span(CALL, at=utc_now(), number=2, parent=1),
        span(AGENT, at=utc_now(), number=1, kind=Span.SPAN_KIND_INTERNAL),
    ):
        assert post(api, TRACES, traces([sent])).status_code == 200
    assert UsageEvent.objects.get().agent_name == ""


# --- LiteLLM ---------------------------------------------------------------------------------------------------------


def test_litellms_cost_counts_where_it_does_not_say_what_was_cached(api: APIClient) -> None:
    """Its callback `otel` names the costs of caches and not their tokens."""
    call = {**CALL, "gen_ai.operation.name": "acompletion", "gen_ai.cost.total_cost": 0.003}
    post(api, TRACES, traces([span({**call, "gen_ai.cost.cache_read_cost": 0.001}, at=utc_now())]))
    event = UsageEvent.objects.get()
    assert (event.capability, event.token_cost_usd, event.cost_basis) == ("chat", Decimal("0.003"), "gateway")
    assert event.flags == [{"code": "unread_usage", "detail": "the caches"}]
    other = {**call, "gen_ai.response.id": "y" * 20, "gen_ai.cost.cache_read_cost": 0}
    post(api, TRACES, traces([span(other, at=utc_now())]))
    assert UsageEvent.objects.get(request_id="y" * 20).token_cost_usd == COST
