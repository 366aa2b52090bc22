"""Money is US dollars as Decimal. Amounts are never rounded in between; only this module formats them.

Importing it widens Python's decimal arithmetic from 28 to 64 digits, for this thread and all threads that start later,
so that sums and products of amounts stay exact.
"""

import decimal
import re
from decimal import ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)

# A reported cost is often a float with 17 significant digits (0.00000749999999999999). 24 decimals store all of them
# down to a ten-millionth of a dollar; 12 digits before the point are enough for any invoice.
DECIMALS = 24
DIGITS = 36
MAX_AMOUNT_USD = Decimal(10) ** (DIGITS - DECIMALS) - 1
_QUANTUM = Decimal(1).scaleb(-DECIMALS)

_PRECISION = 64
decimal.DefaultContext.prec = _PRECISION  # what new threads start with (documented for this use)
decimal.getcontext().prec = _PRECISION  # the thread that imports this module


# Digits with a point or an exponent. Python's own syntax also has underscores, spaces and digits of other scripts.
_AMOUNT = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII)


def is_amount(text: str) -> bool:
    """Whether a text is a number as amounts are written: `12.50`, `1e-6`."""
    return _AMOUNT.fullmatch(text) is not None


def is_storable(amount: Decimal) -> bool:
    """Whether the ledger can store the amount without rounding."""
    return to_storable(amount) == amount


def to_storable(amount: Decimal) -> Decimal:
    """Return the amount as the ledger stores it: up to 24 decimals (rounded half-even), without trailing zeros, so that
    equal amounts have the same form."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -DECIMALS:
        amount = amount.quantize(_QUANTUM, rounding=ROUND_HALF_EVEN)
    return amount.normalize()


def plain(amount: Decimal) -> str:
    """Format as a decimal string without exponent and trailing zeros: `0`, `0.0000001`, `12.5`."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def usd(amount: Decimal) -> str:
    """Format for display: with cents, and below a dollar with three significant digits: `$1,234.50`, `$0.0123`,
    `$0.0000123`."""
    decimals = 2 if abs(amount) >= 1 or not amount else 2 - amount.adjusted()
    text = f"{abs(amount):,.{decimals}f}"
    while decimals > 2 and text.endswith("0"):  # noqa: PLR2004 - cents
        text, decimals = text[:-1], decimals - 1
    return f"-${text}" if amount < 0 else f"${text}"


def exact_usd(amount: Decimal) -> str:
    """Format with all digits, so that visible lines add up: `$1,234.50`, `$0.000123456`."""
    units, _, decimals = plain(abs(amount)).partition(".")
    return f"{'-' if amount < 0 else ''}${int(units):,}.{decimals.ljust(2, '0')}"


def number(amount: Decimal) -> float:
    """Convert an exact sum to a JSON number, rounded to 10 decimals so that 0.35 + 0.1 prints 0.45."""
    return float(round(amount, 10))
