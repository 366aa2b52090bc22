"""Keyset pagination for long lists.

A cursor is `<microseconds since 1970>~<key>`. The URL carries the cursors of the pages already visited (`after=`, the
last one is the current page's), so that "newer" works without an OFFSET.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Self
from urllib.parse import quote, unquote
from uuid import UUID

from django.http import QueryDict
from django.utils.http import urlencode

from costtrack.errors import InvalidError
from costtrack.money import plain

PARAMETER = "after"
_SEPARATOR = "."  # of the cursors of a trail
_MAX_TRAIL_LENGTH = 30  # pages that a user can go back; older cursors are dropped
_MAX_TRAIL_CHARACTERS = 2_000  # also dropped, because servers limit the length of a URL
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_LENGTH = 400
_AMOUNT = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,24})?")


def format_cursor(instant: datetime, key: object) -> str:
    return f"{(instant - _EPOCH) // _MICROSECOND}~{key}"


def parse_cursor(text: str) -> tuple[datetime, str] | None:
    """Parse a cursor; an empty text is None. Raises InvalidError."""
    if not text:
        return None
    try:
        microseconds, tilde, key = text.partition("~")
        if not tilde or "\0" in key or len(text) > _MAX_LENGTH:
            raise _invalid_cursor()
        return _EPOCH + timedelta(microseconds=int(microseconds)), key
    except (ValueError, OverflowError) as error:
        raise _invalid_cursor() from error


def parse_uuid_cursor(text: str) -> tuple[datetime, UUID] | None:
    """Parse a cursor whose key is a UUID. Raises InvalidError."""
    position = parse_cursor(text)
    try:
        return None if position is None else (position[0], UUID(position[1]))
    except ValueError as error:
        raise _invalid_cursor() from error


def amount_cursor(instant: datetime, key: UUID, amount: Decimal) -> str:
    """Return the cursor of a row in a list that is ordered by an amount."""
    return format_cursor(instant, f"{key}~{plain(amount)}")


def parse_amount_cursor(text: str) -> tuple[datetime, UUID, Decimal] | None:
    """Parse a cursor; an empty text is None. Raises InvalidError."""
    instant_and_rest, _, amount = text.rpartition("~")
    if not text:
        return None
    position = parse_uuid_cursor(instant_and_rest)
    if position is None or not _AMOUNT.fullmatch(amount):
        raise _invalid_cursor()
    return (*position, Decimal(amount))


def _invalid_cursor() -> InvalidError:
    return InvalidError("Invalid cursor. Remove it to start from the first page.", param="after")


@dataclass(frozen=True, slots=True)
class CursorTrail:
    """`given` are the other, non-empty parameters of the URL."""

    given: Mapping[str, str]
    cursors: tuple[str, ...]

    @classmethod
    def of(cls, query: QueryDict) -> Self:
        given = {name: str(query[name]) for name in query if query[name] and name != PARAMETER}
        cursors = map(unquote, filter(None, query.get(PARAMETER, "").split(_SEPARATOR)))
        return cls(given, tuple(cursors)[-_MAX_TRAIL_LENGTH:])

    @property
    def cursor(self) -> str:
        """The cursor of this page; empty for the first page."""
        return self.cursors[-1] if self.cursors else ""

    @property
    def is_first(self) -> bool:
        return not self.cursors

    def newest(self) -> str:
        """Return the query string of the first page, with its question mark."""
        return self._query(())

    def newer(self) -> str:
        return self._query(self.cursors[:-1])

    def older(self, cursor: str) -> str:
        cursors = (*self.cursors, cursor)[-_MAX_TRAIL_LENGTH:]
        while len(cursors) > 1 and len(_joined(cursors)) > _MAX_TRAIL_CHARACTERS:
            cursors = cursors[1:]
        return self._query(cursors)

    def _query(self, cursors: tuple[str, ...]) -> str:
        after = {PARAMETER: _joined(cursors)} if cursors else {}
        return f"?{urlencode({**self.given, **after})}"


def _joined(cursors: Iterable[str]) -> str:
    """Join cursors, whose keys may contain the separator."""
    return _SEPARATOR.join(quote(cursor, safe="~").replace(_SEPARATOR, "%2E") for cursor in cursors)
