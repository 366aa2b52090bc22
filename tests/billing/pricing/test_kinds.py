"""The table of kinds, and its conversion to the ledger's columns."""

from hypothesis import given
from hypothesis import strategies as st

from billing.models import PriceVersion, UsageEvent
from billing.pricing.kinds import (
    KINDS,
    PRICE_COLUMNS,
    TOKEN_COUNTS,
    from_columns,
    from_counts,
    output_tokens,
    prompt_tokens,
    quantities_as_json,
    quantities_from_json,
    to_columns,
)
from tests.profiles import examples

QUANTITIES = st.dictionaries(st.sampled_from(sorted(KINDS)), st.integers(1, 10**9))


def test_every_kind_names_its_unit_and_its_substitute() -> None:
    for kind in KINDS.values():
        assert not kind.like or kind.like in KINDS
        assert not kind.catalog_key or kind.catalog_per
        assert kind.per
        assert not kind.is_estimate or kind.like


def test_the_kinds_with_a_price_column_are_kinds() -> None:
    assert set(PRICE_COLUMNS) <= set(KINDS)
    assert set(PRICE_COLUMNS.values()) <= {field.name for field in PriceVersion._meta.get_fields()}


def test_the_columns_are_those_of_the_ledger() -> None:
    assert set(TOKEN_COUNTS) <= {field.name for field in UsageEvent._meta.get_fields()}


@given(QUANTITIES)
@examples(100)
def test_quantities_survive_the_ledger(quantities: dict[str, int]) -> None:
    columns, others = to_columns(quantities)

    assert from_columns(columns, quantities_from_json(quantities_as_json(others))) == quantities


@given(QUANTITIES)
@examples(100)
def test_counts_alone_are_read_quickly_and_alike(quantities: dict[str, int]) -> None:
    columns, _ = to_columns(quantities)

    assert from_counts([columns[name] for name in TOKEN_COUNTS]) == from_columns(columns, {})


@given(QUANTITIES)
@examples(100)
def test_the_columns_include_their_parts(quantities: dict[str, int]) -> None:
    columns, _ = to_columns(quantities)

    whole = columns["input_tokens"] + columns["cache_read_tokens"] + columns["cache_creation_tokens"]
    assert whole == prompt_tokens(quantities)
    assert columns["output_tokens"] == output_tokens(quantities)
    assert columns["reasoning_tokens"] + columns["audio_output_tokens"] <= columns["output_tokens"]
    assert columns["audio_input_tokens"] <= columns["input_tokens"]
    assert columns["cache_creation_1h_tokens"] <= columns["cache_creation_tokens"]
