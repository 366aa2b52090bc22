"""Spans and log records in one form for both encodings, without content. The quarantine stores them as JSON."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from billing.ingest.litellm.payload import short_text
from billing.ingest.otlp.attributes import rule_of

# Names that say what a span or an event is. Others may have anything in them and are not read.
_KNOWN_NAME = re.compile(
    r"(?:claude_code|codex|gemini_cli|ai|gen_ai|copilot_chat)\.[A-Za-z_.]{1,80}|api_request|api_response"
)
# Most names begin with something else, which is known faster than by the expression.
_KNOWN_BEGINNINGS = ("claude_code.", "codex.", "gemini_cli.", "ai.", "gen_ai.", "copilot_chat.", "api_re")
# What is counted together in the limit of a request, and whose parts are in that of one record.
RECORDS = "spans, log records, metrics and data points, with their resources and scopes"
ONE_RECORD = "One span, log record, data point, scope or resource"
# Of one record; the others are ignored.
MAX_ATTRIBUTES = 10_000
MAX_TEXT = 1_000
_MAX_JSON = 50_000
_MAX_TAGS = 50
_NUMBER = re.compile(r"\s*-?\d{1,20}(\.\d{1,20})?([eE]-?\d{1,2})?\s*")


class Attributes(Struct, omit_defaults=True, gc=False):
    """The attributes that are read: texts by their field (`attributes.TEXT_FIELDS`), all others by their name. Texts
    fit the ledger's columns."""

    texts: dict[str, str] = {}
    values: dict[str, Any] = {}
    tags: list[str] | None = None


class Record(Struct, omit_defaults=True, gc=False):
    """A span or log record. Ids are hexadecimal, times in nanoseconds since 1970, 0 if unknown.

    `kind` is that of the span in OTLP (2: server, 3: client), 0 for a log record.
    """

    is_log: bool = False
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    name: str = ""
    kind: int = 0
    start: int = 0
    end: int = 0
    is_error: bool = False
    scope: str = ""
    attributes: Attributes = msgspec.field(default_factory=Attributes)
    resource: Attributes = msgspec.field(default_factory=Attributes)

    def text(self, field: str) -> str | None:
        """Return a text of the record itself."""
        return self.attributes.texts.get(field)

    @property
    def sender(self) -> str:
        return self.resource.texts.get("sender", "")


def known_name(name: str) -> str:
    return name if name.startswith(_KNOWN_BEGINNINGS) and _KNOWN_NAME.fullmatch(name) else ""


class ReadAttribute(NamedTuple):
    """An attribute that is read, in its type: the name is that of the field for a `text`, and its own for others."""

    role: str
    name: str
    position: int
    value: Any


def read_attribute(name: str, value: Any) -> ReadAttribute | None:
    """Return an attribute by its name and its value without encoding; None if it is not read, or not of its type."""
    rule = rule_of(name)
    if rule is None:
        return None
    role, field, position, _ = rule
    stored = stored_value(role, value)
    return None if stored is None else ReadAttribute(role, field or name, position, stored)


def stored_value(role: str, value: Any) -> Any:
    """Return the value of an attribute as it is stored; None if it is not of the attribute's type."""
    return _READERS[role](value) if type(value) is str else _stored(role, value)


def collect(attributes: Iterable[ReadAttribute | None]) -> Attributes:
    """Return the attributes of a span, a log record or a resource. The first of several with one name counts."""
    texts: dict[str, str] = {}
    values: dict[str, Any] = {}
    tags: list[str] | None = None
    positions: dict[str, int] = {}
    for attribute in attributes:
        if attribute is None:
            continue
        role, name, position, value = attribute
        if role == "text":
            if position < positions.get(name, MAX_ATTRIBUTES):
                texts[name], positions[name] = value, position
        elif role == "tags":
            tags = tags or value
        else:
            values.setdefault(name, value)
    return Attributes(texts, values, tags)


def _stored(role: str, value: Any) -> Any:
    """Return a value that is no text."""
    match role, value:
        case "number", int():
            return value
        case "number", float():
            return value if math.isfinite(value) else str(value)
        case "text" | "id", int() | float():
            return short_text(str(value))
        case "tags", list():
            return [item[:MAX_TEXT] for item in value[:_MAX_TAGS] if isinstance(item, str)] or None
        case _:
            return None


def _json(value: str) -> str | None:
    return value if len(value) <= _MAX_JSON else None


def _number(value: str) -> int | float | str | None:
    """Return a number that some senders write as text. Any other text may be content, so its value is dropped."""
    if not value:
        return None
    if _NUMBER.fullmatch(value) is None:
        return "(not a number)"
    number = float(value)
    return int(value) if "." not in value and "e" not in value.lower() else number


def _tags_in(value: str) -> list[str] | None:
    value = value[: MAX_TEXT * _MAX_TAGS]
    if value.startswith("["):
        try:
            items = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return None
        return _stored("tags", items) if isinstance(items, list) else None
    return [tag.strip() for tag in value.split(",") if tag.strip()][:_MAX_TAGS] or None


_READERS: dict[str, Callable[[str], Any]] = {
    "number": _number,
    "text": short_text,
    "id": short_text,
    "json": _json,
    "tags": _tags_in,
}


def json_object(value: Any) -> dict[str, Any]:
    """Return the object in a text; empty if it is none."""
    if not isinstance(value, str):
        return {}
    try:
        decoded = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
