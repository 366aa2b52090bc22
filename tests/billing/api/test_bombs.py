"""Hostile bodies at every endpoint that takes other products' formats: refused or skipped in bounded time and memory,
in the protocol's own form."""

import functools
import gzip
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from rest_framework.test import APIClient

from billing.models import UsageEvent
from costtrack.clock import utc_now
from tests.otlp import JSON, PROTOBUF, metrics, point

SIGNALS = ("traces", "logs", "metrics")
OTLP = [(f"/otlp/v1/{signal}", content_type) for signal in SIGNALS for content_type in (PROTOBUF, JSON)]
OTHERS = [
    ("/events", "application/cloudevents+json"),
    ("/events", "application/cloudevents-batch+json"),
    ("/api/v1/events", JSON),
    ("/api/v1/events/batch", JSON),
    ("/api/v3/openmeter/events", "application/cloudevents+json"),
    ("/api/public/ingestion", JSON),
]
DEPTH = 100_000
# Several copies of a body at its limit, and the objects of as many records as it may have.
MAX_MEMORY = 400 * 2**20


def post(api: APIClient, path: str, body: bytes, content_type: str, **headers: str) -> Any:
    return api.post(path, body, content_type=content_type, headers=headers)


def message(response: Any, content_type: str) -> str:
    """The message of an error, in the protocol's own form."""
    if content_type == PROTOBUF:
        assert (response["Content-Type"], response.content[0]) == (PROTOBUF, 8)
        return str(response.content, errors="ignore")
    body = response.json()
    return json.dumps(body)


def measured(call: Callable[[], Any]) -> Any:
    """Return the result of a call that may use only so much memory."""
    tracemalloc.start()
    try:
        result = call()
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY
    finally:
        tracemalloc.stop()
    return result


@functools.cache
def _bomb() -> bytes:
    """To compress it takes half a second."""
    bomb = gzip.compress(b" " * (settings.INTAKE_MAX_BYTES * 4))
    assert len(bomb) * 900 < settings.INTAKE_MAX_BYTES * 4
    return bomb


@pytest.mark.parametrize(("path", "content_type"), [*OTLP, *OTHERS])
def test_a_gzip_bomb_stops_at_the_limit(api: APIClient, path: str, content_type: str) -> None:
    assert post(api, path, b"", content_type).status_code < 500
    response = measured(lambda: post(api, path, _bomb(), content_type, **{"Content-Encoding": "gzip"}))
    assert response.status_code == 413
    assert "larger than" in message(response, content_type)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"event":', b'{"batch":['])
def test_deep_json_is_refused(api: APIClient, opening: bytes) -> None:
    for path, content_type in (*OTLP, *OTHERS):
        if content_type != PROTOBUF:
            response = post(api, path, opening * DEPTH, content_type)
            assert 400 <= response.status_code < 500, path
            assert message(response, content_type), path
            assert not UsageEvent.objects.exists(), path


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 1000,  # a number without an end
        b"\x0a" + b"\xff" * 9 + b"\x01",  # a length of 64 bits
        b"\x0a\xff\xff\xff\x7f",  # a length beyond the body
        b"\x0b" * 1000,  # groups, which protobuf has dropped
    ],
)
def test_garbage_in_protobuf_is_refused(api: APIClient, body: bytes) -> None:
    for signal in SIGNALS:
        response = post(api, f"/otlp/v1/{signal}", body, PROTOBUF)
        assert response.status_code == 400, signal
        assert "protobuf" in message(response, PROTOBUF), signal


@pytest.mark.parametrize("number", [1, 2, 3])
def test_hundreds_of_thousands_of_empty_metrics_are_refused(api: APIClient, number: int) -> None:
    """At each level of the messages: resources, metrics, points."""
    empty = ExportMetricsServiceRequest()
    resource = empty.resource_metrics.add()
    scope = resource.scope_metrics.add()
    scope.metrics.add(name="claude_code.token.usage").sum.is_monotonic = True
    body = empty.SerializeToString()
    if number == 1:
        body = b"\x0a\x00" * 300_000
    elif number == 2:
        scope.metrics[0].Clear()
        inner = b"\x12\x00" * 300_000
        body = _wrapped(0x0A, _wrapped(0x12, inner))
    else:
        points = b"\x0a\x00" * 300_000
        name = _wrapped(0x0A, b"claude_code.token.usage")
        body = _wrapped(0x0A, _wrapped(0x12, _wrapped(0x12, name + _wrapped(0x3A, points))))
    response = post(api, "/otlp/v1/metrics", body, PROTOBUF)
    assert response.status_code == 413
    assert message(response, PROTOBUF)


def _wrapped(tag: int, content: bytes) -> bytes:
    length, encoded = len(content), bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([tag, *encoded, length]) + content


def test_a_point_with_many_attributes_is_bounded(api: APIClient) -> None:
    attribute = point(1, at=utc_now()).attributes[0].SerializeToString()
    body = metrics([point(1, at=utc_now())]).SerializeToString()
    many = _wrapped(0x3A, attribute) * 200_000
    sum_of_point = _wrapped(0x0A, many) + b"\x10\x01"
    name = _wrapped(0x0A, b"claude_code.token.usage")
    bomb = _wrapped(0x0A, _wrapped(0x12, _wrapped(0x12, name + _wrapped(0x3A, sum_of_point))))
    response = measured(lambda: post(api, "/otlp/v1/metrics", bomb[: settings.INTAKE_MAX_BYTES], PROTOBUF))
    assert response.status_code in (200, 400, 413)
    assert post(api, "/otlp/v1/metrics", body, PROTOBUF).status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b"null", b"1", b'"text"', b"[1, null]", b'{"event": 5}', b'{"batch": {"a": 1}}', b"\xff\xfe"]
)
def test_wrong_types_are_refused(api: APIClient, body: bytes) -> None:
    for path, content_type in OTHERS:
        response = post(api, path, body, content_type)
        assert response.status_code in (207, 400, 422), path
        assert message(response, content_type), path
        assert not UsageEvent.objects.exists(), path


@pytest.mark.parametrize(
    "data",
    [
        {"model": {"deep": []}, "input_tokens": "many"},
        {"model": "m", "input_tokens": 10**400},
        {"model": "m", "input_tokens": -1},
        {"model": "m", "usage": [1, 2, 3]},
        {"model": "m", "tags": "a" * 10_000},
        {f"k{number}": number for number in range(100_000)},
    ],
    ids=["object", "huge", "negative", "list", "text", "many"],
)
def test_wrong_values_are_errors_of_the_event(api: APIClient, data: dict[str, Any]) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "subject": "u", "data": data}
    lago_event = {"transaction_id": "1", "code": "c", "properties": data}
    for path, body in (
        ("/events", event),
        ("/api/v3/openmeter/events", event),
        ("/api/v1/events", event),
        ("/api/v1/events", {"event": lago_event}),
        ("/api/v1/events/batch", {"events": [lago_event]}),
    ):
        kind = JSON if path.startswith("/api/v1") else "application/cloudevents+json"
        response = post(api, path, json.dumps(body).encode(), kind)
        assert response.status_code < 500, path
