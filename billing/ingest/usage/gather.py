"""Collection of what an object says: the values of each field, conditions, costs, and what was not read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from math import isfinite
from operator import itemgetter
from typing import Any, NamedTuple

from billing.ingest.usage.paths import Flat, Leaf, Structure, Value, flatten, leaves, structure_of
from billing.ingest.usage.spellings import (
    BOOLEAN_ATTRIBUTES,
    COST_FIELDS,
    MODALITY_FIELDS,
    OWN_KEY,
    QUANTITY_FIELDS,
    SECONDARY,
    TOKEN_FIELDS,
    UPSTREAM_COST,
    is_number_as_text,
    is_processing_value,
    may_be_condition,
    meaning,
)
from billing.ingest.usage.types import (
    LARGEST_COUNT,
    NO_COSTS,
    Flag,
    FlagCode,
    StatedCosts,
    UnreadableError,
    UnreadableReason,
)
from billing.pricing.kinds import KINDS, Quantity, Unit
from costtrack.money import MAX_AMOUNT_USD

_MAX_FLAGS = 20
# AI SDK 5 has the cache writes of Claude only here.
_PROVIDERS_OWN = ("provider_metadata.", "ai.response.provider_metadata.")
_CACHES = frozenset({"cache_read", "cache_write"})
_MAX_TEXT = 64
# Tools that the provider runs are also counted beside the usage.
_CALLS = frozenset(kind.id for kind in KINDS.values() if kind.unit is Unit.CALLS)
_ORDER = {
    name: position
    for names in (*TOKEN_FIELDS.values(), *MODALITY_FIELDS.values(), *QUANTITY_FIELDS.values())
    for position, name in enumerate(names)
}


@dataclass
class Gathered:
    """What an object says, by field. `keys` are the paths that have a value.

    `requested` are conditions of the request, which count where the response says none. `tiered` has the tokens whose
    name says their service tier, by side (`input`, `output`) and tier.
    """

    values: dict[str, list[tuple[int, Quantity]]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    attributes: dict[str, str] = field(default_factory=dict)
    requested: dict[str, str] = field(default_factory=dict)
    tiered: dict[tuple[str, str], int] = field(default_factory=dict)
    costs: dict[str, Decimal] = field(default_factory=dict)
    is_own_key: bool = False
    flags: list[Flag] = field(default_factory=list)
    error: UnreadableError | None = None

    def distinct(self, name: str) -> list[Quantity]:
        """Return the values of a field, the preferred name first. Zeros count only if there is nothing else."""
        reported = self.values.get(name)
        if reported is None:
            return []
        if len(reported) == 1:
            return [reported[0][1]]
        distinct = list(dict.fromkeys(value for _, value in sorted(reported, key=itemgetter(0))))
        return [value for value in distinct if value] or distinct

    def value_of(self, name: str) -> Quantity | None:
        """Return the value of a field; flag it if its names disagree."""
        distinct = self.distinct(name)
        if len(distinct) > 1:
            self.flag(FlagCode.CONFLICTING_VALUES, f"{name}: {', '.join(map(str, distinct))}")
        return distinct[0] if distinct else None

    def count(self, name: str) -> int:
        """Return the value of a field as a whole number, 0 without one."""
        reported = self.values.get(name)
        if reported is None:
            return 0
        return int(reported[0][1] if len(reported) == 1 else self.value_of(name) or 0)

    def has_all(self, paths: Collection[str]) -> bool:
        """Whether all of these paths have a value; False for none."""
        return bool(paths) and self.keys.issuperset(paths)

    def has_any(self, paths: Collection[str]) -> bool:
        return not self.keys.isdisjoint(paths)

    def flag(self, code: FlagCode, detail: str) -> None:
        flag = Flag(code, detail)
        if len(self.flags) < _MAX_FLAGS and flag not in self.flags:
            self.flags.append(flag)

    def drop_secondary(self) -> None:
        """Forget the names that only count alone."""
        for reported in self.values.values():
            if len(reported) == 1:
                continue
            primary = [item for item in reported if item[0] < _SECONDARY_ORDER]
            if primary:
                reported[:] = primary


_SECONDARY_ORDER = 1000


def gather(usage: Mapping[Any, Any]) -> Gathered:
    """Collect the values of a usage object."""
    gathered = Gathered()
    values: list[Any] = []
    structure = structure_of(usage, values)
    reads = _reads(structure) if structure is not None else None
    if reads is None:
        _gather_flat(gathered, flatten(usage))
    else:
        _gather_read(gathered, reads, values)
    if gathered.tiered:
        _check_tiers(gathered)
    if "call_total" in gathered.values and gathered.count("call_total") > sum(
        gathered.count(name) for name in _CALLS if name in gathered.values
    ):
        gathered.flag(FlagCode.UNREAD_USAGE, "calls of tools")
    return gathered


def _gather_flat(gathered: Gathered, flat: Flat) -> None:
    if not flat.is_complete:
        gathered.flag(FlagCode.TOO_LARGE, "The object is larger than what is read.")
    for value in flat.values:
        if value.value is not None:
            _take(gathered, value)
    gathered.drop_secondary()


class CountFields(NamedTuple):
    """The fields of an object that has nothing but numbers, one of each field: their paths, and for each its position
    among the values of the structure."""

    paths: frozenset[str]
    positions: tuple[tuple[int, str], ...]


def count_fields(structure: Structure) -> CountFields | None:
    """Return the fields of a structure; None if it has anything else."""
    reads = _reads(structure)
    if not reads or len({read.name for read in reads}) < len(reads) or not all(read.name for read in reads):
        return None
    positions = tuple((read.leaf.position, read.name) for read in reads)
    return CountFields(frozenset(read.leaf.path for read in reads), positions)


class _Read(NamedTuple):
    """How a value of a known structure is read. `name` is the field of a count, empty for all others."""

    leaf: Leaf
    name: str
    order: int


@lru_cache(maxsize=1024)
def _reads(structure: Structure) -> tuple[_Read, ...] | None:
    """Return how the values of a structure are read; None if they are read one by one."""
    found = leaves(structure)
    if found is None or any(leaf.path in SECONDARY for leaf in found):
        return None
    reads = []
    for leaf in found:
        role, name, _ = meaning(leaf.path)
        reads.append(_Read(leaf, name if role == "field" else "", _ORDER.get(leaf.path, 0)))
    return tuple(reads)


def _gather_read(gathered: Gathered, reads: tuple[_Read, ...], values: Sequence[Any]) -> None:
    """Take values whose paths are known. Counts are whole numbers with few exceptions."""
    for (position, path, key), name, order in reads:
        value = values[position]
        if value is None:
            continue
        if name and type(value) is int and 0 <= value <= LARGEST_COUNT:
            gathered.keys.add(path)
            reported = gathered.values.get(name)
            if reported is None:
                gathered.values[name] = [(order, value)]
            else:
                reported.append((order, value))
        else:
            _take(gathered, Value(path, key, value))


def gather_conditions(gathered: Gathered, beside: Mapping[Any, Any], *, is_sent_as_usage: bool) -> None:
    """Add the conditions and costs that stand beside the usage in a response. Lists there are content.

    If the response was sent as the usage, its unknown numbers are reported too.
    """
    for value in flatten({name: item for name, item in beside.items() if not isinstance(item, list)}).values:
        role, name, _ = meaning(value.path)
        if role == "attribute" and isinstance(value.value, str):
            gathered.attributes.setdefault(name, value.value[:_MAX_TEXT])
        elif role == "requested" and isinstance(value.value, str):
            gathered.requested.setdefault(name, value.value[:_MAX_TEXT])
        elif role == "field" and name in _CALLS:
            if value.value and name not in gathered.values:
                _take_number(gathered, value, name)
        elif role == "boolean" and value.value is True:
            gathered.attributes.setdefault(*BOOLEAN_ATTRIBUTES[name])
        elif role == "cost" and value.path in COST_FIELDS:
            amount = _amount(value.value)
            if amount is not None:
                gathered.costs.setdefault(name, amount)
        elif _may_matter_beside(value) or (role == "unknown" and is_sent_as_usage and _is_number(value.value)):
            gathered.flag(FlagCode.UNREAD_USAGE, value.key)


def _may_matter_beside(value: Value) -> bool:
    """Whether an unread value beside the usage is a service tier or counts that the usage lacks."""
    if isinstance(value.value, str):
        is_unknown = meaning(value.path).role == "unknown"
        return _is_processing(value) or (is_unknown and is_number_as_text(value.path, value.value))
    is_cache = meaning(value.path.rpartition(".")[2]).name in _CACHES
    return bool(value.value) and is_cache and value.path.startswith(_PROVIDERS_OWN)


def stated_costs(gathered: Gathered, platform: str) -> StatedCosts:
    """Return the costs in the object by who states them. What only the provider can say counts as the sender's
    statement if it comes from elsewhere."""
    if not gathered.costs:
        return NO_COSTS
    provider = sender = gateway = None
    for name, rule in COST_FIELDS.items():
        amount = gathered.costs.get(name)
        if amount is None:
            continue
        amount *= rule.unit
        if rule.stated_by == "provider" and platform in rule.platforms:
            if provider is None and (amount or rule.may_be_zero):
                provider = amount + _upstream(gathered)
        elif rule.stated_by in ("provider", "sender") and not gathered.has_all(rule.estimated_beside):
            sender = sender if sender is not None else amount
        else:
            gateway = gateway if gateway is not None else amount
    return StatedCosts(provider, sender or None, gateway or None)


def _upstream(gathered: Gathered) -> Decimal:
    """Return what the provider behind OpenRouter bills for a customer's own key, besides OpenRouter's fee."""
    upstream = gathered.costs.get(UPSTREAM_COST, Decimal(0))
    if gathered.is_own_key:
        if not upstream:
            gathered.flag(FlagCode.COST_MISMATCH, "The provider's own bill is not known.")
        return upstream
    if upstream and OWN_KEY not in gathered.keys:
        gathered.flag(FlagCode.COST_MISMATCH, UPSTREAM_COST)
    return Decimal(0)


def _take(gathered: Gathered, value: Value) -> None:
    role, name, tier = meaning(value.path)
    if role == "field":
        _take_number(gathered, value, name)
    elif role == "attribute":
        _take_attribute(gathered, value, name)
    elif role == "tiered":
        _take_tiered(gathered, value, name, tier)
    elif role == "requested":
        if isinstance(value.value, str):
            gathered.requested.setdefault(name, value.value[:_MAX_TEXT])
    elif role == "cost":
        _take_cost(gathered, value, name)
    elif role == "boolean":
        if value.value is True:
            gathered.attributes.setdefault(*BOOLEAN_ATTRIBUTES[name])
    elif (role == "unknown" and _says_something(value)) or _is_processing(value):
        gathered.flag(FlagCode.UNREAD_USAGE, value.key)


def _take_number(gathered: Gathered, value: Value, name: str) -> None:
    number = _number(value.value, is_fractional=name in KINDS and KINDS[name].is_fractional)
    if number is None:
        gathered.error = gathered.error or UnreadableError(UnreadableReason.NOT_A_COUNT, value.key)
        return
    gathered.keys.add(value.path)
    order = _SECONDARY_ORDER if value.path in SECONDARY else _ORDER.get(value.path, 0)
    gathered.values.setdefault(name, []).append((order, number))


def _take_tiered(gathered: Gathered, value: Value, name: str, tier: str) -> None:
    """Take tokens whose name says their service tier."""
    number = _number(value.value, is_fractional=False)
    if number is None:
        gathered.flag(FlagCode.UNREAD_USAGE, value.key)
        return
    if name:
        _take_number(gathered, value, name)
    side = value.path.partition("_")[0]
    gathered.tiered[side, tier] = gathered.tiered.get((side, tier), 0) + int(number)


def _check_tiers(gathered: Gathered) -> None:
    """Take the service tier of tokens that name it; flag them if others of the call do not have it."""
    for (side, tier), tokens in gathered.tiered.items():
        if tokens:
            gathered.attributes.setdefault("service_tier", tier)
        whole = gathered.distinct(side)
        if tokens and (not whole or whole[0] != tokens or gathered.attributes["service_tier"] != tier):
            gathered.flag(FlagCode.CONFLICTING_VALUES, f"service_tier: {tokens} tokens of {side} are {tier}")


def _take_attribute(gathered: Gathered, value: Value, name: str) -> None:
    if not isinstance(value.value, str):
        if value.value:
            gathered.flag(FlagCode.UNREAD_USAGE, value.key)
        return
    text = value.value[:_MAX_TEXT]
    if gathered.attributes.setdefault(name, text) != text:
        gathered.flag(FlagCode.CONFLICTING_VALUES, f"{name}: {gathered.attributes[name]}, {text}")


def _take_cost(gathered: Gathered, value: Value, name: str) -> None:
    gathered.keys.add(value.path)
    if name == OWN_KEY:
        gathered.is_own_key = value.value is True
        return
    amount = _amount(value.value)
    if amount is None:
        gathered.flag(FlagCode.UNREAD_USAGE, value.key)
    else:
        gathered.costs[name] = amount


def _is_processing(value: Value) -> bool:
    """Whether a text names a service tier, under a key of which only numbers are known to be without meaning."""
    return isinstance(value.value, str) and is_processing_value(value.value)


def _says_something(value: Value) -> bool:
    """Whether an unknown value may matter: a number other than 0, true, or the name of a condition."""
    content = value.value
    if isinstance(content, str):
        return may_be_condition(value.path, content)
    return bool(content)


def _number(value: Any, *, is_fractional: bool) -> Quantity | None:
    """Return a number of tokens or other things; None if it is not one. Texts are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    if not 0 <= value <= LARGEST_COUNT:
        return None
    if value == int(value):
        return int(value)
    return Decimal(repr(value) if isinstance(value, float) else value) if is_fractional else None


def _is_number(value: Any) -> bool:
    return bool(value) and isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _amount(value: Any) -> Decimal | None:
    """Return an amount in USD; None if it is not one. Gateways send amounts as texts too."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount <= MAX_AMOUNT_USD else None
