"""Real senders, each in an environment of its own: what they report is what the same calls are by JSON.

A sender's program makes calls at a provider on loopback (`answers`) and reports them as its documentation and ours say.
"""

import os
import subprocess
from collections.abc import Collection, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from billing.ledger.net_cost import load_adjusted_event
from billing.models import IngestBatch, QuarantinedRecord, UsageEvent
from organizations.models import Organization
from organizations.types import Scope
from tests.clients.answers import CONTENT, Answered, CannedProvider, answering
from tests.concurrency.conftest import StartServer, start_server
from tests.conftest import Key, make_key
from tests.examples.environments import node_of, python_of
from tests.usage import set_price

# The first run installs the packages, which takes up to a minute.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(480)]

__all__ = ["start_server"]  # a fixture from another module

FOLDER = Path(__file__).parent
Row = tuple[str | int | Decimal, ...]


@pytest.fixture(autouse=True)
def _prices(db: None) -> None:
    set_price("gpt-5.4", provider="openai", input="2.5", cache_read="0.25", output="15")
    set_price("text-embedding-3-small", provider="openai", input="0.02", output="0")
    set_price(
        "claude-sonnet-4-5", provider="anthropic", input="3", cache_read="0.3", cache_creation="3.75", output="15"
    )


@pytest.fixture
def provider() -> Iterator[CannedProvider]:
    with answering() as provider:
        yield provider


@pytest.fixture
def sending(organization: Organization) -> Key:
    """A key that can do nothing but send."""
    return make_key(organization, Scope.USAGE_WRITE)


def run(client: str, *arguments: str, program: str = "", **environment: str) -> None:
    """Run the program of a client; it ends when everything is sent."""
    execute([python_of(FOLDER / client), FOLDER / (program or client) / "send.py", *arguments], **environment)


def execute(command: list[str | Path], **environment: str) -> None:
    done = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(FOLDER), "CONTENT": CONTENT, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def rows(organization: Organization, *, has_service: bool, has_caches: bool) -> list[Row]:
    """The calls, with what later reports added to them."""
    calls = [load_adjusted_event(event) for event in UsageEvent.objects.of(organization).filter(adjusts=None)]
    return sorted(
        (
            call.event.service if has_service else "",
            call.event.model,
            call.count("output_tokens"),
            *(tuple(map(call.count, _INPUTS)) if has_caches else (sum(map(call.count, _INPUTS)),)),
            round(call.amount("token_cost_usd"), 15),
        )
        for call in calls
    )


_INPUTS = ("input_tokens", "cache_read_tokens", "cache_creation_tokens")


def as_json(calls: list[Answered]) -> list[dict[str, Any]]:
    """The calls as events of `POST /usage/events`."""
    return [
        {
            "id": call.id or f"call-{number}",
            "service": call.service,
            "model": call.model,
            "usage": call.usage,
        }
        for number, call in enumerate(calls)
    ]


def assert_calls_are_those_of_json(
    provider: CannedProvider,
    key: Key,
    other_key: Key,
    *,
    calls: int,
    identified: Collection[str] = ("openai", "anthropic"),
    has_service: bool = True,
    has_caches: bool = True,
    flags: Collection[str] = (),
) -> None:
    """Every call is one event, with the tokens and the cost that it has by JSON. Calls of `identified` services are
    duplicates if they are sent by JSON too, because the sender knows the provider's ids. Nothing of a prompt or an
    answer is stored."""
    events = as_json(provider.answered)
    assert len(events) == calls
    assert other_key.client().post("/usage/events", events).json()["accepted"] == calls
    organization, other = key.credential.organization, other_key.credential.organization
    assert organization is not None
    assert other is not None
    known = {"has_service": has_service, "has_caches": has_caches}
    assert rows(organization, **known) == rows(other, **known)
    flagged = UsageEvent.objects.of(organization).exclude(flags=None).values_list("flags", flat=True)
    assert {flag["code"] for row in flagged for flag in row or ()} == set(flags)
    again = [
        event
        for event, call in zip(events, provider.answered, strict=True)
        if call.id is not None and call.service in identified
    ]
    if again:
        outcome = key.client().post("/usage/events", again).json()
        assert (outcome["accepted"], outcome["duplicates"]) == (0, len(again))
    stored = [*UsageEvent.objects.values(), *QuarantinedRecord.objects.values(), *IngestBatch.objects.values()]
    assert CONTENT not in repr(stored)
    assert not QuarantinedRecord.objects.exists()


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_opentelemetry(
    encoding: str, provider: CannedProvider, live_server: LiveServer, sending: Key, other_key: Key
) -> None:
    run(
        "opentelemetry_sdk",
        encoding,
        PROVIDER=provider.url,
        **exporter(live_server.url, sending),
        OTEL_SERVICE_NAME="program",
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="span_and_event",
        OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true",
    )
    assert_calls_are_those_of_json(provider, sending, other_key, calls=7)


@pytest.mark.parametrize("version", ["langfuse_sdk", "langfuse_3_sdk"])
def test_langfuse(
    version: str, provider: CannedProvider, live_server: LiveServer, sending: Key, other_key: Key
) -> None:
    run(
        version,
        program="langfuse_sdk",
        PROVIDER=provider.url,
        LANGFUSE_BASE_URL=live_server.url,
        LANGFUSE_PUBLIC_KEY=sending.credential.client_id,
        LANGFUSE_SECRET_KEY=sending.client_secret,
    )
    assert_calls_are_those_of_json(provider, sending, other_key, calls=6, identified=(), has_service=False)
    dimensions = UsageEvent.objects.filter(organization=sending.credential.organization).values_list(
        "user_ref", "session_id", "tags"
    )
    assert {(user, session, tuple(tags)) for user, session, tags in dimensions} == {("ada", "s-1", ("team:search",))}


def test_openinference(provider: CannedProvider, live_server: LiveServer, sending: Key, other_key: Key) -> None:
    run(
        "openinference_sdk",
        PROVIDER=provider.url,
        **exporter(live_server.url, sending),
    )
    assert_calls_are_those_of_json(provider, sending, other_key, calls=7, identified=("anthropic",))


@pytest.mark.parametrize("mode", ["structured", "binary", "batch"])
def test_cloudevents(
    mode: str, provider: CannedProvider, live_server: LiveServer, sending: Key, other_key: Key
) -> None:
    run("cloudevents_sdk", mode, PROVIDER=provider.url, COSTTRACK_URL=live_server.url, COSTTRACK_TOKEN=sending.api_key)
    assert_calls_are_those_of_json(provider, sending, other_key, calls=4)


def test_openmeter(provider: CannedProvider, live_server: LiveServer, sending: Key, other_key: Key) -> None:
    run("openmeter_sdk", PROVIDER=provider.url, COSTTRACK_URL=live_server.url, COSTTRACK_TOKEN=sending.api_key)
    assert_calls_are_those_of_json(provider, sending, other_key, calls=4)


@pytest.mark.parametrize("version", ["false", "true"])
def test_litellms_otel_callback(
    version: str, provider: CannedProvider, live_server: LiveServer, sending: Key, other_key: Key
) -> None:
    run(
        "litellm_callbacks",
        "otel",
        PROVIDER=provider.url,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        LITELLM_OTEL_V2=version,
        **exporter(live_server.url, sending),
    )
    is_second = version == "true"
    assert_calls_are_those_of_json(
        provider,
        sending,
        other_key,
        calls=5,
        identified=("openai",),
        has_service=is_second,
        has_caches=is_second,
        flags=() if is_second else ["unread_usage"],
    )


def test_litellms_openmeter_callback(
    provider: CannedProvider, live_server: LiveServer, sending: Key, other_key: Key
) -> None:
    run(
        "litellm_callbacks",
        "openmeter",
        PROVIDER=provider.url,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        OPENMETER_API_ENDPOINT=live_server.url,
        OPENMETER_API_KEY=sending.api_key,
    )
    assert_calls_are_those_of_json(
        provider,
        sending,
        other_key,
        calls=5,
        identified=("openai",),
        has_service=False,
        has_caches=False,
        flags=["unread_usage"],
    )


def test_traceloop(provider: CannedProvider, live_server: LiveServer, sending: Key, other_key: Key) -> None:
    run(
        "traceloop_sdk",
        PROVIDER=provider.url,
        TRACELOOP_BASE_URL=f"{live_server.url}/otlp",
        TRACELOOP_HEADERS=f"Authorization=Bearer%20{sending.api_key}",
        TRACELOOP_TELEMETRY="false",
    )
    assert_calls_are_those_of_json(provider, sending, other_key, calls=7)
    assert known_of(sending, "user_ref", "session_id", "workflow_id") == {("ada", "s-1", "answers")}


def test_pydantic_ai(provider: CannedProvider, live_server: LiveServer, sending: Key, other_key: Key) -> None:
    run("pydantic_ai", PROVIDER=provider.url, **exporter(live_server.url, sending))
    assert_calls_are_those_of_json(provider, sending, other_key, calls=5)
    assert known_of(sending, "agent_name") == {("clerk",)}


def test_vercels_ai_sdk(provider: CannedProvider, start_server: StartServer, sending: Key, other_key: Key) -> None:
    """Its exporter sends chunked bodies, which costtrack's own web server reads. Its names of caches are those of
    some senders that count Claude's caches beside the input, so these calls have a flag."""
    node = python_of(FOLDER / "vercel_ai_sdk").with_name("node")
    program = node_of(FOLDER / "vercel_ai_sdk") / "send.mjs"
    execute([node, program], PROVIDER=provider.url, **exporter(start_server(workers=1).url, sending))
    assert_calls_are_those_of_json(provider, sending, other_key, calls=7, flags=["two_readings"])


def exporter(url: str, key: Key) -> dict[str, str]:
    """The settings of OpenTelemetry's exporters."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{url}/otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer {key.api_key}",
    }


def known_of(key: Key, *names: str) -> set[tuple[Any, ...]]:
    return set(UsageEvent.objects.filter(organization=key.credential.organization).values_list(*names))
