"""The usage object inside of what was sent: a response, an event of a stream, a row of a log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec

from billing.ingest.usage.paths import MAX_VALUES, has_short_keys, named_path, normalized_key
from billing.ingest.usage.spellings import meaning

# Keys that hold a usage object, in the order in which they are tried.
_WRAPPERS = (
    "usage",
    "usage_metadata",
    "usage_info",
    "usage_details",
    "usage_object",
    "token_usage",
    "usage_data",
    "last_token_usage",
    "billed_units",
    "amazon_bedrock_invocation_metrics",
    "response",
    "result",
    "message",
    "meta",
    "info",
    "metadata",
    "data",
    "delta",
    "payload",
    "body",
    "attributes",
    "kwargs",
    "llm_output",
    "x_groq",
)
# Cohere's billed units stand beside its tokens: the object that holds them is the usage.
_STAY = frozenset({"billed_units"})
_BY_MODEL = "model_usage"
# Lists of the requests that the usage is the sum of: Anthropic's with their types, those of OpenAI's Agents SDK.
_ITERATIONS = {"iterations": {}, "request_usage_entries": {"type": "message"}}
# The provider's own object inside a framework's, which has all that the framework's has.
_OWN_USAGE = frozenset({"raw", "raw_usage", "native_usage"})
# LiteLLM's rows have the usage in their metadata, which exports write as text.
_ROW_METADATA = "metadata"
_ROW_USAGE = ("usage_object", "additional_usage_values")
_HOLDERS = frozenset({_ROW_METADATA, *_OWN_USAGE, *_ITERATIONS})
_MAX_TEXT = 100_000
_MAX_WRAPPERS = 5
_MAX_ITERATIONS = 200


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The usage object, the fields around it, its list of requests, and the number of models it is the sum of.

    `repetition` are the same counts as a framework or a log repeats them.
    """

    usage: Mapping[str, Any]
    around: Mapping[str, Any] = field(default_factory=dict)
    repetition: Mapping[str, Any] = field(default_factory=dict)
    iterations: tuple[Any, ...] = ()
    models: int = 1


def unwrap(sent: Mapping[Any, Any]) -> Unwrapped:
    """Find the usage object. An object that has counts of its own is one."""
    if _is_usage(sent):
        return Unwrapped(sent)
    around: dict[str, Any] = {}
    current = sent
    models = 1
    for _ in range(_MAX_WRAPPERS):
        inner = None if _has_counts(current) else _inner(current)
        if inner is None:
            break
        key, value = inner
        around.update({str(name): item for name, item in _members(current) if name != key})
        if normalized_key(str(key)) == _BY_MODEL:
            models = len(value)
            value = next(iter(value.values())) if models == 1 else _costs_by_model(value)
        current = value
    current, repetition = _preferred(current)
    around.update(repetition)
    usage = {
        str(name): item
        for name, item in _members(current)
        if normalized_key(str(name)) not in _ITERATIONS or not isinstance(item, list)
    }
    return Unwrapped(usage, around, repetition, _iterations(current), models)


def _is_usage(sent: Mapping[Any, Any]) -> bool:
    """Whether the object is the usage and nothing in it has to be looked for."""
    keys = tuple(sent)
    if len(keys) > MAX_VALUES or not has_short_keys(keys):
        return False
    return any(type(sent[key]) is int for key in count_keys(keys))


@lru_cache(maxsize=1024)
def count_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys that are counts; none if one of the keys may hold another usage, or a list of requests."""
    names = [normalized_key(key) for key in keys]
    if any(name in _HOLDERS for name in names):
        return ()
    return tuple(key for key, name in zip(keys, names, strict=True) if meaning(named_path(name)).role == "field")


def _preferred(current: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """Return the object inside that says more (the provider's own, or that of a log's row) and what is around it."""
    for key, value in _members(current):
        name = normalized_key(str(key))
        inner: Mapping[Any, Any] = {}
        if name in _OWN_USAGE and isinstance(value, dict) and _has_counts(value):
            inner = value
        elif name == _ROW_METADATA:
            inner = _row_usage(value)
        if inner:
            outer = {str(other): item for other, item in _members(current) if other != key}
            has_input = any(meaning(normalized_key(str(member))).name == "input" for member in inner)
            return (inner, outer) if has_input else ({**outer, **inner}, {})
    return current, {}


def _row_usage(metadata: Any) -> dict[str, Any]:
    """Return the counts in the metadata of LiteLLM's rows."""
    if isinstance(metadata, str) and len(metadata) <= _MAX_TEXT and any(name in metadata for name in _ROW_USAGE):
        try:
            metadata = msgspec.json.decode(metadata)
        except msgspec.MsgspecError:
            return {}
    found = (metadata.get(name) for name in _ROW_USAGE) if isinstance(metadata, dict) else ()
    return next((dict(value) for value in found if isinstance(value, dict) and value), {})


def _members(current: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield as many members as are looked at, and one more, so that the reader notices."""
    return islice(current.items(), MAX_VALUES + 1)


def _inner(current: Mapping[Any, Any]) -> tuple[Any, Any] | None:
    by_name = {normalized_key(str(key)): key for key, _ in _members(current)}
    for wrapper in (*_WRAPPERS, _BY_MODEL):
        key = by_name.get(wrapper)
        if key is not None and isinstance(current[key], dict) and current[key]:
            if wrapper in _STAY:
                return None
            if wrapper != _BY_MODEL or all(isinstance(value, dict) for value in current[key].values()):
                return key, current[key]
    return None


def _has_counts(current: Mapping[Any, Any]) -> bool:
    return any(
        isinstance(value, int | float) and not isinstance(value, bool) and meaning(path).role == "field"
        for key, value in _members(current)
        if (path := named_path(normalized_key(str(key))))
    )


def _iterations(current: Mapping[Any, Any]) -> tuple[Any, ...]:
    for key, value in _members(current):
        defaults = _ITERATIONS.get(normalized_key(str(key)))
        if defaults is not None and isinstance(value, list):
            return tuple({**defaults, **item} if isinstance(item, dict) else item for item in value[:_MAX_ITERATIONS])
    return ()


def _costs_by_model(by_model: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the sum of the costs that a session states by model."""
    costs = [value.get("costUSD") for value in by_model.values() if isinstance(value, dict)]
    known = [cost for cost in costs if isinstance(cost, int | float) and not isinstance(cost, bool)]
    return {"costUSD": sum(known)} if len(known) == len(by_model) else {}
