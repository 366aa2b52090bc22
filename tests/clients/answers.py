"""A provider on loopback with the APIs of OpenAI and Anthropic. It remembers the calls that it has answered."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

CONTENT = "the quick brown secret"
"""A text that must not be stored."""

_ARGUMENTS = json.dumps({"word": CONTENT})
_CHAT_USAGE = {
    "prompt_tokens": 10000,
    "completion_tokens": 500,
    "total_tokens": 10500,
    "prompt_tokens_details": {"cached_tokens": 8000, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 300,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_RESPONSE_USAGE = {
    "input_tokens": 6000,
    "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 0},
    "output_tokens": 700,
    "output_tokens_details": {"reasoning_tokens": 200},
    "total_tokens": 6700,
}
_EMBEDDING_USAGE = {"prompt_tokens": 800, "total_tokens": 800}
_MESSAGE_USAGE = {
    "input_tokens": 1000,
    "output_tokens": 400,
    "cache_creation_input_tokens": 2000,
    "cache_read_input_tokens": 7000,
    "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 0},
    "service_tier": "standard",
}


@dataclass(frozen=True)
class Answered:
    """A call as the provider knows it. Embeddings have no id."""

    service: str
    model: str
    usage: dict[str, Any]
    id: str | None = None


class CannedProvider(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answered: list[Answered] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CannedProvider

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        path, is_stream = self.path.partition("?")[0], bool(request.get("stream"))
        endpoint = path.rpartition("/")[2]
        answered, body, events = _ANSWERS[endpoint](request["model"])
        self.server.answered.append(answered)
        text = "".join(map(_event, events)) if is_stream else json.dumps(body)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if is_stream else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.send_header("request-id", f"req_{uuid4().hex}")
        self.send_header("x-request-id", f"req_{uuid4().hex}")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _event(data: Any) -> str:
    """An event of a stream. Those of Anthropic and of OpenAI's Responses have their type as a name."""
    name = f"event: {data['type']}\n" if isinstance(data, dict) and "type" in data else ""
    return f"{name}data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


_Answer = tuple[Answered, dict[str, Any], list[Any]]


def _chat(model: str) -> _Answer:
    call_id = f"chatcmpl-{uuid4().hex}"
    answer = {"id": call_id, "created": int(time.time()), "model": model, "service_tier": "default"}
    tool_call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": _ARGUMENTS}}
    message = {"role": "assistant", "content": CONTENT, "refusal": None, "tool_calls": [tool_call]}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message, "logprobs": None}
    chunk = {**answer, "object": "chat.completion.chunk", "usage": None}
    delta = {**message, "tool_calls": [{"index": 0, **tool_call}]}
    return (
        Answered("openai", model, _CHAT_USAGE, call_id),
        {**answer, "object": "chat.completion", "choices": [choice], "usage": _CHAT_USAGE},
        [
            {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
            {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
            {**chunk, "choices": [], "usage": _CHAT_USAGE},
            "[DONE]",
        ],
    )


def _response(model: str) -> _Answer:
    call_id, message_id = f"resp_{uuid4().hex}", f"msg_{uuid4().hex}"
    part = {"type": "output_text", "text": CONTENT, "annotations": [], "logprobs": []}
    message = {"id": message_id, "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    begun = {
        "id": call_id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "service_tier": "default",
    }
    done = {**begun, "status": "completed", "output": [message], "usage": _RESPONSE_USAGE}
    item = {"output_index": 0, "item_id": message_id, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**message, "content": []}},
        {"type": "response.content_part.added", **item, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **item, "delta": CONTENT, "logprobs": []},
        {"type": "response.output_text.done", **item, "text": CONTENT, "logprobs": []},
        {"type": "response.content_part.done", **item, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        {"type": "response.completed", "response": done},
    ]
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    return Answered("openai", model, _RESPONSE_USAGE, call_id), done, numbered


def _embedding(model: str) -> _Answer:
    data = [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}]
    answer = {"object": "list", "data": data, "model": model, "usage": _EMBEDDING_USAGE}
    return Answered("openai", model, _EMBEDDING_USAGE), answer, []


def _message(model: str) -> _Answer:
    call_id = f"msg_{uuid4().hex}"
    tool_use = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"word": CONTENT}}
    answer = {
        "id": call_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": CONTENT}, tool_use],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": _MESSAGE_USAGE,
    }
    started = {**_MESSAGE_USAGE, "output_tokens": 1}
    events = [
        {"type": "message_start", "message": {**answer, "content": [], "stop_reason": None, "usage": started}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": CONTENT}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {**tool_use, "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": _ARGUMENTS}},
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": _MESSAGE_USAGE["output_tokens"]},
        },
        {"type": "message_stop"},
    ]
    return Answered("anthropic", model, _MESSAGE_USAGE, call_id), answer, events


_ANSWERS = {"completions": _chat, "responses": _response, "embeddings": _embedding, "messages": _message}


@contextmanager
def answering() -> Iterator[CannedProvider]:
    provider = CannedProvider()
    Thread(target=provider.serve_forever, daemon=True).start()
    try:
        yield provider
    finally:
        provider.shutdown()
        provider.server_close()
