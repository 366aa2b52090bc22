"""The table of kinds, and its conversion to the ledger's columns."""

from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.kinds import COLUMNS, KINDS, from_columns, output_tokens, prompt_tokens, to_columns
from billing.pricing.types import TOKEN_COUNTS, PriceKind, TokenUsage
from tests.profiles import examples

QUANTITIES = st.dictionaries(st.sampled_from(sorted(KINDS)), st.integers(1, 10**9))


def test_every_kind_names_its_unit_and_its_substitute() -> None:
    for kind in KINDS.values():
        assert not kind.like or kind.like in KINDS
        assert not kind.catalogue_key or kind.catalogue_per
        assert kind.per
        assert not kind.is_estimate or kind.like


def test_the_kinds_of_prices_are_kinds() -> None:
    assert {kind.value for kind in PriceKind} <= set(KINDS)


def test_the_columns_are_those_of_the_ledger() -> None:
    assert tuple(sorted(COLUMNS)) == tuple(sorted(TOKEN_COUNTS))


@given(QUANTITIES)
@examples(100)
def test_quantities_survive_the_ledger(quantities: dict[str, int]) -> None:
    columns, others = to_columns(quantities)

    assert from_columns(columns, others) == quantities


@given(QUANTITIES)
@examples(100)
def test_the_columns_include_their_parts(quantities: dict[str, int]) -> None:
    columns, _ = to_columns(quantities)

    assert TokenUsage(**columns).prompt_tokens == prompt_tokens(quantities)
    assert columns["output_tokens"] == output_tokens(quantities)
    assert columns["reasoning_tokens"] + columns["audio_output_tokens"] <= columns["output_tokens"]
    assert columns["audio_input_tokens"] <= columns["input_tokens"]
    assert columns["cache_creation_1h_tokens"] <= columns["cache_creation_tokens"]
