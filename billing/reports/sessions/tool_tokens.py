"""Estimated cost of tool tokens. It is a share of the token cost and must not be added to it (document 003).

Tokens that a model writes to a tool (`tool_use_tokens`) cost as output, and tokens that the tool returns
(`tool_result_tokens`) as input, at the unit prices at the start of the session. The model is the one that the event
names or, if it names none, the model with the most calls in the session. Tiers do not apply, because a sum has no
single prompt.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from billing.pricing.price_book import PriceBook
from billing.pricing.types import PriceKind
from billing.reports.sessions.rows import UNKNOWN, CostRow
from costtrack.money import ZERO

_MILLION = 1_000_000


def cost_by_tool_tokens(rows: Sequence[CostRow], *, prices: PriceBook, at: datetime) -> dict[str, Decimal]:
    """Return cost by tool. A tool is left out if the price of any of its tokens is unknown."""
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
    for kind, tokens in ((PriceKind.OUTPUT, row.tool_use_tokens), (PriceKind.INPUT, row.tool_result_tokens)):
        unit_price = price.prices.unit_prices.get(kind)
        if tokens and unit_price is None:
            return None
        total += tokens * (unit_price or ZERO) / _MILLION
    return total
