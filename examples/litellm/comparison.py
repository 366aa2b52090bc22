"""Compares LiteLLM's estimates with the costs in the ledger, and explains the differences by unit prices."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import litellm

# LiteLLM computes in floating point, so its costs are off by some 1e-19 USD.
_ROUNDING = Decimal("1e-15")
_MILLION = 1_000_000

# The unit prices in LiteLLM's price list for costtrack's kinds of tokens; the first one that exists is used.
_LITELLM_PRICES = {
    "input": ("input_cost_per_token",),
    "output": ("output_cost_per_token",),
    "cache_read": ("cache_read_input_token_cost", "input_cost_per_token"),
    "cache_creation": ("cache_creation_input_token_cost", "input_cost_per_token"),
    "cache_creation_1h": ("cache_creation_input_token_cost_above_1hr", "cache_creation_input_token_cost"),
    "reasoning": ("output_cost_per_reasoning_token", "output_cost_per_token"),
    "audio_input": ("input_cost_per_audio_token", "input_cost_per_token"),
    "audio_output": ("output_cost_per_audio_token", "output_cost_per_token"),
    "request": ("input_cost_per_request",),
}


@dataclass
class ModelCosts:
    """All calls of one model. `explained` is the difference that follows from different unit prices."""

    calls: int = 0
    litellm: Decimal = Decimal(0)
    costtrack_usd: Decimal = Decimal(0)
    explained: Decimal = Decimal(0)
    prices: dict[str, str] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)

    @property
    def difference(self) -> Decimal:
        difference = self.costtrack_usd - self.litellm
        return difference if abs(difference) > _ROUNDING else Decimal(0)


def compare(api: httpx.Client, payloads: list[dict[str, Any]], events: list[dict[str, Any]]) -> Iterator[str]:
    """Print a row for each model; yield the differences that prices do not explain."""
    by_model: dict[str, ModelCosts] = defaultdict(ModelCosts)
    rows = {event["request_id"]: event for event in events}
    for payload in payloads:
        event = rows.get(payload["id"])
        if event is not None:
            _add(by_model[f"{event['service']}/{event['model']}"], api, payload, event)
    print("\nLiteLLM's estimates and the costs in the ledger, in USD (unit prices per million tokens, or per request):")
    print(f"{'model':<54}{'calls':>6}{'LiteLLM USD':>14}{'costtrack USD':>14}{'difference':>14}  why")
    for model, costs in sorted(by_model.items()):
        columns = f"{costs.litellm:>14.8f}{costs.costtrack_usd:>14.8f}{costs.difference:>14.8f}"
        print(f"{model:<54}{costs.calls:>6}{columns}  {_why(costs)}")
        if abs(costs.difference - costs.explained) > _ROUNDING:
            yield f"{model}: {costs.difference - costs.explained} USD are not explained by prices"
    print()


def _add(costs: ModelCosts, api: httpx.Client, payload: dict[str, Any], event: dict[str, Any]) -> None:
    costs.calls += 1
    if event["status"] == "failure":
        costs.notes.add("a call that failed is free")
    elif event["cost_usd"] is None:
        costs.notes.add("no price in LiteLLM or the catalog: unpriced until one is set")
    else:
        costs.litellm += Decimal(repr(payload["response_cost"]))
        costs.costtrack_usd += Decimal(event["cost_usd"])
        if event["cost_basis"] == "gateway":
            costs.notes.add("not in the catalog, so LiteLLM's estimate counts")
        else:
            _explain(costs, api, payload, event)


def _explain(costs: ModelCosts, api: httpx.Client, payload: dict[str, Any], event: dict[str, Any]) -> None:
    """Compare the unit prices of each price line, and add up the differences that they cause."""
    listed = litellm.get_model_info(model=payload["model"], custom_llm_provider=payload["custom_llm_provider"])
    for line in api.get(f"/usage/events/{event['id']}").raise_for_status().json()["lines"]:
        kind, costtrack_price = line["kind"], Decimal(line["unit_price_usd"])
        unit = 1 if kind.startswith("request") else _MILLION
        litellm_price = (Decimal(repr(_listed_price(listed, kind))) * unit).normalize()
        if costtrack_price != litellm_price:
            costs.prices[kind] = f"{kind}: costtrack {costtrack_price:f}, LiteLLM {litellm_price:f}"
            costs.explained += (costtrack_price - litellm_price) * line["quantity"] / unit


def _listed_price(listed: dict[str, Any], kind: str) -> float:
    """Return LiteLLM's price per token or request. It is 0 for Perplexity's fee per request, which LiteLLM only adds to
    calls with web search options, although Perplexity charges it for each request."""
    known = (listed.get(name) for name in _LITELLM_PRICES.get(kind, ()))
    return next((price for price in known if price is not None), 0)


def _why(costs: ModelCosts) -> str:
    return "; ".join([*costs.prices.values(), *sorted(costs.notes)]) or "the same prices"
