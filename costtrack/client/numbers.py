"""Formatting of values in tables. Amounts keep all their digits."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

NO_NAME = "(none)"
"""Shown for an empty name in a map: costs without a model or user."""

_CENTS = 2
_MAX_DIGITS = 60  # more on one side of the point is not an amount
_MONEY = frozenset({"amount", "cost", "costs", "price", "spend", "usd"})


def is_money(name: str) -> bool:
    """Whether a field of this name holds US dollars: `total_cost`, `today_usd`, `spend`, `cost_by_tool_tokens`, but
    not `cost_group`."""
    segments = name.split("_")
    return segments[-1] in _MONEY or (segments[0] in _MONEY and segments[1:2] == ["by"])


def cells(name: str, values: Sequence[Any]) -> tuple[list[str], bool]:
    """Return the texts of a column, and whether they are numbers. Amounts of money get the same number of decimals, so
    that their points are aligned."""
    present = [value for value in values if value is not None]
    numbers = [number_of(value, from_text=is_money(name)) for value in present]
    if not present or None in numbers:
        return [text(name, value) for value in values], False
    if not is_money(name):
        return [text(name, value) for value in values], True
    decimals = max(_CENTS, *(_decimals(number) for number in numbers if number is not None))
    amounts = (None if value is None else number_of(value, from_text=True) for value in values)
    return ["" if amount is None else dollars(amount, decimals) for amount in amounts], True


def text(name: str, value: Any) -> str:  # noqa: PLR0911 - one for each kind
    """Format a single value."""
    number = number_of(value, from_text=is_money(name))
    if number is not None:
        if is_money(name):
            return dollars(number, max(_CENTS, _decimals(number)))
        return f"{_plain(number * 100)}%" if name.endswith("_rate") else _plain(number)
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case {"start": start, "end": end}:
            return f"{start} to {end}"
        case dict():
            return ", ".join(f"{key or NO_NAME} {text(name, inner)}" for key, inner in value.items())
        case list():
            return ", ".join(text(name, inner) for inner in value)
        case _:
            return str(value)


def dollars(amount: Decimal, decimals: int) -> str:
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.{decimals}f}"


def number_of(value: Any, *, from_text: bool) -> Decimal | None:
    """Return the value if it is a number of a displayable size; amounts of money may be strings."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str if from_text else int | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    is_readable = number.is_finite() and abs(number.adjusted()) < _MAX_DIGITS and _decimals(number) <= _MAX_DIGITS
    return number if is_readable else None


def _plain(number: Decimal) -> str:
    return f"{number:,.{_decimals(number)}f}"


def _decimals(number: Decimal) -> int:
    """Count the decimals without trailing zeros."""
    digits = str(number.as_tuple().exponent)
    if not digits.startswith("-"):
        return 0
    fraction = f"{number:f}".partition(".")[2].rstrip("0")
    return len(fraction)
