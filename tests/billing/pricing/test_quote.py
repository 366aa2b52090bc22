"""Quotes: lines, conditions, missing unit prices, agreements, and which cost counts."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.agreements import Agreement
from billing.pricing.canonical import CanonicalModel, canonical_model
from billing.pricing.conditions import Condition, Rates, normalized_attributes
from billing.pricing.cost_choice import choose_cost
from billing.pricing.declared_prices import CONDITIONS, SUBSTITUTES, SUPPLEMENTS
from billing.pricing.kind_prices import KindPrices
from billing.pricing.kinds import KINDS, TOKEN_KINDS, Quantities, Unit
from billing.pricing.quote import (
    CompiledPrices,
    Quote,
    calculate_cost,
    calculate_quote,
    list_prices,
    quote_calls,
)
from billing.types import CostBasis, Exactness, UnpricedReason
from tests.profiles import examples

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
MODEL = CanonicalModel("acme", "acme", "model-1", "model-1")


def quote(
    service: str,
    model: str,
    quantities: Quantities,
    at: datetime = AT,
    agreement: Agreement | None = None,
    *,
    attributes: Mapping[str, str] | None = None,
) -> Quote:
    canonical = canonical_model(service, model, at.date())
    assert canonical is not None
    agreements = [agreement] if agreement is not None else []
    return calculate_quote(quantities, model=canonical, attributes=attributes or {}, at=at, agreements=agreements)


def total(
    service: str,
    model: str,
    quantities: Quantities,
    at: datetime = AT,
    *,
    attributes: Mapping[str, str] | None = None,
) -> Decimal | None:
    return quote(service, model, quantities, at, attributes=attributes).total_usd


MILLION_EACH = {"input": 1_000_000, "output": 1_000_000}

# (service, model, attributes, USD of a million in and a million out)
CONDITION_CASES = [
    ("anthropic", "claude-sonnet-4-6", {"service_tier": "batch"}, "9"),
    ("anthropic", "claude-opus-4-6", {"speed": "fast"}, "180"),
    ("anthropic", "claude-opus-5-5", {"speed": "fast"}, "48"),
    ("anthropic", "claude-opus-5-5", {"region": "us"}, "26.4"),
    ("anthropic", "claude-opus-5-5", {"region": "us", "service_tier": "batch"}, "13.2"),
    ("anthropic", "claude-opus-4-5", {"region": "us"}, "30"),
    ("anthropic", "claude-opus-5-5", {"service_tier": "standard", "region": "global"}, "24"),
    ("openai", "gpt-4o", {"service_tier": "priority"}, "21.25"),
    ("openai", "gpt-4o", {"service_tier": "fast"}, "21.25"),
    ("openai", "gpt-4o", {"service_tier": "default"}, "12.5"),
    ("openai", "gpt-4o", {"service_tier": "batch"}, "6.25"),
    ("openai", "o3", {"service_tier": "flex"}, "5"),
    ("openai", "gpt-4o", {"region": "eu"}, "12.5"),
    ("azure", "azure/us/gpt-4o", {}, "13.75"),
    ("azure", "azure/apac/gpt-6.1-sol", {}, "14.4"),
    ("azure", "gpt-4o", {"region": "swedencentral"}, "12.5"),
    ("vertex_ai", "gemini-2.5-flash", {"service_tier": "PROVISIONED_THROUGHPUT"}, "0"),
    ("vertex_ai", "gemini-2.5-flash", {"service_tier": "ON_DEMAND"}, "2.8"),
    ("vertex_ai", "claude-sonnet-4-5@20250929", {}, "18"),
    ("vertex_ai", "claude-sonnet-4-5@20250929", {"region": "us-east5"}, "19.8"),
    ("vertex_ai", "projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5", {}, "19.8"),
    ("vertex_ai", "projects/p/locations/global/publishers/anthropic/models/claude-sonnet-4-5", {}, "18"),
    ("vertex_ai", "gemini-2.5-flash", {"region": "us-central1"}, "2.8"),
    ("bedrock", "us.amazon.nova-pro-v1:0", {}, "4"),
    ("bedrock", "amazon.nova-pro-v1:0", {"region": "us-east-1"}, "4"),
    ("bedrock", "eu.amazon.nova-pro-v1:0", {}, "5.25"),
    ("bedrock", "us-gov.amazon.nova-pro-v1:0", {}, "4.8"),
    ("bedrock", "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", {}, "21.6"),
    ("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", {"region": "eu-west-1"}, "19.8"),
    ("bedrock", "us.amazon.nova-pro-v1:0", {"service_tier": "flex"}, "2"),
    ("bedrock", "us-gov-west-1/amazon.nova-pro-v1:0", {}, "4.8"),
    ("openai", "gpt-realtime-2.1", {"region": "eu"}, "30.8"),
    ("xai", "grok-code-fast-1", {}, "3"),
]


@pytest.mark.parametrize(("service", "model", "attributes", "usd"), CONDITION_CASES)
def test_conditions_change_the_price(service: str, model: str, attributes: dict[str, str], usd: str) -> None:
    small = {kind: quantity // 100_000 for kind, quantity in MILLION_EACH.items()}

    assert total(service, model, small, attributes=attributes) == Decimal(usd) / 100_000


@pytest.mark.parametrize(
    ("service", "model", "attributes", "attribute"),
    [
        ("anthropic", "claude-opus-5-5", {"service_tier": "priority"}, "service_tier"),
        ("anthropic", "claude-haiku-4-5", {"speed": "fast"}, "speed"),
        ("openai", "gpt-4o", {"service_tier": "novel"}, "service_tier"),
        ("azure", "azure/apac/gpt-4o", {}, "region"),
        ("bedrock", "bedrock/eu-west-2/meta.llama3-70b-instruct-v1:0", {}, "region"),
        ("bedrock", "bedrock/us-gov-west-1/meta.llama3-8b-instruct-v1:0", {}, "region"),
        ("bedrock", "eu-west-2/meta.llama3-70b-instruct-v1:0", {}, "region"),
        ("azure", "us-gov/text-embedding-3-large", {}, "region"),
        ("openai", "gpt-realtime-2.1-mini", {"region": "eu"}, "region"),
    ],
)
def test_a_condition_without_a_price_leaves_the_cost_unknown(
    service: str, model: str, attributes: dict[str, str], attribute: str
) -> None:
    found = quote(service, model, {"input": 10}, attributes=attributes)

    assert (found.total_usd, found.reason, found.unknown) == (None, UnpricedReason.NO_CONDITION_PRICE, (attribute,))


def test_the_hour_decides() -> None:
    cheap, expensive = AT, AT.replace(hour=8)

    assert total("deepseek", "deepseek-v4-pro", {"input": 1000, "output": 500}, cheap) == Decimal("0.00165")
    assert total("deepseek", "deepseek-v4-pro", {"input": 1000, "output": 500}, expensive) == Decimal("0.0033")
    applied = quote("deepseek", "deepseek-v4-pro", {"input": 1000}, expensive).conditions
    assert [(condition.attribute, condition.value) for condition in applied] == [("hours", "06:00-10:00")]


def test_the_price_of_an_hour_begins_with_the_dated_price_that_it_belongs_to() -> None:
    before = datetime(2026, 7, 1, 8, tzinfo=UTC)

    assert total("deepseek", "deepseek-v4-pro", {"input": 1_000_000}, before) == Decimal("0.435")


def test_a_tier_applies_to_all_tokens_of_the_call() -> None:
    at_edge = quote("openai", "gpt-5.4", {"input": 200_000, "cache_read": 72_000, "output": 1000})
    above = quote("openai", "gpt-5.4", {"input": 200_000, "cache_read": 72_001, "output": 1000})

    assert (at_edge.total_usd, at_edge.tier_above) == (Decimal("0.533"), None)
    assert (above.total_usd, above.tier_above) == (Decimal("1.0585005"), 272_000)


@pytest.mark.parametrize(
    ("service", "model", "size", "usd"),
    [
        ("bedrock", "anthropic.claude-sonnet-4-20250514-v1:0", 200_000, "0.615"),
        ("bedrock", "anthropic.claude-sonnet-4-20250514-v1:0", 200_001, "1.222506"),
        ("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", 300_000, "2.00475"),
        ("bedrock", "openai.gpt-5.4", 300_000, "1.67475"),
    ],
)
def test_the_price_of_a_long_context_that_the_catalog_lacks_is_declared(
    service: str, model: str, size: int, usd: str
) -> None:
    assert total(service, model, {"input": size, "output": 1000}) == Decimal(usd)


def test_each_request_of_an_event_has_its_own_tier() -> None:
    canonical = canonical_model("anthropic", "claude-sonnet-4-5", AT.date())
    assert canonical is not None
    calls = ({"input": 150_000}, {"input": 180_000})

    both = quote_calls(calls, model=canonical, attributes={}, at=AT)

    assert both.total_usd == Decimal("0.99")


@pytest.mark.parametrize("kind", ["audio_input", "image_output", "video_input", "web_search", "image", "citation"])
def test_a_kind_without_a_price_of_its_own_leaves_the_cost_unknown(kind: str) -> None:
    found = quote("groq", "llama-3.3-70b-versatile", {"input": 10, kind: 5})

    assert (found.total_usd, found.reason, found.unknown) == (None, UnpricedReason.NO_UNIT_PRICE, (kind,))


def test_reasoning_costs_what_output_does() -> None:
    found = quote("openai", "gpt-5.4", {"input": 10, "output": 5, "reasoning": 7})

    assert [(line.kind, line.priced_as, line.is_estimate) for line in found.lines] == [
        ("input", "", False),
        ("output", "", False),
        ("reasoning", "output", False),
    ]


def test_a_cache_without_a_price_is_an_estimate() -> None:
    unpriced_writes = quote("openrouter", "anthropic/claude-sonnet-4.5", {"cache_creation_1h": 10_000})
    unpriced_reads = quote("groq", "llama-3.3-70b-versatile", {"cache_read": 1_000_000})

    assert (unpriced_writes.total_usd, unpriced_writes.is_estimate) == (Decimal("0.06"), True)
    assert (unpriced_reads.total_usd, unpriced_reads.is_estimate) == (Decimal("0.59"), True)


def test_media_that_providers_price_as_text_are_no_estimate() -> None:
    found = quote("gemini", "gemini-2.5-pro", {"input": 1000, "image_input": 258, "output": 10})

    assert (found.total_usd, found.is_estimate) == (Decimal("0.0016725"), False)


def test_a_request_is_charged_once_by_its_search_context() -> None:
    assert total("perplexity", "sonar", {"input": 1000, "output": 200}) == Decimal("0.0062")
    assert total(
        "perplexity", "sonar", {"input": 1000, "output": 200}, attributes={"search_context": "high"}
    ) == Decimal("0.0132")
    assert total("openai", "gpt-4o-search-preview", {"input": 1000, "output": 200}) == Decimal("0.0295")


def test_seconds_cost_a_part_of_an_hour() -> None:
    assert total("groq", "whisper-large-v3", {"audio_input_seconds": Decimal("90.5")}) == Decimal(
        "0.002790416666666666666667"
    )


def test_a_recording_below_the_minimum_has_no_known_cost() -> None:
    assert quote("groq", "whisper-large-v3", {"audio_input_seconds": 9}).reason is UnpricedReason.NO_UNIT_PRICE


QUANTITIES = st.dictionaries(
    st.sampled_from(
        ["input", "output", "reasoning", "cache_read", "cache_creation", "cache_creation_1h", "web_search"]
    ),
    st.integers(0, 10**7),
)
ATTRIBUTES = st.sampled_from(
    [{}, {"service_tier": "batch"}, {"speed": "fast"}, {"region": "us"}, {"region": "us", "service_tier": "batch"}]
)


MODELS = st.sampled_from(
    [
        ("anthropic", "claude-opus-5-5"),
        ("anthropic", "claude-sonnet-4-5"),
        ("openai", "gpt-5.4"),
        ("openai", "gpt-4o"),
        ("google", "gemini-2.5-flash"),
        ("deepseek", "deepseek-v4-pro"),
        ("bedrock", "us.amazon.nova-pro-v1:0"),
        ("perplexity", "sonar-pro"),
    ]
)
HOURS = st.integers(0, 23)


@given(MODELS, QUANTITIES, ATTRIBUTES, HOURS)
@examples(200)
def test_the_lines_add_up_and_have_every_quantity_once(
    model: tuple[str, str], quantities: dict[str, int], attributes: dict[str, str], hour: int
) -> None:
    """Conditions of a call change prices, never a quantity."""
    found = quote(*model, quantities, AT.replace(hour=hour), attributes=attributes)
    if found.reason is not None:
        assert (found.lines, found.total_usd) == ((), None)
        assert found.unknown
        return

    assert sum(line.amount_usd for line in found.lines) == found.total_usd
    counted = [line for line in found.lines if KINDS[line.kind].unit is not Unit.REQUESTS]
    assert {line.kind: line.quantity for line in counted} == {
        kind: quantity for kind, quantity in quantities.items() if quantity
    }
    assert len(found.lines) == len({line.kind for line in found.lines})
    for line in found.lines:
        assert line.amount_usd == line.quantity * line.unit_price_usd / KINDS[line.kind].per


@given(QUANTITIES, ATTRIBUTES)
@examples(100)
def test_the_fast_calculation_is_equal(quantities: dict[str, int], attributes: dict[str, str]) -> None:
    canonical = canonical_model("anthropic", "claude-opus-5-5", AT.date())
    assert canonical is not None
    slow = calculate_quote(quantities, model=canonical, attributes=attributes, at=AT)
    fast = calculate_cost(quantities, model=canonical, attributes=attributes, at=AT)

    assert (fast.total_usd, fast.reason, fast.unknown, fast.is_estimate) == (
        slow.total_usd,
        slow.reason,
        slow.unknown,
        slow.is_estimate,
    )


@given(QUANTITIES, ATTRIBUTES)
@examples(50)
def test_the_plain_cost_is_equal_where_there_is_one(quantities: dict[str, int], attributes: dict[str, str]) -> None:
    canonical = canonical_model("anthropic", "claude-opus-5-5", AT.date())
    prices = list_prices(canonical, AT.date()) if canonical is not None else None
    assert prices is not None

    assert prices.plain_cost(quantities, normalized_attributes(attributes), AT) == (
        quote("anthropic", "claude-opus-5-5", quantities, attributes=attributes).total_usd
    )


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5))
@examples(50)
def test_the_cost_of_text_alone_is_equal(uncached: int, cached: int, output: int) -> None:
    quantities = {"input": uncached, "cache_read": cached, "output": output}
    for service, model in (("openai", "gpt-5.4"), ("anthropic", "claude-opus-5-5"), ("google", "gemini-2.5-flash")):
        canonical = canonical_model(service, model, AT.date())
        prices = list_prices(canonical, AT.date()) if canonical is not None else None
        assert prices is not None
        assert prices.text_cost(uncached, cached, output, AT) == quote(service, model, quantities).total_usd


@pytest.mark.parametrize(
    ("service", "model"),
    [("deepseek", "deepseek-v4-pro"), ("groq", "llama-3.3-70b-versatile"), ("bedrock", "eu.amazon.nova-pro-v1:0")],
)
def test_a_price_by_the_hour_the_region_or_with_estimates_is_no_price_of_text_alone(service: str, model: str) -> None:
    canonical = canonical_model(service, model, AT.date())
    prices = list_prices(canonical, AT.date()) if canonical is not None else None
    assert prices is not None
    assert prices.text_cost(10, 10, 10, AT) is None


def test_what_is_not_plain_has_no_plain_cost() -> None:
    cases = [
        ("groq", "llama-3.3-70b-versatile", {"cache_read": 5}, {}),
        ("groq", "llama-3.3-70b-versatile", {"audio_input": 5}, {}),
        ("groq", "whisper-large-v3", {"audio_input_seconds": Decimal("90.5")}, {}),
        ("anthropic", "claude-opus-5-5", {"input": 5}, {"service_tier": "novel"}),
    ]
    for service, model, quantities, options in cases:
        canonical = canonical_model(service, model, AT.date())
        prices = list_prices(canonical, AT.date()) if canonical is not None else None
        assert prices is not None
        assert prices.plain_cost(quantities, options, AT) is None  # type: ignore[arg-type]


@given(MODELS, QUANTITIES, ATTRIBUTES)
@examples(100)
def test_a_discount_of_nothing_changes_nothing(
    model: tuple[str, str], quantities: dict[str, int], attributes: dict[str, str]
) -> None:
    without = quote(*model, quantities, attributes=attributes)
    discounted = quote(*model, quantities, AT, Agreement("*"), attributes=attributes)

    assert discounted == without


def test_a_discount_leaves_the_list_price_on_the_line() -> None:
    agreement = Agreement("anthropic", ("claude-*",), Decimal(15))

    found = quote("anthropic", "claude-opus-5-5", {"input": 1_000_000}, AT, agreement)

    assert (found.total_usd, found.list_total_usd) == (Decimal("3.4"), Decimal(4))
    assert (found.lines[0].unit_price_usd, found.lines[0].list_unit_price_usd) == (Decimal("3.4"), Decimal(4))


def test_an_agreed_unit_price_changes_with_conditions_as_the_list_does() -> None:
    agreement = Agreement("anthropic", unit_prices={"input": Decimal(3)})

    standard = quote("anthropic", "claude-opus-5-5", {"input": 1_000_000, "output": 10}, AT, agreement)
    batch = quote(
        "anthropic", "claude-opus-5-5", {"input": 1_000_000}, AT, agreement, attributes={"service_tier": "batch"}
    )

    assert (standard.lines[0].amount_usd, standard.lines[1].amount_usd) == (3, Decimal("0.0002"))
    assert batch.total_usd == Decimal("1.5")


def test_an_agreement_holds_for_its_provider_models_kinds_and_days() -> None:
    agreement = Agreement(
        "openai", ("gpt-4*",), Decimal(50), kinds=("input",), starts_at=AT - timedelta(days=1), ends_at=AT
    )
    before = AT - timedelta(microseconds=1)

    assert agreement.covers("openai", "gpt-4o", before)
    assert not agreement.covers("openai", "gpt-4o", AT)
    assert not agreement.covers("openai", "gpt-5", before)
    assert not agreement.covers("azure", "gpt-4o", before)
    assert agreement.unit_price("input", Decimal(2), Decimal(2)) == 1
    assert agreement.unit_price("output", Decimal(2), Decimal(2)) == 2
    with pytest.raises(ValueError, match="between 0 and 100"):
        Agreement("openai", discount_percent=Decimal(101))


COMPUTED = Quote(MODEL, total_usd=Decimal(3), list_total_usd=Decimal(4))
UNKNOWN = Quote(MODEL, reason=UnpricedReason.NO_UNIT_PRICE, unknown=("audio_input",))


@pytest.mark.parametrize(
    ("found", "costs", "is_flagged", "basis", "amount", "exactness"),
    [
        (COMPUTED, ("9", "8", "7"), False, CostBasis.PROVIDER, "9", Exactness.REPORTED),
        (COMPUTED, (None, "8", "7"), False, CostBasis.SENDER, "8", Exactness.REPORTED),
        (COMPUTED, (None, None, "7"), False, CostBasis.COMPUTED, "3", Exactness.COMPUTED),
        (COMPUTED, (None, None, "7"), True, CostBasis.GATEWAY, "7", Exactness.ESTIMATED),
        (COMPUTED, (None, None, None), True, CostBasis.COMPUTED, "3", Exactness.FLAGGED),
        (UNKNOWN, (None, None, "7"), False, CostBasis.GATEWAY, "7", Exactness.ESTIMATED),
        (UNKNOWN, (None, None, None), False, CostBasis.UNKNOWN, None, Exactness.UNKNOWN),
        (UNKNOWN, ("0", None, None), False, CostBasis.PROVIDER, "0", Exactness.REPORTED),
    ],
)
def test_which_cost_counts(
    found: Quote,
    costs: tuple[str | None, ...],
    is_flagged: bool,  # noqa: FBT001 - a column of the table
    basis: CostBasis,
    amount: str | None,
    exactness: Exactness,
) -> None:
    provider, sender, gateway = (None if cost is None else Decimal(cost) for cost in costs)

    choice = choose_cost(found, provider_usd=provider, sender_usd=sender, gateway_usd=gateway, is_flagged=is_flagged)

    assert (choice.basis, choice.exactness) == (basis, exactness)
    assert choice.amount_usd == (None if amount is None else Decimal(amount))


def test_a_discount_applies_to_estimates_and_never_to_a_bill() -> None:
    agreement = Agreement("acme", discount_percent=Decimal(10))

    estimate = choose_cost(UNKNOWN, gateway_usd=Decimal(10), agreement=agreement)
    bill = choose_cost(UNKNOWN, provider_usd=Decimal(10), agreement=agreement)

    assert (estimate.amount_usd, estimate.list_usd) == (9, 10)
    assert (bill.amount_usd, bill.list_usd) == (10, 10)


def test_the_first_condition_of_an_attribute_counts() -> None:
    prices = KindPrices(
        Rates({"input": Decimal(1), "output": Decimal(2)}),
        (
            Condition("service_tier", ("batch",), rates=Rates({"input": Decimal("0.4")})),
            Condition("service_tier", ("batch",), rates=Rates({"input": Decimal(9), "output": Decimal("0.9")})),
            Condition("service_tier", ("*",), factor=Fraction(1, 2)),
            Condition("speed", ("fast",), factor=Fraction(2), starts=date(2026, 1, 1), ends=date(2026, 12, 1)),
        ),
    )
    compiled = CompiledPrices(MODEL, prices)

    def unit_prices(at: datetime, **attributes: str) -> list[Decimal]:
        found = calculate_quote({"input": 1, "output": 1}, model=MODEL, attributes=attributes, at=at, prices=compiled)
        return [line.unit_price_usd for line in found.lines]

    assert unit_prices(AT) == [1, 2]
    assert unit_prices(AT, service_tier="batch") == [Decimal("0.4"), Decimal("0.9")]
    assert unit_prices(AT, service_tier="other") == [Decimal("0.5"), 1]
    assert unit_prices(AT, service_tier="batch", speed="fast") == [Decimal("0.8"), Decimal("1.8")]
    assert unit_prices(datetime(2026, 12, 1, tzinfo=UTC), speed="fast") == []


def test_conditions_have_one_spelling() -> None:
    assert normalized_attributes({"service_tier": "On-Demand-Flex", "speed": "standard", "region": None}) == {
        "service_tier": "flex"
    }
    assert normalized_attributes({"service_tier": "PROVISIONED_THROUGHPUT", "region": "US-East-1"}) == {
        "service_tier": "provisioned",
        "region": "us-east-1",
    }


def test_what_is_declared_names_its_kinds_and_its_source() -> None:
    kinds = {kind for entry in SUPPLEMENTS for kind in entry.unit_prices}
    kinds |= {kind for entry in SUBSTITUTES for kind in (*entry.kinds, entry.like)}

    assert kinds <= set(KINDS)
    assert all(entry.source for entry in (*SUPPLEMENTS, *SUBSTITUTES, *CONDITIONS))
    assert all(condition.checked for condition in CONDITIONS)
    assert all(
        kind in TOKEN_KINDS for condition in CONDITIONS if condition.rates for kind in condition.rates.unit_prices
    )
