"""Column types that more than one model uses."""

from decimal import Decimal

from django.db import models

from costtrack.money import DECIMALS, DIGITS, ZERO


def money_field() -> "models.DecimalField[Decimal, Decimal]":
    """A column for an exact amount of US dollars; nothing said is nothing."""
    return models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS, default=ZERO)


def optional_money_field() -> "models.DecimalField[Decimal | None, Decimal | None]":
    """A column for an exact amount of US dollars that may be unknown."""
    return models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS, null=True)
