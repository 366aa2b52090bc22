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

LOGS, TRACES = "logs", "traces"
"""The signals that become events. The signal of a metric is the name of its family."""

DELTA, CUMULATIVE = 1, 2
"""OTLP's aggregation temporalities."""

_MAX_TOKENS = 10**15
_MAX_TIME = 2**63


class Family(NamedTuple):
    """Metrics of a sender whose sum has every token once. `attribute` names the type of tokens, of which `counted` are
    added up; the others repeat them. Without an attribute the metric's name says it."""

    signal: str
    metrics: tuple[str, ...]
    attribute: str = ""
    counted: frozenset[str] = frozenset()


FAMILIES = (
    # Claude Code: the types do not overlap.
    Family(
        "claude_code.token.usage",
        ("claude_code.token.usage",),
        "type",
        frozenset({"input", "output", "cacheRead", "cacheCreation"}),
    ),
    # Codex: the input includes what was cached, the output reasoning, and `total` both.
    Family("codex.turn.token_usage", ("codex.turn.token_usage",), "token_type", frozenset({"input", "output"})),
    # Gemini CLI: the input includes the cache; thoughts and the prompts of tools stand beside.
    Family(
        "gemini_cli.token.usage",
        ("gemini_cli.token.usage",),
        "type",
        frozenset({"input", "output", "thought", "tool"}),
    ),
    # Copilot and instrumentations of the GenAI conventions: the input includes caches.
    Family(
        "gen_ai.client.token.usage", ("gen_ai.client.token.usage",), "gen_ai.token.type", frozenset({"input", "output"})
    ),
    # The conventions since 2026 have counters, and histograms that repeat them.
    Family(
        "gen_ai.client.inference.usage",
        ("gen_ai.client.inference.usage.input_tokens", "gen_ai.client.inference.usage.output_tokens"),
    ),
    Family(
        "gen_ai.client.inference.operation",
        ("gen_ai.client.inference.operation.input_tokens", "gen_ai.client.inference.operation.output_tokens"),
    ),
)
_FAMILY_OF: Mapping[str, Family] = {name: family for family in FAMILIES for name in family.metrics}


class Point(Struct, frozen=True):
    """A number of tokens that a series reports for a time in nanoseconds since 1970. `start` is 0 if it is unknown.

    `series` is the digest of the series: its resource, scope, metric and attributes. Of a `delta` the number is that of
    the time since `start`, else the total since `start`.
    """

    sender: str
    signal: str
    series: bytes
    is_delta: bool
    start: int
    end: int
    tokens: int

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
