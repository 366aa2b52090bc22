"""How amounts are written for people, and stored."""

from decimal import Decimal

import pytest

from costtrack.money import plain, to_storable, usd


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("0", "$0.00"),
        ("0E-24", "$0.00"),
        ("12.5", "$12.50"),
        ("1234567.891", "$1,234,567.89"),
        ("0.1", "$0.10"),
        ("0.01234", "$0.0123"),
        ("0.0000123", "$0.0000123"),
        ("0.00000749999999999999", "$0.0000075"),
        ("-0.5", "-$0.50"),
        ("-1234.5", "-$1,234.50"),
    ],
)
def test_amounts_have_three_significant_digits_and_at_least_cents(amount: str, written: str) -> None:
    assert usd(Decimal(amount)) == written


@pytest.mark.parametrize(
    ("last_digits", "stored"), [("49", "4"), ("5", "4"), ("51", "5"), ("6", "5"), ("99", "5"), ("75", "5")]
)
def test_amounts_are_rounded_to_24_decimals_and_a_half_to_the_even_digit(last_digits: str, stored: str) -> None:
    zeros = "0" * 23
    assert plain(to_storable(Decimal(f"0.{zeros}4{last_digits}"))) == f"0.{zeros}{stored}"
