"""How values of an answer look to people. Amounts keep every digit they have."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

NOBODY = "(none)"
"""For the empty name in a map: costs of no model, of no user."""

_CENTS = 2
_MAX_DIGITS = 60  # more on one side of the point are nobody's money
_MONEY = frozenset({"amount", "cost", "costs", "price", "spend", "usd"})


def is_money(name: str) -> bool:
    """Whether a field of this name holds US dollars: `total_cost`, `today_usd`, `spend`, `cost_by_tool_tokens`, but
    not `cost_group`."""
    words = name.split("_")
    return words[-1] in _MONEY or (words[0] in _MONEY and words[1:2] == ["by"])


def cells(name: str, values: Sequence[Any]) -> tuple[list[str], bool]:
    """The texts of one field in several rows, and whether they are numbers. Amounts of money get equally many
    decimals, so that their points stand below each other."""
    given = [value for value in values if value is not None]
    numbers = [number_of(value, from_text=is_money(name)) for value in given]
    if not given or None in numbers:
        return [text(name, value) for value in values], False
    if not is_money(name):
        return [text(name, value) for value in values], True
    places = max(_CENTS, *(_places(number) for number in numbers if number is not None))
    amounts = (None if value is None else number_of(value, from_text=True) for value in values)
    return ["" if amount is None else dollars(amount, places) for amount in amounts], True


def text(name: str, value: Any) -> str:  # noqa: PLR0911 - one for each kind
    """One value by itself."""
    number = number_of(value, from_text=is_money(name))
    if number is not None:
        if is_money(name):
            return dollars(number, max(_CENTS, _places(number)))
        return f"{_plain(number * 100)} %" if name.endswith("_rate") else _plain(number)
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case {"start": start, "end": end}:
            return f"{start} to {end}"
        case dict():
            return ", ".join(f"{key or NOBODY} {text(name, inner)}" for key, inner in value.items())
        case list():
            return ", ".join(text(name, inner) for inner in value)
        case _:
            return str(value)


def dollars(amount: Decimal, places: int) -> str:
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.{places}f}"


def number_of(value: Any, *, from_text: bool) -> Decimal | None:
    """The value if it is a number of a size that can be shown; amounts of money may come as strings."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str if from_text else int | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    is_readable = number.is_finite() and abs(number.adjusted()) < _MAX_DIGITS and _places(number) <= _MAX_DIGITS
    return number if is_readable else None


def _plain(number: Decimal) -> str:
    return f"{number:,.{_places(number)}f}"


def _places(number: Decimal) -> int:
    """How many decimals it has, without zeros at the end."""
    digits = str(number.as_tuple().exponent)
    if not digits.startswith("-"):
        return 0
    fraction = f"{number:f}".partition(".")[2].rstrip("0")
    return len(fraction)
