"""How pages write long numbers and names, and what has no price."""

from decimal import Decimal

import pytest

from billing.admin.components import formatting


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (999_999_999, "999,999,999"),
        (1_000_000_000, '<span title="1,000,000,000">1.00B</span>'),
        (2_652_268_283_495, '<span title="2,652,268,283,495">2.65T</span>'),
        (45_678_901_234, '<span title="45,678,901,234">45.7B</span>'),
        (999_999_999_999, '<span title="999,999,999,999">1,000B</span>'),
    ],
)
def test_long_numbers_are_short_with_all_digits_in_the_tooltip(number: int, expected: str) -> None:
    assert formatting.compact(number) == expected


def test_what_has_no_price_is_not_zero() -> None:
    assert formatting.cost(Decimal(0), 3) == "No price yet"
    assert formatting.cost(Decimal(2), 3) == "$2.00"
    assert formatting.cost(Decimal(0), 0) == "$0.00"


def test_long_names_are_cut_in_their_middle() -> None:
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0-with-a-very-long-suffix"
    short = formatting.middle(model)
    assert len(short) == 32
    assert (short[:10], short[-10:]) == (model[:10], model[-10:])
    assert formatting.name(model) == f'<span title="{model}">{short}</span>'
    assert formatting.name("gpt-4o") == "gpt-4o"
    assert "<script>" not in formatting.name("<script>" * 9)
    assert formatting.code("<b>" * 20).count("<") == 2
