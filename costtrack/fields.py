"""Model fields that several models use."""

from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from costtrack.money import DECIMALS, DIGITS, ZERO


def dimension_field() -> "models.CharField[str, str]":
    """A column for a text that a caller may name, empty by default."""
    return models.CharField(max_length=255, blank=True, default="", db_default="")


class RareCountField(models.BigIntegerField):  # type: ignore[type-arg] # not generic when it runs
    """A column for a count that most rows do not have: 0 is stored as NULL, which takes no space in a row.

    SQL must use `coalesce`, unless it only sums the column with others.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"default": 0, **options, "null": True})

    def from_db_value(self, value: int | None, *_: object) -> int:
        return value or 0

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        return super().get_db_prep_save(value or None, connection)


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
