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

    def differences(self, expected: Any, actual: Any, path: str = "") -> Iterator[str]:
        """What is wrong, each with where; nothing if the answer is as it must be."""
        where = path or "the answer"
        word = _matcher_in(expected)
        if word is not None:
            yield from self._of_matcher(word, expected[word], actual, path)
        elif type(expected) is not type(actual):
            yield f"{where}: {_TYPES[type(expected)]} {expected!r} expected, not {_TYPES[type(actual)]} {actual!r}"
        elif isinstance(expected, dict):
            yield from self._of_objects(expected, actual, path)
        elif isinstance(expected, list):
            if len(expected) != len(actual):
                yield f"{where}: {len(expected)} elements expected, not {len(actual)}: {actual!r}"
            yield from self._of_elements(zip(expected, actual, strict=False), path)
        elif expected != actual:
            yield f"{where}: {expected!r} expected, not {actual!r}"

    def _of_matcher(self, word: str, argument: Any, actual: Any, path: str) -> Iterator[str]:
        if problem := _MATCHERS[word](self, argument, actual):
            yield f"{path or 'the answer'}: {problem}, not {actual!r}"
        elif word == "$each":
            yield from self._of_elements(((argument, element) for element in actual), path)

    def _of_elements(self, pairs: Iterable[tuple[Any, Any]], path: str) -> Iterator[str]:
        for index, (expected, actual) in enumerate(pairs):
            yield from self.differences(expected, actual, f"{path}[{index}]")

    def _of_objects(self, expected: dict[str, Any], actual: dict[str, Any], path: str) -> Iterator[str]:
        """UUIDs are looked up when the keys before have been compared: those may say what a word stands for."""
        known = set()
        for name, of_expected in expected.items():
            key = self.filled_in(name)
            known.add(key)
            if key in actual:
                yield from self.differences(of_expected, actual[key], f"{path}.{key}" if path else key)
            else:
                yield f"{path or 'the answer'}: the key {key} is missing"
        yield from (f"{path or 'the answer'}: unknown key {key}" for key in actual if key not in known)

    def filled_in(self, value: Any) -> Any:
        """The value with UUIDs in place of the words that stand for them."""
        if isinstance(value, str) and value.startswith(_UUID_KEY):
            return self.uuids.get(value.removeprefix(_UUID_KEY), value)
        if isinstance(value, list):
            return [self.filled_in(element) for element in value]
        if isinstance(value, dict):
            return {self.filled_in(key): self.filled_in(element) for key, element in value.items()}
        return value

    def uuid(self, word: Any, actual: Any) -> str | None:
        if not _is_text_of(UUID, actual) or str(UUID(actual)) != actual:
            return "a UUID expected"
        if word is True:
            return None
        belongs_to_another_word = actual in self.uuids.values() and self.uuids.get(word) != actual
        if self.uuids.setdefault(word, actual) != actual or belongs_to_another_word:
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


def _any(_: Matcher, types: str | list[str], actual: Any) -> str | None:
    filters = [types] if isinstance(types, str) else types
    if unknown := set(filters) - set(_TYPES.values()):
        raise LookupError(f"There are no such types: {unknown}")
    return None if _TYPES[type(actual)] in filters else f"{' or '.join(filters)} expected"


def _number(_: Matcher, value: float, actual: Any) -> str | None:
    return None if type(actual) in (int, float) and actual == value else f"the number {value} expected"


def _between(_: Matcher, edges: tuple[float, float], actual: Any) -> str | None:
    low, high = edges
    return None if type(actual) is float and low <= actual <= high else f"a float from {low} to {high} expected"


def _decimal(_: Matcher, value: str | bool, actual: Any) -> str | None:  # noqa: FBT001
    is_decimal = isinstance(actual, str) and _DECIMAL.fullmatch(actual) is not None and actual != "-0"
    if is_decimal and (value is True or Decimal(str(value)) == Decimal(actual)):
        return None
    return f"a plain decimal string expected ({value})"


def _datetime(_: Matcher, value: str | bool, actual: Any) -> str | None:  # noqa: FBT001
    if _is_text_of(datetime.fromisoformat, actual) and "T" in actual:
        instant = datetime.fromisoformat(actual)
        if instant.tzinfo is not None and (value is True or datetime.fromisoformat(str(value)) == instant):
            return None
    return f"a time in ISO 8601 with a zone expected ({value})"


def _pattern(_: Matcher, pattern: str, actual: Any) -> str | None:
    is_match = isinstance(actual, str) and re.fullmatch(pattern, actual, re.DOTALL) is not None
    return None if is_match else f"a text like {pattern} expected"


def _each(_: Matcher, __: Any, actual: Any) -> str | None:
    return None if isinstance(actual, list) else "a list expected"


def _is_text_of(read: Callable[[str], object], actual: Any) -> bool:
    try:
        read(actual)
    except (ValueError, TypeError, AttributeError):
        return False
    return isinstance(actual, str)


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
