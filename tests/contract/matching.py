"""Comparing an answer with a golden one: key by key, type by type, and value by value.

JSON stands for itself: 1, 1.0, "1" and true are four different values, an object has exactly these keys and a list
exactly these elements. Where a value cannot be known beforehand, an object with a single key beginning with `$` says
what it must be:

    {"$any": "string"}           any value of that type, or of one of a list of types (string, int, float, bool, null)
    {"$number": 1450}            this number, as an integer or as a float
    {"$between": [1, 2]}         a float in this closed interval
    {"$decimal": "0.0123"}       a decimal string of this value, without an exponent; true: of any value
    {"$datetime": "2025-01-15T09:00:00Z"}    ISO 8601 with a zone, this instant; true: any
    {"$uuid": "gpt"}             a UUID. The same word is the same UUID wherever it stands; true: any
    {"$pattern": "..."}          a string that matches as a whole
    {"$each": ...}               a list of any length, each element of which matches

A key `$uuid:gpt` of an object is the UUID that `gpt` stands for.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

_TYPES: dict[type, str] = {
    str: "string",
    int: "int",
    float: "float",
    bool: "bool",
    type(None): "null",
    list: "list",
    dict: "object",
}
# Document 003's pattern of a decimal, and no zeros that say nothing at its end.
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")
_UUID_KEY = "$uuid:"


@dataclass
class Matcher:
    """Remembers the UUIDs that words stand for, over several answers."""

    uuids: dict[str, str] = field(default_factory=dict)

    def differences(self, expected: Any, found: Any, path: str = "") -> Iterator[str]:
        """What is wrong, each with where; nothing if the answer is as it must be."""
        place = path or "the answer"
        word = _matcher_in(expected)
        if word is not None:
            yield from self._of_matcher(word, expected[word], found, path)
        elif type(expected) is not type(found):
            yield f"{place}: {_TYPES[type(expected)]} {expected!r} expected, not {_TYPES[type(found)]} {found!r}"
        elif isinstance(expected, dict):
            yield from self._of_objects(expected, found, path)
        elif isinstance(expected, list):
            if len(expected) != len(found):
                yield f"{place}: {len(expected)} elements expected, not {len(found)}: {found!r}"
            yield from self._of_elements(zip(expected, found, strict=False), path)
        elif expected != found:
            yield f"{place}: {expected!r} expected, not {found!r}"

    def _of_matcher(self, word: str, argument: Any, found: Any, path: str) -> Iterator[str]:
        if problem := _MATCHERS[word](self, argument, found):
            yield f"{path or 'the answer'}: {problem}, not {found!r}"
        elif word == "$each":
            yield from self._of_elements(((argument, element) for element in found), path)

    def _of_elements(self, pairs: Iterable[tuple[Any, Any]], path: str) -> Iterator[str]:
        for index, (expected, found) in enumerate(pairs):
            yield from self.differences(expected, found, f"{path}[{index}]")

    def _of_objects(self, expected: dict[str, Any], found: dict[str, Any], path: str) -> Iterator[str]:
        """UUIDs are looked up when the keys before have been compared: those may say what a word stands for."""
        known = set()
        for name, of_expected in expected.items():
            key = self.filled_in(name)
            known.add(key)
            if key in found:
                yield from self.differences(of_expected, found[key], f"{path}.{key}" if path else key)
            else:
                yield f"{path or 'the answer'}: the key {key} is missing"
        yield from (f"{path or 'the answer'}: unknown key {key}" for key in found if key not in known)

    def filled_in(self, value: Any) -> Any:
        """The value with UUIDs in place of the words that stand for them."""
        if isinstance(value, str) and value.startswith(_UUID_KEY):
            return self.uuids.get(value.removeprefix(_UUID_KEY), value)
        if isinstance(value, list):
            return [self.filled_in(element) for element in value]
        if isinstance(value, dict):
            return {self.filled_in(key): self.filled_in(element) for key, element in value.items()}
        return value

    def uuid(self, word: Any, found: Any) -> str | None:
        if not _is_text_of(UUID, found) or str(UUID(found)) != found:
            return "a UUID expected"
        if word is True:
            return None
        is_another_words = found in self.uuids.values() and self.uuids.get(word) != found
        if self.uuids.setdefault(word, found) != found or is_another_words:
            return f"the UUID of {word} expected ({self.uuids[word]})"
        return None


def _matcher_in(expected: Any) -> str | None:
    """The word of a matcher. Raises LookupError for one that there is none of, lest it match an object by chance."""
    if not isinstance(expected, dict):
        return None
    words = [str(key) for key in expected if key.startswith("$") and not key.startswith(_UUID_KEY)]
    if not words:
        return None
    if len(expected) > 1 or words[0] not in _MATCHERS:
        raise LookupError(f"There is no such matcher: {expected!r}")
    return words[0]


def _any(_: Matcher, types: str | list[str], found: Any) -> str | None:
    filters = [types] if isinstance(types, str) else types
    if unknown := set(filters) - set(_TYPES.values()):
        raise LookupError(f"There are no such types: {unknown}")
    return None if _TYPES[type(found)] in filters else f"{' or '.join(filters)} expected"


def _number(_: Matcher, value: float, found: Any) -> str | None:
    return None if type(found) in (int, float) and found == value else f"the number {value} expected"


def _between(_: Matcher, edges: tuple[float, float], found: Any) -> str | None:
    least, most = edges
    return None if type(found) is float and least <= found <= most else f"a float from {least} to {most} expected"


def _decimal(_: Matcher, value: str | bool, found: Any) -> str | None:  # noqa: FBT001
    is_decimal = isinstance(found, str) and _DECIMAL.fullmatch(found) is not None and found != "-0"
    if is_decimal and (value is True or Decimal(str(value)) == Decimal(found)):
        return None
    return f"a plain decimal string expected ({value})"


def _datetime(_: Matcher, value: str | bool, found: Any) -> str | None:  # noqa: FBT001
    if _is_text_of(datetime.fromisoformat, found) and "T" in found:
        instant = datetime.fromisoformat(found)
        if instant.tzinfo is not None and (value is True or datetime.fromisoformat(str(value)) == instant):
            return None
    return f"a time in ISO 8601 with a zone expected ({value})"


def _pattern(_: Matcher, pattern: str, found: Any) -> str | None:
    is_match = isinstance(found, str) and re.fullmatch(pattern, found, re.DOTALL) is not None
    return None if is_match else f"a text like {pattern} expected"


def _each(_: Matcher, __: Any, found: Any) -> str | None:
    return None if isinstance(found, list) else "a list expected"


def _is_text_of(read: Callable[[str], object], found: Any) -> bool:
    try:
        read(found)
    except (ValueError, TypeError, AttributeError):
        return False
    return isinstance(found, str)


_MATCHERS: dict[str, Callable[[Matcher, Any, Any], str | None]] = {
    "$any": _any,
    "$number": _number,
    "$between": _between,
    "$decimal": _decimal,
    "$datetime": _datetime,
    "$uuid": Matcher.uuid,
    "$pattern": _pattern,
    "$each": _each,
}
