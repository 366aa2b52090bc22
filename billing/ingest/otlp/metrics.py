"""Token counts in metrics, by which the logs and spans of the same sender are checked (docs/otlp.md). Pure.

Each sender repeats the tokens of a call in several series, and partly several times. A family says which of them add up
to all tokens of the calls.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

SOURCE = "otlp-metrics"
"""The source of events that are counted from metrics."""

LOGS, TRACES = "logs", "traces"
"""The signals that become events. The signal of a metric is the name of its family."""

DELTA, CUMULATIVE = 1, 2
"""OTLP's aggregation temporalities."""

_MAX_TOKENS = 10**15
_MAX_TIME = 2**63


class Family(NamedTuple):
    """Metrics of a sender that repeat the tokens of its calls. `attribute` names the type of tokens; without one the
    metric's name says it. The sum of the `counted` types has every token once.

    `usage` has the names of the types in a usage object: those that are counted, and those that are parts of them.
    `service` is what the sender calls, if its points do not say it.
    """

    signal: str
    usage: Mapping[str, str]
    counted: frozenset[str]
    metrics: tuple[str, ...] = ()
    attribute: str = ""
    service: str = ""


_CLAUDE_CODE = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cacheRead": "cache_read_tokens",
    "cacheCreation": "cache_creation_tokens",
}
_CODEX = {
    "input": "input_token_count",
    "output": "output_token_count",
    "cached_input": "cached_token_count",
    "reasoning_output": "reasoning_token_count",
}
_GEMINI_CLI = {
    "input": "input_token_count",
    "output": "output_token_count",
    "thought": "thoughts_token_count",
    "tool": "tool_use_prompt_token_count",
    "cache": "cached_content_token_count",
}
_INFERENCE_USAGE = {
    f"gen_ai.client.inference.usage.{name}": f"gen_ai.usage.{name}"
    for name in (
        "input_tokens",
        "output_tokens",
        "cache_read.input_tokens",
        "cache_write.input_tokens",
        "cache_creation.input_tokens",
        "reasoning.output_tokens",
    )
}
_INFERENCE_OPERATION = {
    f"gen_ai.client.inference.operation.{name}": f"gen_ai.usage.{name}" for name in ("input_tokens", "output_tokens")
}

FAMILIES = (
    # Claude Code: the types do not overlap.
    Family(
        "claude_code.token.usage",
        _CLAUDE_CODE,
        frozenset(_CLAUDE_CODE),
        attribute="type",
        service="anthropic",
    ),
    # Codex: the input includes what was cached, the output reasoning, and `total` both.
    Family(
        "codex.turn.token_usage",
        _CODEX,
        frozenset({"input", "output"}),
        attribute="token_type",
        service="openai",
    ),
    # Gemini CLI: the input includes the cache; thoughts and the prompts of tools stand beside.
    Family(
        "gemini_cli.token.usage",
        _GEMINI_CLI,
        frozenset({"input", "output", "thought", "tool"}),
        attribute="type",
        service="google",
    ),
    # The conventions since 2026 have counters, and histograms that repeat them.
    Family(
        "gen_ai.client.inference.usage",
        _INFERENCE_USAGE,
        frozenset(list(_INFERENCE_USAGE)[:2]),
        metrics=tuple(_INFERENCE_USAGE),
    ),
    # Copilot and instrumentations of the GenAI conventions: the input includes caches.
    Family(
        "gen_ai.client.token.usage",
        {"input": "gen_ai.usage.input_tokens", "output": "gen_ai.usage.output_tokens"},
        frozenset({"input", "output"}),
        attribute="gen_ai.token.type",
    ),
    Family(
        "gen_ai.client.inference.operation",
        _INFERENCE_OPERATION,
        frozenset(_INFERENCE_OPERATION),
        metrics=tuple(_INFERENCE_OPERATION),
    ),
)
"""If a sender has several, the first one is counted as usage: it knows more parts than the others."""
_FAMILY_OF: Mapping[str, Family] = {name: family for family in FAMILIES for name in family.metrics or (family.signal,)}


class Point(Struct, frozen=True):
    """A number of tokens that a series reports for a time in nanoseconds since 1970. `start` is 0 if it is unknown.

    `series` is the digest of the series: its resource, scope, metric and attributes. Of a `delta` the number is that of
    the time since `start`, else the total since `start`. `texts` are those of its attributes that are read, and `kind`
    its type of tokens. It `is_counted` unless it is a part of another type.
    """

    sender: str
    signal: str
    series: bytes
    is_delta: bool
    start: int
    end: int
    tokens: int
    kind: str
    texts: dict[str, str]
    is_counted: bool

    @property
    def key(self) -> UUID:
        """What is stored once: a delta, or a cumulative series since its start."""
        times = (self.start, self.end) if self.is_delta else (self.start,)
        return UUID(bytes=hashlib.blake2b(repr((self.series, times)).encode(), digest_size=16).digest())


def family_of(metric: str) -> Family | None:
    """Return the family of a metric; None if it has no tokens."""
    return _FAMILY_OF.get(metric)


def series_digest(parts: Iterable[bytes], attributes: Iterable[bytes]) -> bytes:
    """Return the digest of a series. `parts` are the resource, the scope and the name, `attributes` those of the point,
    as they are encoded. Their values may be content, so only the digest is stored."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (*parts, *sorted(attributes)):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def token_count(value: float | None) -> int | None:
    """Return a number of tokens; None if it is not one."""
    if value is None or not math.isfinite(value) or not 0 <= value <= _MAX_TOKENS:
        return None
    return round(value)


def is_time(nanoseconds: int) -> bool:
    return 0 < nanoseconds < _MAX_TIME
