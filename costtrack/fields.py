"""Model fields that several models use."""

from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.db import models

from costtrack.money import DECIMALS, DIGITS, ZERO


def dimension_field() -> "models.CharField[str, str]":
    """A column for a text that a caller may name, empty by default."""
    return models.CharField(max_length=255, blank=True, default="", db_default="")


def tags_field() -> "ArrayField[list[str], list[str]]":
    return ArrayField(
        models.CharField(max_length=255), default=list, db_default=models.Value([], ArrayField(models.CharField()))
    )


def money_field(**options: Decimal) -> "models.DecimalField[Decimal, Decimal]":
    """A column for an exact amount of US dollars, 0 by default."""
    return models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS, default=ZERO, **options)  # type: ignore[arg-type]


def optional_money_field() -> "models.DecimalField[Decimal | None, Decimal | None]":
    """A column for an exact amount of US dollars, NULL if it is unknown."""
    return models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS, null=True)


def total_field() -> "models.DecimalField[Decimal, Decimal]":
    """A column for an exact sum of such amounts."""
    return models.DecimalField(max_digits=DIGITS + DECIMALS, decimal_places=DECIMALS, default=ZERO)
