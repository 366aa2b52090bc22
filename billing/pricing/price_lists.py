"""Price lists of others: LiteLLM's map of models and OpenRouter's list. Pure.

Every price of an entry is converted or named in `unread`, so that an import can say what it leaves out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from billing.pricing.canonical import service_name
from billing.pricing.conditions import Condition, Rates
from billing.pricing.kind_prices import KindPrices
from billing.pricing.kinds import KINDS

LITELLM = "litellm"
OPENROUTER = "openrouter"
_DECIMALS = 12

# Their price of one unit, and our kind.
_LITELLM_PRICES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_creation",
    "cache_creation_input_token_cost_above_1hr": "cache_creation_1h",
    "cache_creation_input_token_cost_above_12hr": "cache_creation_12h",
    "output_cost_per_reasoning_token": "reasoning",
    "citation_cost_per_token": "citation",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "cache_read_input_audio_token_cost": "audio_cache_read",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
    "cache_read_input_image_token_cost": "image_cache_read",
    "input_cost_per_video_token": "video_input",
    "output_cost_per_video_token": "video_output",
    "input_cost_per_character": "character",
    "input_cost_per_second": "audio_input_seconds",
    "input_cost_per_audio_per_second": "audio_input_seconds",
    "output_cost_per_second": "audio_output_seconds",
    "output_cost_per_video_per_second": "video_seconds",
    "output_cost_per_image": "image",
    "ocr_cost_per_page": "page",
    "annotation_cost_per_page": "annotated_page",
    "input_cost_per_request": "request",
    "input_cost_per_query": "rerank_search",
    "input_cost_per_token_cache_hit": "cache_read",
    "input_cost_per_text_message": "text_message",
    "google_maps_grounding_cost_per_query": "map_search",
    "file_search_cost_per_1k_calls": "file_search",
}
# Prices that are for a thousand already.
_PER_THOUSAND = frozenset({"file_search_cost_per_1k_calls"})
# What LiteLLM calls the price of an image that is made.
_IMAGE_PRICES = ("input_cost_per_image", "input_cost_per_pixel")
_IMAGE_SIZE = re.compile(r"(?P<width>\d{2,5})-x-(?P<height>\d{2,5})/")
_TOKEN_PRICES = ("input_cost_per_token", "output_cost_per_token")
_SEARCH_COSTS = "search_context_cost_per_query"
_SPECIFIC = "provider_specific_entry"
_PRICE_KEY = re.compile("cost|price|pricing|multiplier")
_SEARCH_SIZES = ("low", "medium", "high")
# Perplexity's price of a search is a fee for the request.
_SEARCH_IS_REQUEST = frozenset({"perplexity"})
_OPTIONS = {name: name for name in ("priority", "flex", "balanced", "ultrafast", "decisions")} | {"batches": "batch"}
_NAME = re.compile(rf"(?P<price>.+?)(?:_above_(?P<thousands>\d+)k_tokens)?(?:_(?P<option>{'|'.join(_OPTIONS)}))?")
_FACTORS = {
    "us": ("region", "us"),
    "eu": ("region", "eu"),
    "fast": ("speed", "fast"),
    "regional_processing_uplift_multiplier_us": ("region", "us"),
    "regional_processing_uplift_multiplier_eu": ("region", "eu"),
    # Vertex: any location but the global one.
    "regional_endpoint_uplift_multiplier": ("region", "*"),
    "fedramp_uplift_multiplier": ("region", "fedramp"),
}
# Databricks' own unit, which its prices in USD repeat.
_REPEATED = frozenset({"input_dbu_cost_per_token", "output_dbu_cost_per_token"})

_OPENROUTER_PRICES = {
    "prompt": "input",
    "completion": "output",
    "request": "request",
    "web_search": "web_search",
    "internal_reasoning": "reasoning",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_creation",
    "audio": "audio_input",
    "audio_output": "audio_output",
    "input_audio_cache": "audio_cache_read",
    "image_token": "image_input",
    "image_output": "image_output",
}
# A 0 means that these are part of another price.
_OPENROUTER_INCLUDED = frozenset(
    {"request", "web_search", "internal_reasoning", "input_cache_write", "input_cache_read"}
)


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A model of a price list. `unread` are the names of prices that could not be converted."""

    provider: str
    model: str
    prices: KindPrices
    unread: tuple[str, ...] = ()

    @property
    def own_model(self) -> str:
        """The model's name without the provider in front, as it is in calls."""
        prefix, slash, rest = self.model.partition("/")
        return rest if slash and service_name(prefix) == self.provider else self.model


def read_litellm_map(models: Mapping[str, Any]) -> Iterator[ListedPrice]:
    """Yield the priced models of LiteLLM's `model_prices_and_context_window.json`."""
    for name, entry in models.items():
        if name != "sample_spec" and isinstance(entry, Mapping):
            listed = _litellm_entry(name, entry)
            if any(listed.prices.rates.unit_prices.values()) or listed.unread:
                yield listed


def read_openrouter_list(response: Mapping[str, Any]) -> Iterator[ListedPrice]:
    """Yield the models of OpenRouter's `GET /api/v1/models`. Routers, whose price is -1, have none."""
    for entry in response.get("data", ()):
        pricing = entry.get("pricing") or {}
        unit_prices: dict[str, Decimal] = {}
        unread: list[str] = []
        for name, value in pricing.items():
            amount = _amount(value)
            kind = _OPENROUTER_PRICES.get(name)
            if amount is None or amount < 0 or (not amount and name in _OPENROUTER_INCLUDED):
                continue
            if kind is not None:
                unit_prices[kind] = _per_unit(kind, amount)
            elif amount:
                unread.append(name)
        if unit_prices:
            prices = KindPrices(Rates(unit_prices), source=OPENROUTER)
            yield ListedPrice(OPENROUTER, entry["id"], prices, tuple(unread))


def _litellm_entry(name: str, entry: Mapping[str, Any]) -> ListedPrice:
    provider = service_name(str(entry.get("litellm_provider", "")))
    # By option ("" is standard) and threshold.
    prices: dict[str, dict[int, dict[str, Decimal]]] = {"": {0: {}}}
    unread: list[str] = []
    images = _image_price(name, entry)
    if images is not None:
        prices[""][0]["image"] = images
    for key, value in entry.items():
        if key == _SEARCH_COSTS and isinstance(value, Mapping):
            searches = _search_prices(provider, value)
            prices[""][0].update(searches)
            unread += [key] if value and not searches else []
            continue
        amount = _amount(value)
        if amount is None:
            continue
        placed = _placed(key)
        if placed is not None:
            option, above, kind = placed
            amount = amount / 1000 if key in _PER_THOUSAND else amount
            prices.setdefault(option, {0: {}}).setdefault(above, {})[kind] = _per_unit(kind, amount)
        elif key in _IMAGE_PRICES and images is not None:
            continue
        elif amount and key not in (*_FACTORS, *_REPEATED) and _PRICE_KEY.search(key):
            unread.append(key)
    unread += [name for name in ("off_peak_pricing",) if entry.get(name)]
    if not _add_tiers(prices[""], entry.get("tiered_pricing")):
        unread.append("tiered_pricing")
    conditions = [
        Condition("service_tier", (option,), rates=_rates(levels), source=LITELLM)
        for option, levels in prices.items()
        if option
    ]
    return ListedPrice(
        provider,
        name,
        KindPrices(_rates(prices[""]), (*conditions, *_factors(entry), *_factors(entry.get(_SPECIFIC))), LITELLM),
        tuple(unread),
    )


def _image_price(name: str, entry: Mapping[str, Any]) -> Decimal | None:
    """Return the price of an image of a model that makes images: by image, or by pixel with the size in the name."""
    if entry.get("output_cost_per_image") or any(entry.get(key) for key in _TOKEN_PRICES):
        return None
    by_image, by_pixel = (_amount(entry.get(key)) for key in _IMAGE_PRICES)
    size = _IMAGE_SIZE.search(name)
    if by_pixel and size is not None:
        return _per_unit("image", by_pixel * int(size["width"]) * int(size["height"]))
    return _per_unit("image", by_image) if by_image else None


def _placed(key: str) -> tuple[str, int, str] | None:
    """Return the option, threshold and kind of a price by its name."""
    if key in _LITELLM_PRICES:
        return "", 0, _LITELLM_PRICES[key]
    match = _NAME.fullmatch(key)
    kind = _LITELLM_PRICES.get(match["price"]) if match is not None else None
    if match is None or kind is None:
        return None
    return _OPTIONS.get(match["option"] or "", ""), int(match["thousands"] or 0) * 1000, kind


def _search_prices(provider: str, costs: Mapping[str, Any]) -> dict[str, Decimal]:
    by_size = {size: _amount(costs.get(f"search_context_size_{size}")) for size in _SEARCH_SIZES}
    known = {size: amount for size, amount in by_size.items() if amount is not None}
    if provider in _SEARCH_IS_REQUEST:
        return {f"request_search_{size}": amount for size, amount in known.items()}
    # Others charge one price for every size.
    return {"web_search": _per_unit("web_search", next(iter(known.values())))} if len(set(known.values())) == 1 else {}


def _add_tiers(levels: dict[int, dict[str, Decimal]], tiers: Any) -> bool:
    """Add `tiered_pricing`: a list of prices by a range of input tokens. False if it is by something else."""
    for tier in tiers or ():
        if "range" not in tier:
            return False
        start = int(tier["range"][0])
        for key, value in tier.items():
            amount = _amount(value)
            if amount is not None and key in _LITELLM_PRICES:
                kind = _LITELLM_PRICES[key]
                levels.setdefault(start, {})[kind] = _per_unit(kind, amount)
    return True


def _factors(entry: Any) -> Iterator[Condition]:
    for name, value in entry.items() if isinstance(entry, Mapping) else ():
        amount = _amount(value)
        if name in _FACTORS and amount is not None:
            attribute, option = _FACTORS[name]
            yield Condition(attribute, (option,), factor=Fraction(amount), source=LITELLM)


def _rates(levels: Mapping[int, Mapping[str, Decimal]]) -> Rates:
    return Rates(levels[0], tuple((above, levels[above]) for above in sorted(levels) if above))


def _per_unit(kind: str, amount: Decimal) -> Decimal:
    """Return the price of the kind's unit, from the price of one."""
    price = amount * KINDS[kind].per
    rounded = round(price, _DECIMALS)
    return price if rounded == price else rounded


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None
