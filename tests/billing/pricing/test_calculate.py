"""The cost of a call: exact, every token once, unknown instead of zero."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.calculate import CompiledPrice, calculate
from billing.pricing.types import PriceKind, PriceLine, Tier, TokenUsage, UnitPrices
from billing.types import UnpricedReason

K = PriceKind

# As the columns of PriceVersion hold them: 12 digits before the point, 12 after it.
unit_price = st.decimals(min_value=0, max_value=10**11, places=12)
price_maps = st.dictionaries(st.sampled_from(list(PriceKind)), unit_price)
counts = st.integers(min_value=0, max_value=2**53)


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    """Valid usage: totals include their parts."""
    creation, reasoning, audio_out, audio_in = draw(counts), draw(counts), draw(counts), draw(counts)
    return TokenUsage(
        input_tokens=audio_in + draw(counts),
        output_tokens=reasoning + audio_out + draw(counts),
        cache_read_tokens=draw(counts),
        cache_creation_tokens=creation,
        cache_creation_1h_tokens=draw(st.integers(min_value=0, max_value=creation)),
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_in,
        audio_output_tokens=audio_out,
    )


@st.composite
def price_lists(draw: st.DrawFn) -> UnitPrices:
    thresholds = sorted(draw(st.sets(st.integers(min_value=1, max_value=2**54), max_size=3)))
    return UnitPrices(draw(price_maps), tuple(Tier(threshold, draw(price_maps)) for threshold in thresholds))


def usd(calculation_prices: UnitPrices, usage: TokenUsage) -> Decimal | None:
    return calculate(calculation_prices, usage).total_usd


def kinds(lines: tuple[PriceLine, ...]) -> dict[PriceKind, int]:
    return {line.kind: line.quantity for line in lines}


# --- Properties ------------------------------------------------------------------------------------------------


@given(price_lists(), usages(), st.integers(min_value=0, max_value=1000))
def test_the_lines_add_up_to_the_total_exactly(prices: UnitPrices, usage: TokenUsage, requests: int) -> None:
    calculation = calculate(prices, usage, requests=requests)
    with localcontext() as context:
        context.prec = 100
        total = sum((line.amount_usd for line in calculation.lines), Decimal(0))
        units = {kind: 1 if kind is K.REQUEST else 1_000_000 for kind in PriceKind}
        for line in calculation.lines:
            assert line.amount_usd == line.unit_price_usd * line.quantity / units[line.kind]
            assert line.quantity > 0
    if calculation.reason is None:
        assert calculation.total_usd == total
    else:
        assert (calculation.total_usd, calculation.lines) == (None, ())


@given(price_lists(), usages(), st.integers(min_value=0, max_value=1000))
def test_the_fast_path_equals_the_explained_one(prices: UnitPrices, usage: TokenUsage, requests: int) -> None:
    compiled = CompiledPrice(prices)
    assert compiled.cost(usage, requests=requests) == compiled.calculate(usage, requests=requests).total_usd


@given(price_lists(), usages())
def test_a_cost_is_never_negative(prices: UnitPrices, usage: TokenUsage) -> None:
    total = usd(prices, usage)
    assert total is None or total >= 0


TOTALS_AND_PARTS = {
    "input_tokens": (),
    "output_tokens": (),
    "cache_read_tokens": (),
    "cache_creation_tokens": (),
    "reasoning_tokens": ("output_tokens",),
    "audio_input_tokens": ("input_tokens",),
    "audio_output_tokens": ("output_tokens",),
    "cache_creation_1h_tokens": ("cache_creation_tokens",),
}


@given(price_maps, usages(), st.sampled_from(sorted(TOTALS_AND_PARTS)), st.integers(min_value=1, max_value=2**53))
def test_more_tokens_never_cost_less_at_a_fixed_tier(
    unit_prices: dict[PriceKind, Decimal], usage: TokenUsage, field: str, more: int
) -> None:
    """A part increases its total: another reasoning token is another output token."""
    prices = UnitPrices(unit_prices)
    fields = {name: getattr(usage, name) for name in TOTALS_AND_PARTS}
    for name in (field, *TOTALS_AND_PARTS[field]):
        fields[name] += more
    before, after = usd(prices, usage), usd(prices, TokenUsage(**fields))
    assert before is None or after is None or after >= before


@given(unit_price, usages(), st.sets(st.sampled_from(list(PriceKind))))
def test_with_one_price_for_everything_each_token_is_charged_once(
    price: Decimal, usage: TokenUsage, given_kinds: set[PriceKind]
) -> None:
    """For any choice of kinds with an own price and kinds that fall back to it."""
    kinds_with_price = (given_kinds | {K.INPUT, K.OUTPUT}) - {K.REQUEST}
    total = usd(UnitPrices(dict.fromkeys(kinds_with_price, price)), usage)
    with localcontext() as context:
        context.prec = 100
        assert total == price * (usage.prompt_tokens + usage.output_tokens) / 1_000_000


# --- The rules, one by one -------------------------------------------------------------------------------------

CLAUDE = UnitPrices(
    {
        K.INPUT: Decimal(3),
        K.OUTPUT: Decimal(15),
        K.CACHE_READ: Decimal("0.3"),
        K.CACHE_CREATION: Decimal("3.75"),
        K.CACHE_CREATION_1H: Decimal(6),
    },
    (Tier(200_000, {K.INPUT: Decimal(6), K.OUTPUT: Decimal("22.5")}),),
)


def test_every_kind_of_cache_token_has_its_own_price() -> None:
    usage = TokenUsage(
        input_tokens=1000,
        output_tokens=1000,
        cache_read_tokens=1000,
        cache_creation_tokens=3000,
        cache_creation_1h_tokens=1000,
    )
    calculation = calculate(CLAUDE, usage)
    assert calculation.lines == (
        PriceLine(K.INPUT, 1000, Decimal(3), Decimal("0.003")),
        PriceLine(K.OUTPUT, 1000, Decimal(15), Decimal("0.015")),
        PriceLine(K.CACHE_READ, 1000, Decimal("0.3"), Decimal("0.0003")),
        PriceLine(K.CACHE_CREATION, 2000, Decimal("3.75"), Decimal("0.0075")),
        PriceLine(K.CACHE_CREATION_1H, 1000, Decimal(6), Decimal("0.006")),
    )
    assert calculation.total_usd == Decimal("0.0318")


@pytest.mark.parametrize(
    ("unit_prices", "expected"),
    [
        ({K.INPUT: Decimal(1)}, Decimal("0.000003")),
        ({K.INPUT: Decimal(1), K.CACHE_CREATION: Decimal(10)}, Decimal("0.000021")),
        ({K.INPUT: Decimal(1), K.CACHE_CREATION_1H: Decimal(10)}, Decimal("0.000012")),
        ({K.INPUT: Decimal(1), K.CACHE_READ: Decimal(0)}, Decimal("0.000002")),
    ],
)
def test_a_cache_token_without_a_price_falls_back(unit_prices: dict[PriceKind, Decimal], expected: Decimal) -> None:
    """One read, one 5-minute write, one 1-hour write."""
    usage = TokenUsage(cache_read_tokens=1, cache_creation_tokens=2, cache_creation_1h_tokens=1)
    assert usd(UnitPrices(unit_prices), usage) == expected


def test_a_part_without_a_price_stays_in_the_line_of_its_whole() -> None:
    usage = TokenUsage(
        input_tokens=10, output_tokens=20, reasoning_tokens=5, audio_input_tokens=4, audio_output_tokens=3
    )
    plain = UnitPrices({K.INPUT: Decimal(1), K.OUTPUT: Decimal(2)})
    assert kinds(calculate(plain, usage).lines) == {K.INPUT: 10, K.OUTPUT: 20}
    own = UnitPrices({**plain.unit_prices, K.REASONING: Decimal(3), K.AUDIO_INPUT: Decimal(4)})
    assert kinds(calculate(own, usage).lines) == {K.INPUT: 6, K.OUTPUT: 15, K.REASONING: 5, K.AUDIO_INPUT: 4}


@pytest.mark.parametrize(
    ("prompt", "total"),
    [
        ({"input_tokens": 200_000}, Decimal("0.6")),
        ({"input_tokens": 200_001}, Decimal("1.200006")),
        ({"input_tokens": 1, "cache_read_tokens": 200_000}, Decimal("0.060006")),
        ({"input_tokens": 1, "cache_creation_tokens": 200_000}, Decimal("0.750006")),
    ],
)
def test_a_tier_is_chosen_by_the_whole_prompt_and_holds_for_all_of_it(prompt: dict[str, int], total: Decimal) -> None:
    """Kinds without a price in the tier (the caches here) keep the base price."""
    assert usd(CLAUDE, TokenUsage(**prompt)) == total


def test_of_several_tiers_the_highest_one_reached_holds() -> None:
    tiers = (Tier(100, {K.INPUT: Decimal(2)}), Tier(200, {K.INPUT: Decimal(3)}))
    prices = UnitPrices({K.INPUT: Decimal(1)}, tiers)
    totals = [usd(prices, TokenUsage(tokens)) for tokens in (100, 101, 201)]
    assert totals == [Decimal("0.0001"), Decimal("0.000202"), Decimal("0.000603")]


def test_a_token_without_any_price_makes_the_cost_unknown_and_not_zero() -> None:
    calculation = calculate(UnitPrices({K.INPUT: Decimal(1)}), TokenUsage(input_tokens=5, output_tokens=1))
    assert calculation.total_usd is None
    assert calculation.reason is UnpricedReason.NO_UNIT_PRICE
    assert calculation.lines == ()


def test_zero_tokens_need_no_price_and_make_no_line() -> None:
    calculation = calculate(UnitPrices({K.INPUT: Decimal(1)}), TokenUsage(input_tokens=5))
    assert kinds(calculation.lines) == {K.INPUT: 5}
    assert calculate(UnitPrices({}), TokenUsage()).total_usd == 0


def test_a_request_is_charged_beside_its_tokens() -> None:
    prices = UnitPrices({K.INPUT: Decimal(1), K.REQUEST: Decimal("0.012")})
    assert usd(prices, TokenUsage(input_tokens=1_000_000)) == Decimal("1.012")
    assert calculate(prices, TokenUsage(), requests=3).lines == (
        PriceLine(K.REQUEST, 3, Decimal("0.012"), Decimal("0.036")),
    )
    assert usd(prices, TokenUsage()) == Decimal("0.012")
    assert calculate(prices, TokenUsage(), requests=0).lines == ()


def test_a_free_kind_has_a_line_and_costs_nothing() -> None:
    calculation = calculate(UnitPrices({K.INPUT: Decimal(0)}), TokenUsage(input_tokens=7))
    assert kinds(calculation.lines) == {K.INPUT: 7}
    assert calculation.total_usd == 0


def test_the_ambient_decimal_context_does_not_matter() -> None:
    usage = TokenUsage(input_tokens=123_456_789)
    with localcontext() as context:
        context.prec = 2
        assert usd(UnitPrices({K.INPUT: Decimal("1.234567890123")}), usage) == Decimal("152.415787517090395047")


def test_a_unit_price_finer_than_a_row_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="12 decimals"):
        CompiledPrice(UnitPrices({K.INPUT: Decimal("0.0000000000001")}))
