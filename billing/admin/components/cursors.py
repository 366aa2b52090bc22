"""Places in long lists as an address carries them: `?after=<microseconds since 1970>~<key>`."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from costtrack.errors import InvalidError
from costtrack.money import plain

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_LENGTH = 400
_AMOUNT = re.compile(r"-?[0-9]{1,20}(,[0-9]{1,24})?")  # a full stop would part the places of a trail


def as_text(instant: datetime, key: object) -> str:
    return f"{(instant - _EPOCH) // _MICROSECOND}~{key}"


def parse_cursor(text: str) -> tuple[datetime, str] | None:
    """None for an empty text. Raises InvalidError for what is not one of ours."""
    if not text:
        return None
    try:
        microseconds, tilde, key = text.partition("~")
        if not tilde or "\0" in key or len(text) > _MAX_LENGTH:
            raise _not_ours()
        return _EPOCH + timedelta(microseconds=int(microseconds)), key
    except (ValueError, OverflowError) as error:
        raise _not_ours() from error


def parse_uuid_cursor(text: str) -> tuple[datetime, UUID] | None:
    """The same where keys are UUIDs."""
    found = parse_cursor(text)
    try:
        return None if found is None else (found[0], UUID(found[1]))
    except ValueError as error:
        raise _not_ours() from error


def amount_cursor(instant: datetime, key: UUID, amount: Decimal) -> str:
    """A place in a list that is ordered by an amount."""
    return as_text(instant, f"{key}~{plain(amount).replace('.', ',')}")


def parse_amount_cursor(text: str) -> tuple[datetime, UUID, Decimal] | None:
    """None for an empty text. Raises InvalidError for what is not one of ours."""
    instant_and_rest, _, amount = text.rpartition("~")
    if not text:
        return None
    found = parse_uuid_cursor(instant_and_rest)
    if found is None or not _AMOUNT.fullmatch(amount):
        raise _not_ours()
    return (*found, Decimal(amount.replace(",", ".")))


def _not_ours() -> InvalidError:
    return InvalidError("This page of the list does not exist; start at its beginning.", param="after")
