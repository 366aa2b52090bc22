"""Rows from which costs of sessions and executions are summed (document 003), and their sums.

Totals and breakdowns use the same rows, so models always add up to the token cost and tools to the compute cost.
Session summaries are included as differences (docs/decisions/006).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Self

from psycopg import sql

from costtrack.money import ZERO

# Key of rows without a name, so that a breakdown always adds up.
UNKNOWN = "unknown"

COUNTS = (
    "requests",
    "unpriced",
    "input_tokens",
    "output_tokens",
    "cache_creation_tokens",
    "cache_read_tokens",
    "tool_calls",
    "turns",
    "tool_use_tokens",
    "tool_result_tokens",
)
AMOUNTS = ("duration_ms", "token_cost_usd", "compute_cost_usd")


class CostRow(NamedTuple):
    """Usage and cost of one owner (a session or an execution) by phase, model and tool; texts are empty if they were
    not sent. `SUMS` selects the counts and amounts in this order."""

    owner: str
    phase: str
    service: str
    model: str
    tool: str
    requests: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    tool_calls: int
    turns: int
    tool_use_tokens: int
    tool_result_tokens: int
    duration_ms: Decimal
    token_cost_usd: Decimal
    compute_cost_usd: Decimal

    @property
    def tool_tokens(self) -> int:
        return self.tool_use_tokens + self.tool_result_tokens

    @property
    def cost_usd(self) -> Decimal:
        return self.token_cost_usd + self.compute_cost_usd


SUMS = sql.SQL(", ").join(
    [
        *(sql.SQL("sum({0})::bigint AS {0}").format(sql.Identifier(name)) for name in COUNTS),
        *(sql.SQL("sum({0}) AS {0}").format(sql.Identifier(name)) for name in AMOUNTS),
    ]
)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over rows. `input_tokens` is uncached input. The amounts exclude `unpriced_events`."""

    token_cost_usd: Decimal
    compute_cost_usd: Decimal
    input_tokens: int
    output_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    tool_calls: int
    turns: int
    duration_ms: Decimal
    unpriced_events: int

    @classmethod
    def of(cls, rows: Iterable[CostRow]) -> Self:
        rows = tuple(rows)
        return cls(
            token_cost_usd=sum((row.token_cost_usd for row in rows), ZERO),
            compute_cost_usd=sum((row.compute_cost_usd for row in rows), ZERO),
            input_tokens=sum(row.input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            cache_creation_tokens=sum(row.cache_creation_tokens for row in rows),
            cache_read_tokens=sum(row.cache_read_tokens for row in rows),
            tool_calls=sum(row.tool_calls for row in rows),
            turns=sum(row.turns for row in rows),
            duration_ms=sum((row.duration_ms for row in rows), ZERO),
            unpriced_events=sum(row.unpriced for row in rows),
        )

    @property
    def cost_usd(self) -> Decimal:
        return self.token_cost_usd + self.compute_cost_usd

    @property
    def tokens(self) -> int:
        """Total tokens as the document defines them: without caches."""
        return self.input_tokens + self.output_tokens


def cost_by_model(rows: Iterable[CostRow]) -> dict[str, Decimal]:
    """Return token cost by model, including models that were called at no cost."""
    called = (row for row in rows if row.token_cost_usd or row.requests)
    return _summed(called, lambda row: row.model or UNKNOWN, lambda row: row.token_cost_usd)


def cost_by_tool(rows: Iterable[CostRow]) -> dict[str, Decimal]:
    """Return compute cost by tool, including tools that were called at no cost."""
    called = (row for row in rows if row.compute_cost_usd or row.tool_calls)
    return _summed(called, lambda row: row.tool or UNKNOWN, lambda row: row.compute_cost_usd)


def cost_by_phase(rows: Iterable[CostRow]) -> dict[str, Decimal]:
    """Return all cost by phase, excluding costs without a phase."""
    return _summed((row for row in rows if row.phase), lambda row: row.phase, lambda row: row.cost_usd)


def tokens_by_tool(rows: Iterable[CostRow]) -> dict[str, int]:
    """Return tokens written to tools and returned by them."""
    amounts: dict[str, int] = {}
    for row in rows:
        if row.tool_tokens:
            amounts[row.tool or UNKNOWN] = amounts.get(row.tool or UNKNOWN, 0) + row.tool_tokens
    return amounts


def _summed(
    rows: Iterable[CostRow], key: Callable[[CostRow], str], amount: Callable[[CostRow], Decimal]
) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for row in rows:
        sums[key(row)] = sums.get(key(row), ZERO) + amount(row)
    return sums
