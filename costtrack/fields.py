"""Column types that more than one model uses."""

from decimal import Decimal

from django.db import models

from costtrack.money import DECIMALS, DIGITS, ZERO


def money_field(**options: Decimal) -> "models.DecimalField[Decimal, Decimal]":
    """A column for an exact amount of US dollars; nothing said is nothing."""
    return models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS, default=ZERO, **options)  # type: ignore[arg-type]


def optional_money_field() -> "models.DecimalField[Decimal | None, Decimal | None]":
    """A column for an exact amount of US dollars that may be unknown."""
    return models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS, null=True)


def total_field() -> "models.DecimalField[Decimal, Decimal]":
    """A column for an exact sum of any number of such amounts."""
    return models.DecimalField(max_digits=DIGITS + DECIMALS, decimal_places=DECIMALS, default=ZERO)
