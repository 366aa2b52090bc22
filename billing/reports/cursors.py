"""Pages of lists, and cursors: the next page starts after the position of the last row of a page.

A cursor is an opaque text in URL-safe base64: the microseconds since 1970 and the key of the row, or, for rows that are
ordered by their names or sums, a JSON list of texts.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Generic, NamedTuple, TypeVar, overload
from uuid import UUID

import msgspec

from costtrack.clock import EPOCH, MICROSECOND
from costtrack.errors import InvalidError
from costtrack.money import plain

_UUID_BYTES = 16
_INSTANT_BYTES = 8
_MAX_LENGTH = 2_000
MAX_START_CURSOR_LENGTH = 1_400
"""A key has up to 255 characters of up to 4 bytes."""

Row = TypeVar("Row")
Last = TypeVar("Last")
Built = TypeVar("Built")


class Position(NamedTuple):
    """The position of an event. `usd` is its known net cost in a list that is sorted by it."""

    at: datetime
    id: UUID
    usd: Decimal | None = None


class StartPosition(NamedTuple):
    """The position of a session or execution in a list that is ordered by start."""

    at: datetime
    key: str


@dataclass(frozen=True, slots=True)
class Page(Generic[Row, Last]):
    """A page of a list. `last` is what the next page begins after, or None on the last page."""

    rows: Sequence[Row]
    last: Last | None


def page_of(rows: Sequence[Row], limit: int, last_of: Callable[[Row], Last]) -> Page[Row, Last]:
    """Build a page from up to `limit` rows, and one more if there is another page."""
    page = rows[:limit]
    return Page(page, last_of(page[-1]) if len(rows) > limit else None)


@overload
def cursor_of(position: Position | StartPosition) -> str: ...
@overload
def cursor_of(position: Position | StartPosition | None) -> str | None: ...
def cursor_of(position: Position | StartPosition | None) -> str | None:
    """Encode a position; None stays None."""
    if position is None:
        return None
    if isinstance(position, StartPosition):
        key = position.key.encode()
    else:
        key = position.id.bytes + (plain(position.usd).encode() if position.usd is not None else b"")
    microseconds = (position.at - EPOCH) // MICROSECOND
    return base64.urlsafe_b64encode(key + microseconds.to_bytes(_INSTANT_BYTES)).decode()


def position_of(cursor: str, *, param: str = "cursor") -> Position | None:
    """Decode the cursor of an event; an empty one is None. Raises InvalidError that names the parameter."""
    return _decode(cursor, param, _event_position) if cursor else None


def start_position_of(cursor: str, *, param: str = "cursor") -> StartPosition | None:
    """Decode the cursor of a session or execution; an empty one is None. Raises InvalidError."""
    return _decode(cursor, param, _start_position) if cursor else None


def texts_cursor(texts: Sequence[str]) -> str:
    """Encode the texts after which the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode(texts)).decode()


def texts_of(cursor: str, build: Callable[[list[str]], Built]) -> Built:
    """Decode a cursor of texts and build its position. `build` may raise ValueError. Raises InvalidError."""
    try:
        texts = msgspec.json.decode(base64.b64decode(cursor, altchars="-_", validate=True), type=list[str])
        return build(list(map(_without_nul, texts)))
    except (ValueError, InvalidOperation, msgspec.DecodeError) as error:
        raise InvalidError("Invalid cursor. Remove it to start from the first page.", param="cursor") from error


def _decode(cursor: str, param: str, build: Callable[[datetime, bytes], Row]) -> Row:
    invalid = InvalidError("Invalid cursor. Remove it to start from the first page.", param=param)
    if len(cursor) > _MAX_LENGTH:
        raise invalid
    try:
        packed = base64.b64decode(cursor, altchars="-_", validate=True)
        microseconds = int.from_bytes(packed[-_INSTANT_BYTES:])
        return build(EPOCH + microseconds * MICROSECOND, packed[:-_INSTANT_BYTES])
    except (ValueError, OverflowError, InvalidOperation) as error:
        raise invalid from error


def _event_position(at: datetime, key: bytes) -> Position:
    amount = key[_UUID_BYTES:].decode()
    return Position(at, UUID(bytes=key[:_UUID_BYTES]), Decimal(amount) if amount else None)


def _start_position(at: datetime, key: bytes) -> StartPosition:
    return StartPosition(at, _without_nul(key.decode()))


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("PostgreSQL text cannot contain NUL.")
    return text
