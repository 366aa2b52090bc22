"""Usage objects as a flat list of paths and values, in one spelling.

`inputTokens`, `input_tokens` and `gen_ai.usage.input_tokens` become `input_tokens`;
`prompt_tokens_details: {cached_tokens}` and `inputTokenDetails: {cachedTokens}` become `input_details.cached_tokens`;
`promptTokensDetails: [{modality: AUDIO, tokenCount}]` becomes `input_details.audio_tokens`. The work is bounded: at
most `MAX_VALUES` values and `MAX_DEPTH` levels are looked at.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple, TypeAlias

MAX_VALUES = 1000
MAX_DEPTH = 8
MAX_KEY_LENGTH = 100
_LABELS = ("modality", "ttl")
# What is cached of a structure.
_MAX_STRUCTURE = 64
_NESTED = frozenset({dict, list})
_MAX_KEYS_LENGTH = 2000

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[-\s:/]+")

# Segments in front of a name that say nothing: OpenTelemetry's, OpenInference's and Vercel's namespaces, wrappers.
_NAMESPACES = frozenset(
    {"gen_ai", "llm", "ai", "anthropic", "openai", "usage", "token_count", "response", "observation", "langfuse"}
)
# Costs keep their namespace, because who states them matters.
_NAMED_BY_SENDER = frozenset({"cost", "response_cost"})

_CONTAINERS = {
    **dict.fromkeys(
        (
            "prompt_tokens_details",
            "prompt_token_details",
            "prompt_details",
            "input_tokens_details",
            "input_token_details",
            "input_details",
            "input_tokens_by_modality",
        ),
        "input_details",
    ),
    **dict.fromkeys(
        (
            "completion_tokens_details",
            "completion_token_details",
            "completion_details",
            "output_tokens_details",
            "output_token_details",
            "output_details",
            "candidates_tokens_details",
            "response_tokens_details",
            "output_tokens_by_modality",
        ),
        "output_details",
    ),
    **dict.fromkeys(
        ("cached_tokens_details", "cache_tokens_details", "cached_tokens_by_modality", "cached_details"),
        "cached_details",
    ),
    **dict.fromkeys(("tool_use_prompt_tokens_details", "tool_use_tokens_by_modality"), "tool_details"),
}


class Value(NamedTuple):
    """A value of the object. `key` is how the sender spelled its path."""

    path: str
    key: str
    value: Any


class Flat(NamedTuple):
    """The values of an object; `is_complete` is False if it has more than may be looked at."""

    values: tuple[Value, ...]
    is_complete: bool


class Leaf(NamedTuple):
    """A value of an object: its position among the values of the structure, its path and its key."""

    position: int
    path: str
    key: str


# The names of an object's members, each with the structure of its value if that is an object or a labeled list.
Structure: TypeAlias = tuple[tuple[str, ...], tuple[Any, ...]]


class _Labelled(NamedTuple):
    """The structures of a list's items, with their labels."""

    items: tuple[tuple[str, Structure], ...]


def structure_of(usage: Mapping[Any, Any], values: list[Any], depth: int = 0) -> Structure | None:
    """Return the structure of a small object and append its values to `values` (None for an object inside); None for
    other objects and for those with lists, except of items by modality or lifetime.

    Most senders send the same few structures, so their paths are worked out once (`leaves`).
    """
    names = tuple(usage)
    if depth > MAX_DEPTH or len(names) + len(values) > _MAX_STRUCTURE or not has_short_keys(names):
        return None
    if _NESTED.isdisjoint(map(type, usage.values())):
        values.extend(usage.values())
        return names, (None,) * len(names)
    nested: list[Structure | _Labelled | None] = []
    for value in usage.values():
        kind = type(value)
        if kind is dict or kind is list:
            values.append(None)
            inner = structure_of(value, values, depth + 1) if kind is dict else _labeled(value, values, depth + 1)
            if inner is None:
                return None
            nested.append(inner)
        else:
            values.append(value)
            nested.append(None)
    return names, tuple(nested)


def _labeled(items: list[Any], values: list[Any], depth: int) -> _Labelled | None:
    found = []
    for item in items:
        label = _label(item) if type(item) is dict else ""
        structure = structure_of(item, values, depth) if label and has_short_keys((label,)) else None
        if structure is None:
            return None
        found.append((label, structure))
    return _Labelled(tuple(found))


def _label(item: Mapping[Any, Any]) -> str:
    """Return what an item of a list is named by: its modality, or the lifetime of a cache."""
    return next((str(item[name]) for name in _LABELS if isinstance(item.get(name), str)), "")


def has_short_keys(names: tuple[Any, ...]) -> bool:
    """Whether the keys are texts that may be cached."""
    try:
        return len("".join(names)) <= _MAX_KEYS_LENGTH
    except TypeError:
        return False


@lru_cache(maxsize=1024)
def leaves(structure: Structure) -> tuple[Leaf, ...] | None:
    """Return the leaves of a structure, in the order of `flatten`; None if only `flatten` can read it."""
    flat = flatten(_numbered(structure, count()))
    if not flat.is_complete:
        return None
    return tuple(Leaf(value.value, value.path, value.key) for value in flat.values if isinstance(value.value, int))


def _numbered(structure: Structure, positions: Iterator[int]) -> dict[Any, Any]:
    """Return an object of that structure with positions as values."""
    numbered: dict[Any, Any] = {}
    for name, inner in zip(*structure, strict=True):
        position = next(positions)
        if inner is None:
            numbered[name] = position
        elif isinstance(inner, _Labelled):
            numbered[name] = [_with_label(_numbered(item, positions), label) for label, item in inner.items]
        else:
            numbered[name] = _numbered(inner, positions)
    return numbered


def _with_label(numbered: dict[Any, Any], label: str) -> dict[Any, Any]:
    return {**numbered, next(name for name in _LABELS if name in numbered): label}


def flatten(usage: Mapping[Any, Any]) -> Flat:
    """Return the values that are not objects or lists, breadth first."""
    values: list[Value] = []
    pending: list[tuple[str, str, Any, int]] = [("", "", usage, 0)]
    is_complete = True
    visited = 0
    while pending:
        following: list[tuple[str, str, Any, int]] = []
        for path, key, value, depth in pending:
            if depth > MAX_DEPTH:
                is_complete = False
                continue
            for child_path, child_key, child in _children(path, key, value):
                visited += 1
                if visited > MAX_VALUES:
                    return Flat(tuple(values), is_complete=False)
                if isinstance(child, dict | list):
                    following.append((child_path, child_key, child, depth + 1))
                else:
                    values.append(Value(named_path(child_path), child_key, child))
        pending = following
    return Flat(tuple(values), is_complete)


def _children(path: str, key: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict):
        for name, child in value.items():
            text = str(name)[:MAX_KEY_LENGTH]
            yield _join(path, normalized_key(text)), f"{key}.{text}" if key else text, child
    elif isinstance(value, list):
        for item in value:
            yield from _item(path, key, item)


def _item(path: str, key: str, item: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the parts of a list's item. Items by modality or by lifetime of a cache are named by it."""
    if not isinstance(item, dict):
        yield f"{path}.#", f"{key}[]", item
        return
    label = _label(item)
    for name, child in item.items():
        text = str(name)[:MAX_KEY_LENGTH]
        part = normalized_key(text)
        where = f"{key}[{label}].{text}" if label else f"{key}[].{text}"
        if label and part in ("token_count", "tokens", "input_tokens"):
            yield f"{path}.{label.lower()[:MAX_KEY_LENGTH]}_tokens", where, child
        else:
            yield f"{path}.#.{part}", where, child


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part


def normalized_key(key: str) -> str:
    """Return a key in snake case, with the usual names of containers. Long keys are cut."""
    return _normalized(key if len(key) <= MAX_KEY_LENGTH else key[:MAX_KEY_LENGTH])


@lru_cache(maxsize=4096)
def _normalized(key: str) -> str:
    snake = _SEPARATORS.sub("_", _WORD_START.sub("_", key)).lower()
    return ".".join([_CONTAINERS.get(segment, segment) for segment in snake.split(".")])


@lru_cache(maxsize=8192)
def named_path(path: str) -> str:
    """Return a path without the namespaces in front."""
    segments = path.split(".")
    if _NAMED_BY_SENDER.isdisjoint(segments):
        while len(segments) > 1 and segments[0] in _NAMESPACES:
            del segments[0]
    return ".".join(segments)
