"""Cells of tables and fields of other programs' records as values of events."""

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from costtrack.event_files.types import RowError, iso

_MILLISECONDS = 10**11  # above it, a time since 1970 is in milliseconds
_EPOCH = re.compile(r"-?\d+(\.\d*)?([eE]\+?\d+)?", re.ASCII)
_EMPTY = frozenset({"", "null", "none", "nan", "n/a", "na", "\\n"})


def text(value: Any) -> str | None:
    """Return a name; None if it is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    shown = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    return None if shown.lower() in _EMPTY else shown


def number(value: Any, field: str) -> Decimal | None:
    """Return a number such as `1234`, `12.0` or `$0.02`; None if the cell is empty. Raises RowError, also for `1,234`,
    which is a thousand in one country and one in another."""
    shown = text(value)
    if shown is None or isinstance(value, bool):
        return None
    shown = shown.removeprefix("$").strip()
    try:
        parsed = Decimal(shown)
    except InvalidOperation:
        parsed = Decimal("NaN")
    if not parsed.is_finite():
        raise RowError(f"{shown[:40]!r} is not a number.", field)
    return parsed


def count(value: Any, field: str) -> int | None:
    """Return a whole number; None if the cell is empty. Raises RowError."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():  # the usual cell
        return int(value)
    parsed = number(value, field)
    if parsed is None:
        return None
    if parsed != parsed.to_integral_value() or parsed < 0:
        raise RowError(f"{parsed} is not a whole number.", field)
    return int(parsed)


def instant(value: Any, field: str) -> str | None:
    """Return a time of ISO 8601, of a database, or in seconds or milliseconds since 1970; None if the cell is empty.
    A time without a zone is in UTC. Raises RowError."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return iso(datetime(value.year, value.month, value.day, tzinfo=UTC))
    shown = text(value)
    if shown is None:
        return None
    try:
        if _EPOCH.fullmatch(shown):
            seconds = float(shown)
            return iso(datetime.fromtimestamp(seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds, tz=UTC))
        return iso(datetime.fromisoformat(shown.removesuffix(" UTC")))
    except (ValueError, OverflowError, OSError) as error:
        raise RowError(f"{shown[:40]!r} is not a time: use 2026-11-02T09:00:00Z.", field) from error
