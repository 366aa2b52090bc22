"""LangChain: `usage_metadata` of langchain-core's messages, made by its integrations of OpenAI and Anthropic."""

from typing import Any

from canned import Provider, provider, report
from langchain_anthropic import ChatAnthropic
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_openai import ChatOpenAI

CHAT = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1764400000, "model": "gpt-5.4"}
CHOICES = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "This."}}]
CHAT_USAGE = {
    "prompt_tokens": 10000,
    "completion_tokens": 500,
    "total_tokens": 10500,
    "prompt_tokens_details": {"cached_tokens": 8000, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 0},
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
SHORT_LIVED_USAGE = {
    "input_tokens": 1000,
    "output_tokens": 500,
    "cache_creation_input_tokens": 1000,
    "cache_read_input_tokens": 8000,
}


def of_openai(server: Provider) -> None:
    options: dict[str, Any] = {"model": "gpt-5.4", "api_key": "none", "base_url": server.url, "max_retries": 0}
    chat = ChatOpenAI(**options)
    server.will_answer({**CHAT, "choices": CHOICES, "usage": CHAT_USAGE})
    message = chat.invoke("What is neutral?")
    report("usage_metadata", "openai", "gpt-5.4", message.usage_metadata)
    report("whole message", "openai", "gpt-5.4", message.model_dump())
    report("token_usage", "openai", "gpt-5.4", message.response_metadata["token_usage"])

    server.will_answer({**CHAT, "choices": CHOICES, "usage": CHAT_USAGE, "service_tier": "flex"})
    report("flex", "openai", "gpt-5.4", chat.invoke("What is neutral?").usage_metadata)

    piece = {**CHAT, "object": "chat.completion.chunk"}
    delta = [{"index": 0, "delta": {"role": "assistant", "content": "This."}, "finish_reason": None}]
    server.will_answer([{**piece, "choices": delta}, {**piece, "choices": [], "usage": CHAT_USAGE}, "[DONE]"])
    whole: Any = None
    for chunk in ChatOpenAI(**options, stream_usage=True).stream("What is neutral?"):
        whole = chunk if whole is None else whole + chunk
    report("sum of a stream's chunks", "openai", "gpt-5.4", whole.usage_metadata)

    counted = UsageMetadataCallbackHandler()
    server.will_answer({**CHAT, "choices": CHOICES, "usage": CHAT_USAGE})
    chat.invoke("What is neutral?", config={"callbacks": [counted]})
    [(model, usage)] = counted.usage_metadata.items()
    report("usage by model", "openai", model, usage)


def of_anthropic(server: Provider) -> None:
    chat = ChatAnthropic(model="claude-sonnet-4-5", api_key="none", base_url=server.url, max_retries=0)
    for name, usage in (("cache writes of two lifetimes", MESSAGE_USAGE), ("cache writes", SHORT_LIVED_USAGE)):
        server.will_answer({**MESSAGE, "usage": usage})
        report(name, "anthropic", "claude-sonnet-4-5", chat.invoke("What is neutral?").usage_metadata)


def main() -> None:
    with provider() as server:
        of_openai(server)
        of_anthropic(server)


if __name__ == "__main__":
    main()
