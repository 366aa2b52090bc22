"""Our calculation against genai-prices' own, for every model of its catalogue, equal to the last digit.

What differs on purpose is written down here and left out of the comparison:

* Prices of kinds that events do not carry (images, cached audio, searches): the usages have none of them.
* Prices for certain hours of the day: those models are listed by the import, and compared at their standard price.
* A kind without any price: genai-prices charges nothing for it, we say that the cost is not known.
* Unit prices finer than 12 decimals (1/12 USD as a float): both sides are given the rounded price.
"""

import random
from copy import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices, TimeOfDateConstraint, Usage
from genai_prices.types import Tier as CatalogueTier

from billing.pricing.calculate import CompiledPrice
from billing.pricing.catalogue import BEGINNING, CatalogueEntry, Segment, read_catalogue
from billing.pricing.types import PriceKind, TokenUsage

CATALOGUE = read_catalogue()
MODELS = {
    (provider.id, model.id): (provider, model) for provider in get_snapshot().providers for model in provider.models
}
# Counts that events do not have; genai-prices requires them as zero.
ABSENT = {
    "cache_audio_read_tokens": 0,
    "cache_audio_write_tokens": 0,
    "cache_image_read_tokens": 0,
    "input_image_tokens": 0,
    "output_image_tokens": 0,
}


def random_usage(source: random.Random) -> TokenUsage:
    most = source.choice([10, 1_000, 100_000, 2_000_000])

    def count() -> int:
        return source.choice([0, source.randrange(most)])

    creation, reasoning, audio_in, audio_out = count(), count(), count(), count()
    return TokenUsage(
        input_tokens=audio_in + count(),
        output_tokens=reasoning + audio_out + count(),
        cache_read_tokens=count(),
        cache_creation_tokens=creation,
        cache_creation_1h_tokens=source.randint(0, creation),
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_in,
        audio_output_tokens=audio_out,
    )


def as_their_usage(usage: TokenUsage) -> Usage:
    return Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_creation_tokens,
        cache_write_1h_tokens=usage.cache_creation_1h_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        input_audio_tokens=usage.audio_input_tokens,
        output_audio_tokens=usage.audio_output_tokens,
        **ABSENT,
    )


def rounded(price: ModelPrice) -> ModelPrice:
    def amount(value: Decimal) -> Decimal:
        return round(value, 12)

    def either(value: Decimal | TieredPrices) -> Decimal | TieredPrices:
        if isinstance(value, Decimal):
            return amount(value)
        return TieredPrices(amount(value.base), [CatalogueTier(t.start, amount(t.price)) for t in value.tiers])

    return ModelPrice(**{key: either(value) for key, value in price.__dict__.items() if value is not None})


def theirs(provider: Provider, model: ModelInfo, usage: TokenUsage, instant: datetime) -> Decimal:
    standard = copy(model)
    if not isinstance(model.prices, ModelPrice):
        standard.prices = [c for c in model.prices if not isinstance(c.constraint, TimeOfDateConstraint)]
    standard.prices = rounded(standard.get_prices(instant))
    return standard.calc_price(as_their_usage(usage), provider, genai_request_timestamp=instant).total_price


def instants(entry: CatalogueEntry, index: int) -> tuple[datetime, datetime]:
    """The first and the last instant of a segment."""
    following = entry.segments[index + 1].effective_from if index + 1 < len(entry.segments) else None
    end = following or datetime(2100, 1, 1, tzinfo=UTC)
    return entry.segments[index].effective_from, end - timedelta(microseconds=1)


def differences(entry: CatalogueEntry, index: int, segment: Segment, source: random.Random) -> list[str]:
    if segment.prices is None:
        return []
    provider, model = MODELS[entry.provider, entry.model]
    compiled = CompiledPrice(segment.prices)
    found = []
    for instant in instants(entry, index):
        usage = random_usage(source)
        own_prices = compiled.cost(usage)
        with localcontext() as context:
            context.prec = 60
            expected = theirs(provider, model, usage, instant)
        if own_prices is None:
            assert not {PriceKind.INPUT, PriceKind.OUTPUT} <= set(segment.prices.unit_prices)
        elif own_prices != expected:
            found.append(f"{entry.provider}/{entry.model} at {instant}: {usage}: {own_prices} != {expected}")
    return found


@pytest.mark.parametrize("seed", range(3))
def test_every_model_of_the_catalogue_costs_what_genai_prices_says(seed: int) -> None:
    source = random.Random(seed)
    found = [
        difference
        for entry in CATALOGUE.entries
        for index, segment in enumerate(entry.segments)
        for difference in differences(entry, index, segment, source)
    ]
    assert found == []


def test_what_the_catalogue_cannot_say_is_listed() -> None:
    labels = {f"{entry.provider}/{entry.model}" for entry in CATALOGUE.entries}
    everything = {f"{provider}/{model}" for provider, model in MODELS}
    assert labels | set(CATALOGUE.skipped) == everything
    assert labels.isdisjoint(CATALOGUE.skipped)
    assert "openai/whisper-1" in CATALOGUE.skipped  # by the second
    assert set(CATALOGUE.time_of_day) <= labels
    assert "deepseek/deepseek-v4-flash" in CATALOGUE.time_of_day


def test_every_timeline_begins_at_the_beginning_and_goes_on_at_midnight_in_utc() -> None:
    for entry in CATALOGUE.entries:
        starts = [segment.effective_from for segment in entry.segments]
        assert starts[0] == BEGINNING
        assert starts == sorted(set(starts))
        assert all(start.tzinfo is UTC and start.hour == start.minute == 0 for start in starts)


def test_a_tier_of_the_catalogue_names_every_price_that_it_changes() -> None:
    entry = next(e for e in CATALOGUE.entries if (e.provider, e.model) == ("anthropic", "claude-sonnet-4-5"))
    prices = entry.segments[0].prices
    assert prices is not None
    (tier,) = prices.tiers
    assert tier.above_input_tokens == 200_000
    assert tier.unit_prices[PriceKind.CACHE_CREATION_1H] == 12
    assert prices.unit_prices[PriceKind.CACHE_CREATION_1H] == 6
