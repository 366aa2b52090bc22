"""The catalog as timelines of prices. (`test_quotes_against_genai_prices` compares the prices themselves.)"""

from datetime import UTC

from genai_prices.data_snapshot import get_snapshot

from billing.pricing.catalog import BEGINNING, read_catalog
from billing.pricing.declared_prices import SUPPLEMENTS
from billing.pricing.kind_prices import catalog_prices

CATALOGUE = read_catalog()
MODELS = {(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models}


def test_every_model_is_priced_or_listed_as_skipped() -> None:
    labels = {f"{entry.provider}/{entry.model}" for entry in CATALOGUE.entries}
    everything = {f"{provider}/{model}" for provider, model in MODELS}
    assert everything <= labels | set(CATALOGUE.skipped)
    assert labels.isdisjoint(CATALOGUE.skipped)
    assert "openai/whisper-1" in labels  # by the second


def test_declared_models_that_the_catalog_lacks_are_in_it() -> None:
    added = {(entry.provider, entry.model) for entry in CATALOGUE.entries} - MODELS
    declared = {(entry.platform, model) for entry in SUPPLEMENTS for model in entry.models}
    assert ("dashscope", "qwen-plus") in added
    assert added <= declared


def test_every_timeline_begins_at_the_beginning_and_continues_at_midnight_in_utc() -> None:
    for entry in CATALOGUE.entries:
        starts = [segment.effective_from for segment in entry.segments]
        assert starts[0] == BEGINNING
        assert starts == sorted(set(starts))
        assert all(start.tzinfo is UTC and start.hour == start.minute == 0 for start in starts)


def test_the_segments_have_the_prices_of_their_first_day() -> None:
    for entry in CATALOGUE.entries:
        if (entry.provider, entry.model) in MODELS:
            for segment in entry.segments:
                day = segment.effective_from.date()
                assert segment.prices == catalog_prices(entry.provider, entry.model, day)


def test_a_tier_of_the_catalog_names_every_price_that_it_changes() -> None:
    entry = next(e for e in CATALOGUE.entries if (e.provider, e.model) == ("anthropic", "claude-sonnet-4-5"))
    prices = entry.segments[0].prices
    assert prices is not None
    ((above, unit_prices),) = prices.rates.tiers
    assert above == 200_000
    assert unit_prices["cache_creation_1h"] == 12
    assert prices.rates.unit_prices["cache_creation_1h"] == 6
