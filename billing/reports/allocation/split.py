"""Split an amount exactly. Pure functions.

The shares are rounded down to the last decimal that is stored, and what remains goes, one unit each, to those with the
largest remainders; of equal ones, to the first by name (the largest remainder method). So the shares always add up to
the amount, and the same amount and weights always have the same shares.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import lcm

from costtrack.money import DECIMALS, ZERO

Weights = Mapping[str, Fraction]
"""Weights by name, none of which is negative."""


def split(amount: Decimal, weights: Weights) -> dict[str, Decimal]:
    """Return the share of each name, in proportion to its weight. Empty if no weight is above zero."""
    if not any(weights.values()):
        return {}
    decimals = max(DECIMALS, -int(amount.as_tuple().exponent))
    shares = split_units(int(amount.scaleb(decimals)), weights)
    return {name: Decimal(share).scaleb(-decimals) for name, share in shares.items()}


def split_units(units: int, weights: Weights) -> dict[str, int]:
    """Return the share of each name in whole units. One weight has to be above zero."""
    scale = lcm(*(weight.denominator for weight in weights.values()))
    parts = {name: int(weights[name] * scale) for name in sorted(weights)}
    whole = sum(parts.values())
    sign, amount = (-1 if units < 0 else 1), abs(units)
    shares = {name: amount * part // whole for name, part in parts.items()}
    remaining = amount - sum(shares.values())
    by_remainder = sorted(parts, key=lambda name: (-(amount * parts[name] % whole), name))
    for name in by_remainder[:remaining]:
        shares[name] += 1
    return {name: sign * share for name, share in shares.items()}


def split_rows(amounts: Sequence[Decimal], weights: Weights) -> list[dict[str, Decimal]]:
    """Return the shares of each amount, such that those of an amount add up to it, and those of a name add up to its
    share of the sum of all amounts."""
    rows, total, before = [], ZERO, dict.fromkeys(weights, ZERO)
    for amount in amounts:
        total += amount
        shares = split(total, weights)
        rows.append({name: share - before[name] for name, share in shares.items()})
        before = shares or before
    return rows
