"""Providers' APIs on loopback, in the documented shapes: pages of costs and usage by day."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from billing.provider_bills.provider_apis import PROVIDER_APIS, ProviderApi
from billing.types import BillProvider

KEY = "sk-admin-loopback-7f3a"


@dataclass(frozen=True)
class Failure:
    """A response instead of a page."""

    status: int
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ProviderServer:
    """`tokens` are the input tokens of each day, at a dollar per million. A page has `days_of_page` days. `failures`
    are responses to the next requests, in order; None: a page. `requests` are the path and query of each."""

    url: str = ""
    tokens: dict[date, int] = field(default_factory=dict)
    days_of_page: int = 31
    failures: list[Failure | None] = field(default_factory=list)
    requests: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    @property
    def apis(self) -> dict[BillProvider, ProviderApi]:
        """The providers' APIs at the address of this server."""
        return {provider: replace(api, base_url=self.url) for provider, api in PROVIDER_APIS.items()}

    def respond(self, path: str, query: dict[str, list[str]], headers: Mapping[str, str]) -> Failure:
        self.requests.append((path, query))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            return failure
        if KEY not in (headers.get("X-Api-Key"), headers.get("Authorization", "").removeprefix("Bearer ")):
            return Failure(401, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}."}}).encode())
        return Failure(200, json.dumps(self._page(path, query)).encode())

    def _page(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        if path == "/activity":
            return {"data": [_activity(day, tokens) for day, tokens in self.tokens.items()]}
        assert query["bucket_width"] == ["1d"]
        is_openai = "start_time" in query
        first, end = (_day_of(query[name][0]) for name in _NAMES[is_openai])
        days = [first + timedelta(days=number) for number in range((end - first).days)]
        begin = int(query.get("page", ["page_0"])[0].removeprefix("page_"))
        shown = days[begin : begin + self.days_of_page]
        has_more = begin + self.days_of_page < len(days)
        build = _openai_bucket if is_openai else _anthropic_bucket
        return {
            "object": "page",
            "data": [build(path, day, self.tokens.get(day, 0)) for day in shown],
            "has_more": has_more,
            "next_page": f"page_{begin + self.days_of_page}" if has_more else None,
        }


_NAMES = {True: ("start_time", "end_time"), False: ("starting_at", "ending_at")}


def _day_of(text: str) -> date:
    return datetime.fromtimestamp(int(text), UTC).date() if text.isdecimal() else date.fromisoformat(text[:10])


def _openai_bucket(path: str, day: date, tokens: int) -> dict[str, Any]:
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    costs = {
        "object": "organization.costs.result",
        "amount": {"value": tokens / 1e6, "currency": "usd"},
        "line_item": "gpt-4o-2024-08-06, input",
        "project_id": None,
        "api_key_id": "key_a",
        "quantity": None,
    }
    usage = {
        "object": "organization.usage.completions.result",
        "input_tokens": tokens,
        "input_cached_tokens": 0,
        "output_tokens": 0,
        "num_model_requests": 1,
        "project_id": None,
        "api_key_id": "key_a",
        "model": "gpt-4o-2024-08-06",
    }
    row = costs if path == "/organization/costs" else usage
    is_empty = not tokens or path.endswith("/embeddings")
    bucket = {"object": "bucket", "start_time": start, "end_time": start + 86_400}
    return {**bucket, "results": [] if is_empty else [row]}


def _anthropic_bucket(path: str, day: date, tokens: int) -> dict[str, Any]:
    common = {"workspace_id": "wrkspc_a", "model": "claude-sonnet-4-5", "context_window": "0-200k"}
    costs = {
        "currency": "USD",
        "amount": f"{tokens / 1e4}",  # in cents
        "description": "Claude Sonnet 4.5 Usage - Input Tokens",
        "cost_type": "tokens",
        "token_type": "uncached_input_tokens",
        **common,
    }
    usage = {
        "uncached_input_tokens": tokens,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
        "server_tool_use": {"web_search_requests": 0},
        "api_key_id": None,
        **common,
    }
    row = costs if path == "/organizations/cost_report" else usage
    times = {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z"}
    return {**times, "results": [row] if tokens else []}


def _activity(day: date, tokens: int) -> dict[str, Any]:
    return {
        "date": f"{day}",
        "model": "openai/gpt-4o",
        "model_permaslug": "openai/gpt-4o-2024-08-06",
        "endpoint_id": "550e8400-e29b-41d4-a716-446655440000",
        "provider_name": "OpenAI",
        "usage": tokens / 1e6,
        "byok_usage_inference": 0,
        "requests": 1,
        "prompt_tokens": tokens,
        "completion_tokens": 0,
        "reasoning_tokens": 0,
    }


@contextmanager
def serving() -> Iterator[ProviderServer]:
    provider = ProviderServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            response = provider.respond(parts.path, parse_qs(parts.query), dict(self.headers.items()))
            self.send_response(response.status)
            for name, value in {**response.headers, "Content-Length": str(len(response.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Not to the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
