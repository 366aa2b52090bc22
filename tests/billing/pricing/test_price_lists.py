"""Price lists of LiteLLM and OpenRouter."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from billing.pricing.canonical import CanonicalModel
from billing.pricing.price_lists import ListedPrice, read_litellm_map, read_openrouter_list
from billing.pricing.quote import CompiledPrices, calculate_quote

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


def litellm(entry: dict[str, Any], name: str = "acme/model") -> ListedPrice:
    (listed,) = read_litellm_map({"sample_spec": {"input_cost_per_token": 1}, name: entry})
    return listed


def test_prices_per_token_are_prices_per_million() -> None:
    listed = litellm(
        {
            "litellm_provider": "anthropic",
            "mode": "chat",
            "max_tokens": 64000,
            "input_cost_per_token": 3e-06,
            "output_cost_per_token": 1.5e-05,
            "cache_read_input_token_cost": 3e-07,
            "cache_creation_input_token_cost": 3.75e-06,
            "cache_creation_input_token_cost_above_1hr": 6e-06,
            "search_context_cost_per_query": {
                "search_context_size_low": 0.01,
                "search_context_size_medium": 0.01,
                "search_context_size_high": 0.01,
            },
            "supports_vision": True,
        }
    )

    assert listed.provider == "anthropic"
    assert listed.unread == ()
    assert listed.prices.rates.unit_prices == {
        "input": 3,
        "output": 15,
        "cache_read": Decimal("0.3"),
        "cache_creation": Decimal("3.75"),
        "cache_creation_1h": 6,
        "web_search": 10,
    }


def test_tiers_and_service_tiers_are_in_the_names() -> None:
    listed = litellm(
        {
            "litellm_provider": "openai",
            "input_cost_per_token": 2.5e-06,
            "input_cost_per_token_above_272k_tokens": 5e-06,
            "input_cost_per_token_batches": 1.25e-06,
            "input_cost_per_token_priority": 5e-06,
            "input_cost_per_token_above_272k_tokens_priority": 1e-05,
        }
    )
    model = CanonicalModel("openai", "openai", "model", "model")
    compiled = CompiledPrices(model, listed.prices)

    def unit_price(tokens: int, tier: str) -> Decimal:
        quote = calculate_quote(
            {"input": tokens}, model=model, attributes={"service_tier": tier}, at=AT, prices=compiled
        )
        return quote.lines[0].unit_price_usd

    assert [unit_price(tokens, "standard") for tokens in (272_000, 272_001)] == [Decimal("2.5"), 5]
    assert [unit_price(tokens, "priority") for tokens in (272_000, 272_001)] == [5, 10]
    assert unit_price(10, "batch") == Decimal("1.25")


def test_tiered_pricing_begins_at_its_ranges() -> None:
    listed = litellm(
        {
            "litellm_provider": "dashscope",
            "tiered_pricing": [
                {"range": [0, 256000.0], "input_cost_per_token": 4e-07, "output_cost_per_token": 1.2e-06},
                {"range": [256000.0, 1000000.0], "input_cost_per_token": 1.2e-06, "output_cost_per_token": 3.6e-06},
            ],
        }
    )

    assert listed.prices.rates.unit_prices == {"input": Decimal("0.4"), "output": Decimal("1.2")}
    assert listed.prices.rates.tiers == ((256000, {"input": Decimal("1.2"), "output": Decimal("3.6")}),)


def test_other_units_and_factors() -> None:
    listed = litellm(
        {
            "litellm_provider": "anthropic",
            "input_cost_per_second": 0.0001,
            "ocr_cost_per_page": 0.004,
            "file_search_cost_per_1k_calls": 2.5,
            "provider_specific_entry": {"us": 1.1, "fast": 6.0},
            "regional_processing_uplift_multiplier_eu": 1.2,
        }
    )

    assert listed.prices.rates.unit_prices == {
        "audio_input_seconds": Decimal("0.36"),
        "page": 4,
        "file_search": Decimal("2.5"),
    }
    assert [(rule.attribute, rule.values, rule.factor) for rule in listed.prices.conditions] == [
        ("region", ("eu",), Fraction(6, 5)),
        ("region", ("us",), Fraction(11, 10)),
        ("speed", ("fast",), Fraction(6)),
    ]


def test_the_price_of_a_search_may_be_a_fee_for_the_request() -> None:
    sizes = {"search_context_size_low": 0.005, "search_context_size_medium": 0.008, "search_context_size_high": 0.012}
    listed = litellm(
        {"litellm_provider": "perplexity", "input_cost_per_token": 1e-06, "search_context_cost_per_query": sizes}
    )

    assert listed.prices.rates.unit_prices["request_search_medium"] == Decimal("0.008")


def test_a_price_that_is_not_converted_is_named() -> None:
    sizes = {"search_context_size_low": 0.01, "search_context_size_high": 0.02}
    listed = litellm(
        {
            "litellm_provider": "openai",
            "input_cost_per_token": 1e-06,
            "input_cost_per_hologram": 0.1,
            "search_context_cost_per_query": sizes,
            "off_peak_pricing": {"input_cost_per_token": 5e-07, "windows": []},
            "tiered_pricing": [{"max_results_range": [0, 25], "input_cost_per_query": 0.005}],
        }
    )

    assert set(listed.unread) == {
        "input_cost_per_hologram",
        "search_context_cost_per_query",
        "off_peak_pricing",
        "tiered_pricing",
    }


def test_models_without_a_price_are_left_out() -> None:
    models = {"free": {"litellm_provider": "acme", "input_cost_per_token": 0.0}, "strange": "text", "none": {}}

    assert list(read_litellm_map(models)) == []


def test_openrouters_prices_are_texts() -> None:
    pricing = {
        "prompt": "0.000003",
        "completion": "0.000015",
        "request": "0",
        "image": "0.0048",
        "web_search": "0.01",
        "internal_reasoning": "0",
        "input_cache_read": "0.0000003",
    }
    response = {
        "data": [
            {"id": "anthropic/claude-sonnet-4.5", "pricing": pricing},
            {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
            {"id": "none"},
        ]
    }

    (listed,) = read_openrouter_list(response)

    assert (listed.provider, listed.model, listed.unread) == ("openrouter", "anthropic/claude-sonnet-4.5", ("image",))
    assert listed.prices.rates.unit_prices == {
        "input": 3,
        "output": 15,
        "web_search": 10,
        "cache_read": Decimal("0.3"),
    }


@pytest.mark.parametrize(
    ("name", "entry", "image"),
    [
        (
            "azure/low/1024-x-1536/gpt-image-1",
            {"input_cost_per_pixel": 1e-08, "output_cost_per_pixel": 0.0},
            "0.01572864",
        ),
        ("low/1024-x-1024/gpt-image-1.5", {"input_cost_per_image": 0.009}, "0.009"),
        ("acme/flux", {"output_cost_per_image": 0.04, "input_cost_per_image": 0.01}, "0.04"),
        ("acme/flux-without-size", {"input_cost_per_pixel": 1e-08}, None),
        ("acme/chat", {"input_cost_per_token": 1e-06, "input_cost_per_image": 0.01}, None),
    ],
)
def test_the_price_of_an_image_is_by_image_or_by_its_size(
    name: str, entry: dict[str, float], image: str | None
) -> None:
    [listed] = read_litellm_map({name: {"litellm_provider": "azure", **entry}})
    found = listed.prices.rates.unit_prices.get("image")
    assert found == (None if image is None else Decimal(image))
    assert bool(listed.unread) is (image in (None, "0.04"))
