"""The same calls at the catalog's prices and at those of LiteLLM's map, and why they differ."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command

from billing.pricing.known_differences import KNOWN_DIFFERENCES, UNEXPLAINED
from billing.pricing.price_lists import read_litellm_map
from billing.pricing.sweep import Sweep, sweep

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


def model(provider: str, input: float, output: float, **others: Any) -> dict[str, Any]:  # noqa: A002 - in USD per million
    prices = {"input_cost_per_token": input / 1e6, "output_cost_per_token": output / 1e6}
    return {"litellm_provider": provider, **prices, **others}


MAP = {
    "sample_spec": {"litellm_provider": "one of ..."},
    "gpt-4o": model("openai", 2.5, 10, cache_read_input_token_cost=1.25e-06),
    "gpt-5.4": model(
        "openai",
        2.5,
        15,
        input_cost_per_token_above_272k_tokens=5e-06,
        output_cost_per_token_above_272k_tokens=22.5e-06,
        input_cost_per_token_flex=1.25e-06,
        output_cost_per_token_flex=7.5e-06,
    ),
    "text-embedding-3-small": model("openai", 0.02, 0),
    "azure/gpt-4o": model(
        "azure", 2.5, 10, input_cost_per_token_priority=4e-06, output_cost_per_token_priority=1.6e-05
    ),
    "anthropic.claude-opus-5": model("bedrock_converse", 5, 25),
    "groq/llama-3.3-70b-versatile": model("groq", 0.59, 0.79, cache_read_input_token_cost=5.9e-08),
    "databricks/databricks-glm-5-2": model("databricks", 1.4, 4.39999),
    "gpt-4o-mini": model("openai", 0.3, 0.6),
    "deepinfra/acme/Llama-9": model("deepinfra", 0.1, 0.4),
}


BARE = "Bedrock bills a model without a geographic prefix in its region: 10% above the global price, which the list has"


@pytest.fixture(scope="module")
def found() -> Sweep:
    return sweep(read_litellm_map(MAP), at=AT)


def test_each_model_that_both_price_is_priced_for_each_call_that_the_map_knows(found: Sweep) -> None:
    assert (found.listed, found.models, found.calls) == (len(MAP) - 1, 8, 13)


def test_each_difference_has_its_costs_and_its_cause(found: Sweep) -> None:
    differences = {
        (difference.model, difference.call): (
            difference.here_usd,
            difference.listed_usd,
            difference.cause.split(".")[0],
        )
        for difference in found.differences
    }
    assert differences == {
        ("gpt-4o", "service_tier priority"): (
            None,
            Decimal("0.012"),
            "Only the list has a price of this service tier",
        ),
        ("anthropic.claude-opus-5", "standard"): (
            Decimal("0.01925"),
            Decimal("0.0175"),
            BARE,
        ),
        ("llama-3.3-70b-versatile", "cached"): (
            Decimal("0.002165"),
            Decimal("0.001103"),
            "The catalog has no price of cached input",
        ),
        ("databricks-glm-5-2", "standard"): (
            Decimal("0.0036"),
            Decimal("0.003599995"),
            "One of the lists is rounded: it states prices in a unit or a currency of its own",
        ),
        ("gpt-4o-mini", "standard"): (Decimal("0.00045"), Decimal("0.0006"), UNEXPLAINED.rstrip(".")),
    }


def test_the_unit_prices_that_differ_are_named(found: Sweep) -> None:
    named = {(difference.model, difference.call): difference.unit_prices for difference in found.differences}

    assert named["gpt-4o-mini", "standard"] == "input 0.15 / 0.3"
    assert named["gpt-4o", "service_tier priority"] == "no_condition_price: service_tier"


def test_the_command_writes_a_page_by_cause(tmp_path: Path) -> None:
    file, page = tmp_path / "map.json", tmp_path / "page.md"
    file.write_text(json.dumps(MAP))
    errors = StringIO()
    with time_machine.travel(AT, tick=False):
        call_command("compare_prices", str(file), output=str(page), stderr=errors, no_color=True)

    assert errors.getvalue() == "5 of 13 calls differ, 1 of them without a known cause.\n"
    text = page.read_text()
    assert "The map has 9 models; 8 of them have a price in both. 8 of their 13 calls cost the same." in text
    assert "| azure | gpt-4o | service_tier priority | unknown | 0.012 |" in text
    assert "| openai | gpt-4o-mini | standard | 0.00045 | 0.0006 |" in text


def test_a_map_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("compare_prices", str(tmp_path / "nothing.json"))


def test_no_cause_is_hidden_by_an_earlier_one() -> None:
    seen: set[tuple[str, str]] = set()
    for known in KNOWN_DIFFERENCES:
        names = {(known.platform, name) for name in known.models}
        assert known.calls != ("*",) or not names & seen
        if known.calls == ("*",):
            seen |= names


def test_the_committed_page_leaves_no_difference_unexplained() -> None:
    page = (Path(__file__).parents[3] / "docs" / "price-differences.md").read_text(encoding="utf-8")

    assert UNEXPLAINED.rstrip(".") not in page
    assert page.count("\n## ") > 10
