"""Places in long lists as an address carries them: `?after=<microseconds since 1970>~<key>`."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from costtrack.errors import InvalidError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST = 400


def as_text(instant: datetime, key: object) -> str:
    return f"{(instant - _EPOCH) // _MICROSECOND}~{key}"


def instant_and_key(text: str) -> tuple[datetime, str] | None:
    """None for an empty text. Raises InvalidError for what is not one of ours."""
    if not text:
        return None
    try:
        microseconds, tilde, key = text.partition("~")
        if not tilde or "\0" in key or len(text) > _LONGEST:
            raise _not_ours()
        return _EPOCH + timedelta(microseconds=int(microseconds)), key
    except (ValueError, OverflowError) as error:
        raise _not_ours() from error


def instant_and_uuid(text: str) -> tuple[datetime, UUID] | None:
    """The same where keys are UUIDs."""
    found = instant_and_key(text)
    try:
        return None if found is None else (found[0], UUID(found[1]))
    except ValueError as error:
        raise _not_ours() from error


def _not_ours() -> InvalidError:
    return InvalidError("This page of the list does not exist; start at its beginning.", param="after")
