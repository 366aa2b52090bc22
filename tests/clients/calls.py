"""The calls that each sender makes, for programs in the environments of the clients.

The provider of `tests.clients.answers` answers them. Everything that may be content has a text that must not
be stored.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

CONTENT = os.environ["CONTENT"]
PROVIDER = os.environ["PROVIDER"]
CHAT_MODEL, EMBEDDING_MODEL, MESSAGE_MODEL = "gpt-5.4", "text-embedding-3-small", "claude-sonnet-4-5"
MESSAGES: Any = [
    {"role": "system", "content": f"Be neutral. {CONTENT}"},
    {"role": "user", "content": f"What is neutral? {CONTENT}"},
]
TOOL = {
    "name": "look_up",
    "description": f"Looks a word up. {CONTENT}",
    "parameters": {"type": "object", "properties": {"word": {"type": "string", "description": CONTENT}}},
}
CHAT: Any = {
    "model": CHAT_MODEL,
    "messages": MESSAGES,
    "tools": [{"type": "function", "function": TOOL}],
}
MESSAGE: Any = {
    "model": MESSAGE_MODEL,
    "max_tokens": 1000,
    "system": MESSAGES[0]["content"],
    "messages": MESSAGES[1:],
    "tools": [{"name": "look_up", "description": TOOL["description"], "input_schema": TOOL["parameters"]}],
}


def call_openai(client: Any, **options: Any) -> None:
    """A chat, a streamed chat, a response, a streamed response and an embedding."""
    client.chat.completions.create(**CHAT, **options)
    stream_options = {"include_usage": True}
    for _ in client.chat.completions.create(**CHAT, **options, stream=True, stream_options=stream_options):
        pass
    client.responses.create(
        model=CHAT_MODEL, instructions=MESSAGES[0]["content"], input=MESSAGES[1]["content"], **options
    )
    for _ in client.responses.create(model=CHAT_MODEL, input=MESSAGES[1]["content"], stream=True, **options):
        pass
    client.embeddings.create(model=EMBEDDING_MODEL, input=[CONTENT], **options)


def call_anthropic(client: Any) -> None:
    """A message, and a streamed one."""
    client.messages.create(**MESSAGE)
    with client.messages.stream(**MESSAGE) as stream:
        stream.get_final_message()


def call_by_http(post: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Call each endpoint by `post(url, body)`; the service and its answer."""
    for service, endpoint, model in (
        ("openai", "chat/completions", CHAT_MODEL),
        ("openai", "responses", CHAT_MODEL),
        ("openai", "embeddings", EMBEDDING_MODEL),
        ("anthropic", "messages", MESSAGE_MODEL),
    ):
        yield service, post(f"{PROVIDER}/v1/{endpoint}", {"model": model, "messages": MESSAGES})


def event_data(service: str, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as the data of an event."""
    return {
        "provider": service,
        "model": answer["model"],
        "request_id": answer.get("id"),
        "usage": answer["usage"],
        "prompt": CONTENT,
        "messages": MESSAGES,
        "output": answer.get("choices") or answer.get("content"),
    }
