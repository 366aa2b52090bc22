"""Quotes against genai-prices' own calculation, for every model, option and hour of its catalog.

Left out on purpose: kinds that genai-prices charges as another or not at all where we say that the cost is unknown.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, localcontext

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, PriceVariant, Provider, StartDateConstraint, Usage

from billing.pricing.canonical import CanonicalModel
from billing.pricing.kind_prices import catalog_prices
from billing.pricing.kinds import KINDS, OUTPUT_TOKEN_KINDS, Quantities, Quantity, output_tokens, prompt_tokens
from billing.pricing.quote import CompiledPrices, calculate_cost, calculate_quote

INSTANTS = (datetime(2026, 11, 28, 2, 30, tzinfo=UTC), datetime(2026, 11, 28, 12, tzinfo=UTC))
MODELS = [(provider, model) for provider in get_snapshot().providers for model in provider.models]
# Their names of options, and ours.
OPTIONS = {"processing": "service_tier"}
VALUES = {("service_tier", "fast"): "priority"}
MEDIA = ("audio", "image", "video")
# Unit prices of the catalog finer than 12 decimals are rounded.
TOLERANCE = Decimal("1e-9")


def test_every_model_costs_what_genai_prices_says() -> None:
    source = random.Random(7)
    compared = 0
    differences = []
    for provider, model in MODELS:
        for at in INSTANTS:
            prices = catalog_prices(provider.id, model.id, at.date())
            if prices is None or (at == INSTANTS[0] and not any(rule.hours for rule in prices.conditions)):
                continue
            canonical = CanonicalModel(provider.id, provider.id, model.id, model.id.lower())
            compiled = CompiledPrices(canonical, prices)
            for context, options in contexts(model, at):
                quantities = random_quantities(source, prices.rates.unit_prices)
                quote = calculate_quote(quantities, model=canonical, attributes=options, at=at, prices=compiled)
                fast = calculate_cost(quantities, model=canonical, attributes=options, at=at, prices=compiled)
                assert (fast.total_usd, fast.is_estimate) == (quote.total_usd, quote.is_estimate)
                assert compiled.plain_cost(quantities, options, at) in (None, quote.total_usd)
                if quote.total_usd is None or any(line.priced_as for line in quote.lines):
                    continue
                theirs = their_price(provider, model, quantities, at, context)
                compared += 1
                if abs(theirs - quote.total_usd) > TOLERANCE * max(theirs, Decimal(1)):
                    differences.append((provider.id, model.id, context, dict(quantities), theirs, quote.total_usd))
    assert differences == []
    assert compared > len(MODELS) * 0.9


def contexts(model: ModelInfo, at: datetime) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yield genai-prices' context of a call, and our attributes: none, and each option that is in effect."""
    yield {}, {}
    for variant in model.price_variants or ():
        ((option, value),) = variant.when.items()
        if is_active(variant, at) and value != "default":
            yield {option: value}, {OPTIONS.get(option, option): VALUES.get((option, value), value)}


def is_active(variant: PriceVariant, at: datetime) -> bool:
    return not isinstance(variant.constraint, StartDateConstraint) or variant.constraint.active(at)


def random_quantities(source: random.Random, unit_prices: object) -> dict[str, Quantity]:
    """Return quantities of the kinds that have a price of their own."""
    largest = source.choice([10, 1_000, 300_000])
    kinds = [kind for kind in KINDS if kind in unit_prices and kind != "request"]  # type: ignore[operator]
    quantities: dict[str, Quantity] = {kind: source.randrange(largest) for kind in kinds if source.random() < 0.7}
    if "audio_input_seconds" in quantities:
        quantities.pop("audio_seconds", None)
    return quantities


def their_price(
    provider: Provider, model: ModelInfo, quantities: Quantities, at: datetime, context: dict[str, str]
) -> Decimal:
    usage = Usage(**their_usage(quantities))
    with localcontext(prec=80):
        calculation = model.calc_price(usage, provider, genai_request_timestamp=at, price_context=context or None)
        return calculation.total_price


def their_usage(quantities: Quantities) -> dict[str, int]:
    """Return the usage with their totals, which include their parts."""

    def total(*kinds: str) -> int:
        return sum(int(quantities.get(kind, 0)) for kind in kinds)

    seconds = total("audio_seconds", "audio_input_seconds")
    return {
        "input_tokens": prompt_tokens(quantities),
        "output_tokens": output_tokens(quantities),
        "cache_read_tokens": total("cache_read", "audio_cache_read", "image_cache_read", "video_cache_read"),
        "cache_write_tokens": total("cache_creation", "cache_creation_1h"),
        "cache_write_1h_tokens": total("cache_creation_1h"),
        "cache_write_5m_tokens": total("cache_creation"),
        "output_reasoning_tokens": total("reasoning"),
        "output_citation_tokens": total("citation"),
        **{
            f"input_{name}_tokens": total(f"{name}_input", f"{name}_cache_read") for name in ("audio", "image", "video")
        },
        **{f"cache_{name}_read_tokens": total(f"{name}_cache_read") for name in MEDIA},
        **{f"cache_{name}_write_tokens": 0 for name in MEDIA},
        **{f"output_{name}_tokens": total(f"{name}_output") for name in MEDIA},
        "web_searches": total("web_search"),
        "social_searches": total("social_search"),
        "storage_searches": total("file_search"),
        "code_executions": total("code_execution"),
        "rerank_searches": total("rerank_search"),
        "input_text_messages": total("text_message"),
        "input_document_pages": total("page", "annotated_page"),
        "input_annotated_document_pages": total("annotated_page"),
        "input_characters": total("character"),
        "audio_seconds": seconds,
        "input_audio_seconds": total("audio_input_seconds"),
    }


def test_the_kinds_of_output_are_those_of_the_catalog() -> None:
    assert {KINDS[kind].catalog_key for kind in OUTPUT_TOKEN_KINDS} <= {
        "output_mtok",
        "output_reasoning_mtok",
        "output_citation_mtok",
        "output_audio_mtok",
        "output_image_mtok",
        "output_video_mtok",
    }
