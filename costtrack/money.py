"""Money is Decimal US dollars. Amounts are never rounded on the way; this module alone turns them into output.

Importing it widens Python's decimal arithmetic from 28 to 64 digits for every thread that has not used it yet, so
that sums and products of amounts stay exact.
"""

import decimal
from decimal import ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)

# A cost a caller reports is often a float with 17 significant digits (0.00000749999999999999). 24 decimals keep all
# of them down to a ten-millionth of a dollar; 12 digits before the point are room for any invoice.
DECIMALS = 24
DIGITS = 36
LARGEST = Decimal(10) ** (DIGITS - DECIMALS) - 1
_QUANTUM = Decimal(1).scaleb(-DECIMALS)

_PRECISION = 64
decimal.DefaultContext.prec = _PRECISION  # what threads start with (documented for exactly this use)
decimal.getcontext().prec = _PRECISION  # the thread that imports this module has begun already


def to_storable(amount: Decimal) -> Decimal:
    """The amount as the ledger's column holds it: at most 24 decimals (half-even beyond them), no trailing zeros, so
    that equal amounts are written alike."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -DECIMALS:
        amount = amount.quantize(_QUANTUM, rounding=ROUND_HALF_EVEN)
    return amount.normalize()


def plain(amount: Decimal) -> str:
    """A decimal string without exponent and without trailing zeros: `0`, `0.0000001`, `12.5`."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def usd(amount: Decimal) -> str:
    """For people: cents, and below a dollar as many digits as show three significant ones: `$1,234.50`, `$0.0123`,
    `$0.0000123`."""
    places = 2 if abs(amount) >= 1 or not amount else 2 - amount.adjusted()
    text = f"{abs(amount):,.{places}f}"
    while places > 2 and text.endswith("0"):  # noqa: PLR2004 - cents
        text, places = text[:-1], places - 1
    return f"-${text}" if amount < 0 else f"${text}"


def number(amount: Decimal) -> float:
    """A JSON number from an exact sum, rounded to 10 decimals so that 0.35 + 0.1 prints 0.45."""
    return float(round(amount, 10))
