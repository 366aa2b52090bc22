"""Pydantic AI: the usage of runs and requests, as a dataclass, as JSON and as OpenTelemetry's attributes."""

from dataclasses import asdict
from typing import Any

from anthropic import AsyncAnthropic
from canned import Provider, provider, report
from pydantic import TypeAdapter
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import RequestUsage

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1764400000,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "This."}}],
}
CHAT_USAGE = {
    "prompt_tokens": 10000,
    "completion_tokens": 500,
    "total_tokens": 10500,
    "prompt_tokens_details": {"cached_tokens": 8000, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 0},
}
AUDIO_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 600,
    "total_tokens": 1600,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 800},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 500},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "This."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
}
MESSAGE_USAGE = {
    "input_tokens": 1000,
    "output_tokens": 500,
    "cache_creation_input_tokens": 1000,
    "cache_read_input_tokens": 8000,
    "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
    "service_tier": "standard",
}
GEMINI_USAGE = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 500,
    "candidatesTokenCount": 200,
    "thoughtsTokenCount": 100,
    "totalTokenCount": 1300,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 900}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 500}],
}


def report_all(name: str, service: str, model: str, usage: Any) -> None:
    """Report a usage in all the ways in which programs write it."""
    report(f"{name}, dataclass", service, model, asdict(usage))
    report(f"{name}, JSON", service, model, TypeAdapter(type(usage)).dump_python(usage, mode="json"))
    report(f"{name}, attributes", service, model, usage.opentelemetry_attributes())


def of_openai(server: Provider) -> None:
    for name, model, usage in (("chat", "gpt-5.4", CHAT_USAGE), ("audio", "gpt-4o-audio-preview", AUDIO_USAGE)):
        agent = Agent(OpenAIChatModel(model, provider=OpenAIProvider(api_key="none", base_url=server.url)))
        server.will_answer({**CHAT, "model": model, "usage": usage})
        report_all(name, "openai", model, agent.run_sync("What is neutral?").usage)


def of_anthropic(server: Provider) -> None:
    client = AsyncAnthropic(api_key="none", base_url=server.url, max_retries=0)
    agent = Agent(AnthropicModel("claude-sonnet-4-5", provider=AnthropicProvider(anthropic_client=client)))
    server.will_answer(streamed({**MESSAGE, "usage": MESSAGE_USAGE}))
    result = agent.run_sync("What is neutral?")
    report_all("message", "anthropic", "claude-sonnet-4-5", result.all_messages()[-1].usage)


def streamed(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a message, which Pydantic AI streams where the answer may be long."""
    [content] = message["content"]
    return [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": content["text"]}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": message["usage"]["output_tokens"]},
        },
        {"type": "message_stop"},
    ]


def of_gemini() -> None:
    usage = RequestUsage.extract(
        {"modelVersion": "gemini-2.5-flash", "usageMetadata": GEMINI_USAGE},
        provider="google-gla",
        provider_url="https://generativelanguage.googleapis.com",
        provider_fallback="google",
    )
    report("Gemini, dataclass", "google", "gemini-2.5-flash", asdict(usage))


def main() -> None:
    with provider() as server:
        of_openai(server)
        of_anthropic(server)
    of_gemini()


if __name__ == "__main__":
    main()
