"""Typed quantities that a sender states by kind, instead of a provider's usage object."""

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from billing.ingest.usage.types import LARGEST_COUNT
from billing.pricing.kinds import KINDS, Quantity


class InvalidQuantityError(ValueError):
    """A quantity cannot be accepted; `kind` is the key concerned."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def parse_quantities(raw: Mapping[str, Any]) -> dict[str, Quantity]:
    """Return the quantities by kind, without zeros. They must not overlap: cached tokens are not counted as input.

    Raises InvalidQuantityError.
    """
    quantities: dict[str, Quantity] = {}
    for name, value in raw.items():
        kind = KINDS.get(name)
        if kind is None:
            raise InvalidQuantityError(name, f"{name[:100]} is not a kind of usage.")
        if value is None:
            continue
        quantity = _quantity(value)
        if quantity is None or (not kind.is_fractional and quantity != int(quantity)):
            whole = "" if kind.is_fractional else "whole "
            raise InvalidQuantityError(name, f"{name} must be a {whole}number from 0 to {LARGEST_COUNT}.")
        if quantity:
            quantities[name] = int(quantity) if quantity == int(quantity) else quantity
    return quantities


def _quantity(value: Any) -> Quantity | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if not (value.is_finite() if isinstance(value, Decimal) else isfinite(value)) or not 0 <= value <= LARGEST_COUNT:
        return None
    return Decimal(repr(value)) if isinstance(value, float) else value
