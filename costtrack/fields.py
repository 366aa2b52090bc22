"""Model fields that several models use."""

from decimal import Decimal

from django.db import models

from costtrack.money import DECIMALS, DIGITS, ZERO


def money_field(**options: Decimal) -> "models.DecimalField[Decimal, Decimal]":
    """A column for an exact amount of US dollars, 0 by default."""
    return models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS, default=ZERO, **options)  # type: ignore[arg-type]


def optional_money_field() -> "models.DecimalField[Decimal | None, Decimal | None]":
    """A column for an exact amount of US dollars, NULL if it is unknown."""
    return models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS, null=True)


def total_field() -> "models.DecimalField[Decimal, Decimal]":
    """A column for an exact sum of such amounts."""
    return models.DecimalField(max_digits=DIGITS + DECIMALS, decimal_places=DECIMALS, default=ZERO)
