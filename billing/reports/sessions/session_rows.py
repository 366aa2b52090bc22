"""Rows from which costs of sessions and executions are summed (document 003), and their sums.

Totals and breakdowns use the same rows, so models always add up to the token cost and tools to the compute cost.
Session summaries are included as differences (docs/decisions/006).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Self

from psycopg import sql

from billing.ledger.net_cost import AMOUNTS, COUNTS
from billing.pricing.price_book import PriceBook
from costtrack.money import ZERO

# Key of rows without a name, so that a breakdown always adds up.
UNKNOWN = "unknown"
_MILLION = 1_000_000


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
    sql.SQL("sum({0})::bigint AS {0}" if name in COUNTS else "sum({0}) AS {0}").format(sql.Identifier(name))
    for name in CostRow._fields
    if name in COUNTS or name in AMOUNTS
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
    """Return compute cost by tool, including tools that were called at no cost. Calls without a tool, which a session
    summary adds, have no entry."""
    called = (row for row in rows if row.compute_cost_usd or (row.tool and row.tool_calls))
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


def cost_by_tool_tokens(rows: Sequence[CostRow], *, prices: PriceBook, at: datetime) -> dict[str, Decimal]:
    """Return the estimated cost of tool tokens by tool. It is a share of the token cost and must not be added to it.

    Tokens that a model writes to a tool (`tool_use_tokens`) cost as output, and tokens that the tool returns
    (`tool_result_tokens`) as input, at the unit prices at the start of the session. The model is the one that the event
    names or, if it names none, the model with the most calls in the session. Tiers do not apply, because a sum has no
    single prompt. A tool is left out if the price of any of its tokens is unknown.
    """
    main = _main_model(rows)
    costs: dict[str, Decimal] = {}
    unknown: set[str] = set()
    for row in rows:
        if not row.tool_use_tokens and not row.tool_result_tokens:
            continue
        tool = row.tool or UNKNOWN
        cost = _cost(row, (row.service, row.model) if row.model else main, prices, at)
        if cost is None:
            unknown.add(tool)
        else:
            costs[tool] = costs.get(tool, ZERO) + cost
    return {tool: cost for tool, cost in costs.items() if tool not in unknown}


def _main_model(rows: Iterable[CostRow]) -> tuple[str, str]:
    """Return the service and model with the most calls; ties go to the one with the most tokens. Empty if there is
    none."""
    called: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        if row.model:
            requests, tokens = called.get((row.service, row.model), (0, 0))
            more = row.input_tokens + row.output_tokens
            called[row.service, row.model] = (requests + row.requests, tokens + more)
    return max(sorted(called), key=called.__getitem__, default=("", ""))


def _cost(row: CostRow, model: tuple[str, str], prices: PriceBook, at: datetime) -> Decimal | None:
    price = prices.find(*model, at)
    if price is None:
        return None
    total = ZERO
    for kind, tokens in (("output", row.tool_use_tokens), ("input", row.tool_result_tokens)):
        unit_price = price.unit_prices.get(kind)
        if tokens and unit_price is None:
            return None
        total += tokens * (unit_price or ZERO) / _MILLION
    return total
