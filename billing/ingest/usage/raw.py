"""What is stored of a usage object for a later reading: numbers and names, no content, at most 4 KB."""

from decimal import Decimal
from math import isfinite
from typing import Any

from billing.ingest.usage.paths import MAX_DEPTH, MAX_KEY_LENGTH

MAX_RAW_BYTES = 4096
_MAX_TEXT = 40
# Texts that are names (conditions, types, models), by a part of their key.
_NAME_KEYS = (
    "tier",
    "type",
    "speed",
    "geo",
    "region",
    "zone",
    "model",
    "modality",
    "ttl",
    "processing",
    "size",
    "route",
)
# Most objects are a few counts with short names, which are stored as they are.
_MAX_COUNTS, _MAX_NAME, _BIGINT = 20, 100, 2**63
# Quotes, colon and comma of a member.
_MEMBER_BYTES = 6


class _Pruning:
    def __init__(self) -> None:
        self.bytes_left = MAX_RAW_BYTES - _MEMBER_BYTES
        self.is_cut = False

    def prune(self, value: Any, key: str, depth: int) -> Any:
        """Return the value without content; None if nothing of it is stored."""
        if isinstance(value, dict):
            return self._members(value, depth)
        if isinstance(value, list):
            items = []
            for item in value:
                if self.is_cut:
                    break
                stored = self.prune(item, key, depth + 1)
                if stored is not None:
                    items.append(stored)
            return items or None
        stored = _storable(value, key)
        if stored is not None and not self._take(len(str(stored).encode()) + _MEMBER_BYTES):
            return None
        return stored

    def _members(self, value: dict[Any, Any], depth: int) -> dict[str, Any] | None:
        members: dict[str, Any] = {}
        if depth > MAX_DEPTH:
            self.is_cut = True
            return None
        for name, child in value.items():
            if self.is_cut:
                break
            text = str(name)[:MAX_KEY_LENGTH]
            before = self.bytes_left
            if not self._take(len(text.encode()) + _MEMBER_BYTES):
                break
            stored = self.prune(child, text, depth + 1)
            if stored is None:
                self.bytes_left = before
            else:
                members[text] = stored
        return members or None

    def _take(self, size: int) -> bool:
        if size > self.bytes_left:
            self.is_cut = True
            return False
        self.bytes_left -= size
        return True


def raw_object(usage: Any) -> tuple[dict[str, Any], bool]:
    """Return the numbers and names of the object, in its own structure, and whether some were left out."""
    if type(usage) is dict and len(usage) <= _MAX_COUNTS and all(_is_count(*member) for member in usage.items()):
        return dict(usage), False
    pruning = _Pruning()
    return pruning.prune(usage, "", 0) or {}, pruning.is_cut


def _is_count(name: Any, value: Any) -> bool:
    return (
        type(value) is int and abs(value) < _BIGINT and type(name) is str and len(name) <= _MAX_NAME and name.isascii()
    )


def _storable(value: Any, key: str) -> int | float | str | bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _BIGINT else str(value)[:_MAX_TEXT]
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return str(value)[:_MAX_TEXT]
    if isinstance(value, str):
        is_number = value.replace(".", "", 1).isdigit()
        is_name = any(part in key.lower() for part in _NAME_KEYS)
        return value[:_MAX_TEXT] if value and (is_number or is_name) else None
    return None
