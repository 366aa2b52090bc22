"""What a limit applies to: conditions on the dimensions of a call. Pure.

A limit has up to three conditions: its scope and value, and further ones (`SpendLimit.further_scopes`). A condition
without a value holds for every value separately; the values of these conditions together are the value of the limit
(`Rule.value`). A limit with one condition on a dimension of `SHARED_SCOPES` shares the rollup rows of that dimension.
Any other limit has rows of its own, which PostgreSQL finds by its compiled conditions: three texts each, the scope, the
value, and the value of calls without one (billing/migrations/sql/0023_limit_conditions.sql).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import NamedTuple

from billing.limits.types import Dimensions
from billing.types import LimitScope

MAX_CONDITIONS = 3
SHARED_SCOPES = frozenset(
    {
        LimitScope.ORGANIZATION,
        LimitScope.CREDENTIAL,
        LimitScope.USER,
        LimitScope.TAG,
        LimitScope.MODEL,
        LimitScope.WORKFLOW,
        LimitScope.RUN,
        LimitScope.SESSION,
    }
)
"""The scopes whose rollup rows have every value. The rows of other limits are written while there is such a limit; also
those of teams, whose shared rows are only for forecasts (`billing.rollups.definitions`)."""

SEPARATOR = "\x1f"
DISPLAYED_SEPARATOR = " x "
_PATTERN = "model_pattern"
_MAX_LENGTH = 255
_MAX_PREFIX = 222


class Condition(NamedTuple):
    """A condition on a dimension. An empty value holds for every value separately; `default` is then the value of calls
    that have none. A model may be a pattern with `*`."""

    scope: LimitScope
    value: str = ""
    default: str = ""

    @property
    def is_per_value(self) -> bool:
        return self.scope is not LimitScope.ORGANIZATION and not self.value

    @property
    def is_pattern(self) -> bool:
        return self.scope is LimitScope.MODEL and "*" in self.value

    def is_met_by(self, call: Dimensions) -> bool:
        """Whether the call has the value, which is not empty."""
        values = call.values(self.scope)
        if self.is_pattern:
            return any(fnmatchcase(value, _glob(self.value)) for value in values)
        return self.value in values

    def compiled(self) -> tuple[str, str, str | None]:
        """Return the condition as PostgreSQL's functions take it."""
        if self.is_pattern:
            return (_PATTERN, _like(self.value), None)
        return (self.scope.value, self.value, self.default or None)


class Match(NamedTuple):
    """A value of a limit that a call has, as rollups store it, and the conditions with their values."""

    value: str
    conditions: tuple[Condition, ...]


def has_own_rows(conditions: Sequence[Condition], *, has_other_unit: bool) -> bool:
    """Whether the limit has rollup rows of its own."""
    (first, *further) = conditions
    is_shared = first.scope in SHARED_SCOPES and not first.is_pattern and not first.default
    return bool(further) or not is_shared or has_other_unit


def compile_conditions(conditions: Iterable[Condition]) -> list[str | None]:
    return [part for condition in conditions for part in condition.compiled()]


def matches(conditions: Sequence[Condition], call: Dimensions) -> Iterator[Match]:
    """Yield the values of a limit with these conditions that the call counts under."""
    for values in product(*(_values(condition, call) for condition in conditions)):
        yield _match(conditions, values)


def match_of(conditions: Sequence[Condition], value: str) -> Match | None:
    """Return the conditions for one stored value of the limit; None if the value does not determine them."""
    keys = sum(condition.is_per_value for condition in conditions)
    if keys > 1 and len(value) == _MAX_LENGTH and value[_MAX_PREFIX] == "#":
        return None
    parts = iter(value.split(SEPARATOR) if value else [""] * keys)
    values = [next(parts, "") if condition.is_per_value else condition.value for condition in conditions]
    match = _match(conditions, values)
    return match if match.value == value else None


def joined_value(values: Iterable[str]) -> str:
    """Return the values of several conditions as one text, as `billing_joined_value` does."""
    value = SEPARATOR.join(filter(None, values))
    if len(value) <= _MAX_LENGTH:
        return value
    return f"{value[:_MAX_PREFIX]}#{hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()}"


def array_literal(texts: Iterable[str | None]) -> str:
    """Return the texts as a literal of a PostgreSQL array."""
    return "{" + ",".join("NULL" if text is None else _quoted(text) for text in texts) + "}"


def _values(condition: Condition, call: Dimensions) -> Sequence[str]:
    values = call.values(condition.scope)
    if condition.is_per_value:
        return values or ((condition.default,) if condition.default else ())
    return (condition.value,) if condition.is_met_by(call) else ()


def _match(conditions: Sequence[Condition], values: Sequence[str]) -> Match:
    named = tuple(condition._replace(value=value) for condition, value in zip(conditions, values, strict=True))
    keys = (value for condition, value in zip(conditions, values, strict=True) if condition.is_per_value)
    return Match(joined_value(keys), named)


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def _glob(pattern: str) -> str:
    """Return the pattern for fnmatch, in which only `*` is special."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
