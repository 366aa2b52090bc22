"""Places in lists of the ledger's rows as callers carry them from page to page."""

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

from billing.reports.event_list import Position
from costtrack.errors import InvalidError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID_BYTES = 16


def cursor_of(position: Position | None) -> str | None:
    """Microseconds since 1970 and the id, in base64; None where the list ends."""
    if position is None:
        return None
    microseconds = (position.occurred_at - _EPOCH) // timedelta(microseconds=1)
    packed = position.id.bytes + microseconds.to_bytes(8)
    return base64.urlsafe_b64encode(packed).decode()


def position_of(cursor: str) -> Position | None:
    """None for an empty one. Raises InvalidError for what is not one of ours."""
    if not cursor:
        return None
    try:
        packed = base64.b64decode(cursor, altchars="-_", validate=True)
        microseconds = int.from_bytes(packed[_UUID_BYTES:])
        return Position(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=packed[:_UUID_BYTES]))
    except (ValueError, OverflowError) as error:
        raise InvalidError("Invalid cursor. Remove it to start from the first page.", param="cursor") from error
