"""Encode and decode the cursors of ledger lists."""

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

from billing.reports.event_list import Position
from costtrack.errors import InvalidError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID_BYTES = 16


def cursor_of(position: Position | None) -> str | None:
    """Encode a position (microseconds since 1970 and the id) in base64. None stays None."""
    if position is None:
        return None
    microseconds = (position.occurred_at - _EPOCH) // timedelta(microseconds=1)
    packed = position.id.bytes + microseconds.to_bytes(8)
    return base64.urlsafe_b64encode(packed).decode()


def position_of(cursor: str) -> Position | None:
    """Decode a cursor; an empty one is None. Raises InvalidError for an invalid cursor."""
    if not cursor:
        return None
    try:
        packed = base64.b64decode(cursor, altchars="-_", validate=True)
        microseconds = int.from_bytes(packed[_UUID_BYTES:])
        return Position(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=packed[:_UUID_BYTES]))
    except (ValueError, OverflowError) as error:
        raise InvalidError("Invalid cursor. Remove it to start from the first page.", param="cursor") from error
