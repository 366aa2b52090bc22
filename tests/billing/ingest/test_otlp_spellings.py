"""Attributes of each convention, now and before, under every name that senders use for them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from billing.ingest import otlp
from billing.ingest.otlp import protobuf
from billing.ingest.types import ParsedEvent
from tests.otlp import span, traces
from tests.usage import NOW

BASE = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
CLAUDE = {**BASE, "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5"}
GEN_AI = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
OPENINFERENCE = {"llm.token_count.prompt": 1000, "llm.token_count.completion": 100}
VERCEL = {"ai.usage.inputTokens": 1000, "ai.usage.outputTokens": 100}

INPUTS = (
    *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens", "llm.token_count.prompt"),
    *("ai.usage.promptTokens", "ai.usage.inputTokens"),
)
OUTPUTS = (
    *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"),
    *("llm.token_count.completion", "ai.usage.completionTokens", "ai.usage.outputTokens"),
)
CACHE_READS = (
    *("cache_read.input_tokens", "cache_read_input_tokens", "cache_read_tokens", "details.cache_read_tokens"),
    *("details.cache_read_input_tokens", "prompt_details.cache_read", "input_cached_tokens"),
)
CACHE_WRITES = (
    *("cache_write.input_tokens", "cache_creation.input_tokens", "cache_write_tokens"),
    *("details.cache_creation_input_tokens", "details.cache_write_tokens"),
    *("prompt_details.cache_write", "prompt_details.cache_creation"),
)
REASONING = ("reasoning.output_tokens", "reasoning_tokens", "details.reasoning_tokens")
SESSIONS = (
    *("gen_ai.conversation.id", "session.id", "langfuse.session.id", "ai.telemetry.metadata.sessionId"),
    *("langsmith.trace.session_id", "traceloop.association.properties.session_id"),
)
TIERS = ("openai.response.service_tier", "anthropic.response.service_tier", "anthropic.request.service_tier")
CALLS = (
    *({"gen_ai.operation.name": name} for name in ("chat", "generate_content", "text_completion", "embeddings")),
    *({"openinference.span.kind": kind} for kind in ("LLM", "EMBEDDING")),
    *({"langsmith.span.kind": kind} for kind in ("llm", "embedding")),
    *({"langfuse.observation.type": kind} for kind in ("generation", "embedding")),
    {"llm.request.type": "chat"},
    {"ai.operationId": "ai.streamText.doStream"},
)
OTHERS = (
    *(
        {"gen_ai.operation.name": name}
        for name in (
            *("retrieval", "execute_tool", "invoke_agent", "create_agent", "invoke_workflow", "plan"),
            *("search_memory", "create_memory_store", "fetch_response", "agent_step"),
        )
    ),
    *({"openinference.span.kind": kind} for kind in ("CHAIN", "AGENT", "TOOL", "RETRIEVER", "GUARDRAIL")),
    *({"langsmith.span.kind": kind} for kind in ("chain", "tool", "retriever", "prompt", "parser")),
    *({"langfuse.observation.type": kind} for kind in ("span", "agent", "tool", "chain")),
    *({"ai.operationId": f"ai.{name}"} for name in ("generateText", "streamText", "generateObject", "toolCall")),
    *({"traceloop.span.kind": kind} for kind in ("workflow", "task", "agent", "tool")),
)


def event_of(attributes: Mapping[str, Any]) -> ParsedEvent | None:
    body = traces([span(attributes, at=NOW, number=1)]).SerializeToString()
    batch = otlp.to_events(protobuf.spans(body, max_records=10), now=NOW)
    assert not batch.errors
    return batch.events[0] if batch.events else None


def read(attributes: Mapping[str, Any], *fields: str) -> tuple[Any, ...]:
    parsed = event_of(attributes)
    return tuple(getattr(parsed.event, field) for field in fields) if parsed else ()


def flags(attributes: Mapping[str, Any]) -> list[str]:
    parsed = event_of(attributes)
    return [flag.code.value for flag in parsed.reading.flags] if parsed and parsed.reading else []


def test_every_name_of_a_count_is_read() -> None:
    totals = ("input_tokens", "cache_read_tokens", "cache_creation_tokens", "output_tokens", "reasoning_tokens")
    output, whole = {"gen_ai.usage.output_tokens": 100}, {"gen_ai.usage.input_tokens": 1000}
    rows: list[tuple[Mapping[str, Any], tuple[int, ...]]] = [
        *(({**BASE, **output, name: 1000}, (1000, 0, 0, 100, 0)) for name in INPUTS),
        *(({**BASE, **whole, name: 100}, (1000, 0, 0, 100, 0)) for name in OUTPUTS),
        *(({**BASE, **GEN_AI, f"gen_ai.usage.{name}": 800}, (200, 800, 0, 100, 0)) for name in CACHE_READS),
        *(({**CLAUDE, **GEN_AI, f"gen_ai.usage.{name}": 300}, (700, 0, 300, 100, 0)) for name in CACHE_WRITES),
        *(({**BASE, **GEN_AI, f"gen_ai.usage.{name}": 40}, (1000, 0, 0, 100, 40)) for name in REASONING),
        *(
            ({**BASE, **OPENINFERENCE, f"llm.token_count.prompt_details.{name}": 800}, (200, 800, 0, 100, 0))
            for name in ("cache_read", "cache_input")
        ),
        (
            {**CLAUDE, **OPENINFERENCE, "llm.token_count.prompt_details.cache_write": 300},
            (700, 0, 300, 100, 0),
        ),
        ({**BASE, **OPENINFERENCE, "llm.token_count.completion_details.reasoning": 40}, (1000, 0, 0, 100, 40)),
        ({**BASE, **VERCEL, "ai.usage.cachedInputTokens": 800}, (200, 800, 0, 100, 0)),
        ({**BASE, **VERCEL, "ai.usage.reasoningTokens": 40}, (1000, 0, 0, 100, 40)),
        # The caches of Anthropic's own usage object stand beside its input.
        ({**CLAUDE, **GEN_AI, "gen_ai.usage.cache_read_input_tokens": 800}, (1000, 800, 0, 100, 0)),
        ({**BASE, **{name: str(tokens) for name, tokens in GEN_AI.items()}}, (1000, 0, 0, 100, 0)),
        ({**BASE, **{name: float(tokens) for name, tokens in GEN_AI.items()}}, (1000, 0, 0, 100, 0)),
    ]
    wrong = [
        (attributes, read(attributes, *totals)) for attributes, counts in rows if read(attributes, *totals) != counts
    ]
    assert not wrong


def test_names_of_the_conventions_leave_no_doubt() -> None:
    names = (
        "cache_read.input_tokens",
        "cache_write.input_tokens",
        "reasoning.output_tokens",
        "cache_read_input_tokens",
    )
    doubtful = [name for name in names if flags({**BASE, **GEN_AI, f"gen_ai.usage.{name}": 40})]
    assert not doubtful
    gemini = {**BASE, "gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "gemini-2.5-pro", **GEN_AI}
    # Google's own instrumentation leaves thoughts out of the output: the numbers may prove it.
    thoughts = {**gemini, "gen_ai.usage.reasoning.output_tokens": 300}
    assert read(thoughts, "output_tokens", "reasoning_tokens") == (400, 300)
    assert flags({**gemini, "gen_ai.usage.reasoning.output_tokens": 30}) == ["two_readings"]


def test_modalities_and_lifetimes_of_caches_are_read() -> None:
    audio = {**BASE, **GEN_AI, "gen_ai.usage.audio.input_tokens": 300, "gen_ai.usage.audio.output_tokens": 40}
    assert read(audio, "input_tokens", "audio_input_tokens", "audio_output_tokens") == (1000, 300, 40)
    cached = {"gen_ai.usage.cache_read.input_tokens": 500, "gen_ai.usage.audio.cache_read.input_tokens": 200}
    assert read({**audio, **cached, "gen_ai.usage.text.cache_read.input_tokens": 300}, "quantities") == (
        {"audio_cache_read": 200},
    )
    for kind in ("image", "video"):
        assert read({**BASE, **GEN_AI, f"gen_ai.usage.{kind}.input_tokens": 300}, "quantities") == (
            {f"{kind}_input": 300},
        )
    lifetimes = {
        "gen_ai.usage.cache_write.input_tokens": 300,
        "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 100,
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 200,
    }
    assert read({**CLAUDE, **GEN_AI, **lifetimes}, "cache_creation_tokens", "cache_creation_1h_tokens") == (300, 200)


def test_every_name_of_a_session_a_tier_and_a_provider_is_read() -> None:
    for name in SESSIONS:
        assert read({**BASE, **GEN_AI, name: "s-1"}, "session_id") == ("s-1",), name
    for name in TIERS:
        assert read({**BASE, **GEN_AI, name: "flex"}, "service_tier") == ("flex",), name
    unnamed = {name: value for name, value in BASE.items() if name != "gen_ai.provider.name"}
    for name in ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"):
        assert read({**unnamed, **GEN_AI, name: "openai"}, "service") == ("openai",), name


def test_only_calls_of_models_are_events() -> None:
    surroundings = {name: value for name, value in BASE.items() if name != "gen_ai.operation.name"} | GEN_AI
    assert [kind for kind in CALLS if event_of({**surroundings, **kind}) is None] == []
    assert [kind for kind in OTHERS if event_of({**surroundings, **kind}) is not None] == []


def test_credits_of_a_vendor_are_no_costs() -> None:
    copilot = {
        **BASE,
        "gen_ai.provider.name": "github",
        **GEN_AI,
        "github.copilot.cost": 1,
        "github.copilot.nano_aiu": 9,
    }
    assert read(copilot, "cost_usd", "input_tokens") == (None, 1000)
    for name in ("gen_ai.usage.cost", "operation.cost", "llm.cost.total", "litellm.cost.total"):
        assert read({**BASE, **GEN_AI, name: 0.5}, "cost_usd") != (None,), name


def test_the_address_of_vertex_ai_is_the_region_unless_the_response_names_one() -> None:
    vertex = {**BASE, "gen_ai.provider.name": "gcp.vertex_ai", **GEN_AI}
    address = {"server.address": "europe-west4-aiplatform.googleapis.com"}
    assert read({**vertex, **address}, "region") == ("europe-west4",)
    assert read({**vertex, **address, "inference_geo": "us"}, "region") == ("us",)
    assert read({**BASE, **GEN_AI, **address}, "region") == (None,)


def test_a_time_in_the_future_is_named_as_the_protocol_names_it() -> None:
    body = traces([span({**BASE, **GEN_AI}, at=NOW + timedelta(days=2))]).SerializeToString()
    [error] = otlp.to_events(protobuf.spans(body, max_records=10), now=NOW).errors
    assert (error.field, error.message) == (
        "endTimeUnixNano",
        "endTimeUnixNano is more than one hour in the future.",
    )
