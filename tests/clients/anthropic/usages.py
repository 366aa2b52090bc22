"""Anthropic's own client: messages, streams, and the beta with compaction."""

from typing import Any

import anthropic
from canned import Provider, provider, report

MESSAGES: Any = [{"role": "user", "content": "What is neutral?"}]
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "This."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
}
CACHED_USAGE = {
    "input_tokens": 12,
    "output_tokens": 300,
    "cache_creation_input_tokens": 5000,
    "cache_read_input_tokens": 20000,
    "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 3000},
    "service_tier": "standard",
    "inference_geo": "global",
    "speed": "standard",
}
BATCH_USAGE = {
    "input_tokens": 10000,
    "output_tokens": 1000,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "service_tier": "batch",
}
FAST_USAGE = {
    "input_tokens": 1000,
    "output_tokens": 500,
    "cache_creation_input_tokens": None,
    "cache_read_input_tokens": None,
    "service_tier": "standard",
    "inference_geo": "us",
    "speed": "fast",
}
COMPACTED_USAGE = {
    "input_tokens": 23000,
    "output_tokens": 1000,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "iterations": [
        {
            "type": "compaction",
            "input_tokens": 180000,
            "output_tokens": 3500,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
        {
            "type": "message",
            "input_tokens": 23000,
            "output_tokens": 1000,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    ],
}


def messages(client: anthropic.Anthropic, server: Provider) -> None:
    for name, model, usage in (
        ("message with cache writes of two lifetimes", "claude-sonnet-4-5", CACHED_USAGE),
        ("message of a batch", "claude-haiku-4-5", BATCH_USAGE),
        ("fast message in the US", "claude-opus-5-5", FAST_USAGE),
    ):
        server.will_answer({**MESSAGE, "model": model, "usage": usage})
        message = client.messages.create(model=model, max_tokens=1024, messages=MESSAGES)
        report(name, "anthropic", model, message.usage.model_dump())

    server.will_answer({**MESSAGE, "model": "claude-sonnet-4-5", "usage": CACHED_USAGE})
    message = client.messages.create(model="claude-sonnet-4-5", max_tokens=1024, messages=MESSAGES)
    report("whole message", "anthropic", "claude-sonnet-4-5", message.model_dump())

    server.will_answer({**MESSAGE, "model": "claude-opus-4-6", "usage": COMPACTED_USAGE})
    message = client.beta.messages.create(model="claude-opus-4-6", max_tokens=1024, messages=MESSAGES)
    report("message after a compaction", "anthropic", "claude-opus-4-6", message.usage.model_dump())


def stream(client: anthropic.Anthropic, server: Provider) -> None:
    start = {"input_tokens": 1000, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    searches = {"web_search_requests": 3, "web_fetch_requests": 1}
    end = {
        **start,
        "output_tokens": 500,
        "server_tool_use": searches,
        "output_tokens_details": {"thinking_tokens": 300},
    }
    opening = {**MESSAGE, "model": "claude-opus-5-5", "content": [], "stop_reason": None, "usage": start}
    events = [
        {"type": "message_start", "message": opening},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "This."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": end},
        {"type": "message_stop"},
    ]
    server.will_answer(events)
    with client.messages.stream(model="claude-opus-5-5", max_tokens=1024, messages=MESSAGES) as streamed:
        report(
            "final message of a stream", "anthropic", "claude-opus-5-5", streamed.get_final_message().usage.model_dump()
        )

    server.will_answer(events)
    pieces = client.messages.create(model="claude-opus-5-5", max_tokens=1024, messages=MESSAGES, stream=True)
    [delta] = [piece for piece in pieces if piece.type == "message_delta"]
    report("last usage of a raw stream", "anthropic", "claude-opus-5-5", delta.model_dump())


def main() -> None:
    with provider() as server:
        client = anthropic.Anthropic(api_key="none", base_url=server.url, max_retries=0)
        messages(client, server)
        stream(client, server)


if __name__ == "__main__":
    main()
