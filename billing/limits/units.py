"""Amounts of limits as text: US dollars, tokens or requests."""

from decimal import Decimal

from billing.types import LimitUnit
from costtrack.money import usd


def amount_text(amount: Decimal, unit: LimitUnit) -> str:
    """Return `$5.00`, `1,000 tokens` or `1 request`."""
    if unit is LimitUnit.USD:
        return usd(amount)
    name = unit.value if amount != 1 else unit.value.removesuffix("s")
    return f"{amount:,.0f} {name}"
