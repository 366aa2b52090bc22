"""Reading of usage objects. `read_usage` never raises for what a sender may send: an object that cannot be read has no
counts and a reason."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from billing.ingest.usage.conventions import (
    Convention,
    convention_for,
    has_only_input,
    hides_thoughts,
    media_kinds,
)
from billing.ingest.usage.gather import Gathered, count_fields, gather, gather_conditions, stated_costs
from billing.ingest.usage.modalities import plain_quantities, split
from billing.ingest.usage.paths import Structure, structure_of
from billing.ingest.usage.raw import raw_object
from billing.ingest.usage.spellings import LIFETIME_FIELDS, MODALITY_FIELDS, ONE_HOUR_PARTS, QUANTITY_FIELDS
from billing.ingest.usage.token_totals import Numbers, resolve_totals
from billing.ingest.usage.types import (
    LARGEST_COUNT,
    Flag,
    FlagCode,
    StatedCosts,
    UnreadableError,
    UnreadableReason,
    UsageReading,
)
from billing.ingest.usage.unwrap import Unwrapped, count_keys, unwrap
from billing.pricing.canonical import service_name
from billing.pricing.kinds import CACHE_KINDS, Quantity, output_tokens, prompt_tokens

# Requests of the provider that Anthropic lists: those in the totals, and those that are billed besides.
_COUNTED_ITERATIONS = frozenset({"message"})
_ADDED_ITERATIONS = frozenset({"compaction"})
_PARTS = frozenset((*MODALITY_FIELDS, *LIFETIME_FIELDS))
_NAMED_MODALITIES = {
    kind: frozenset(name for name in MODALITY_FIELDS if name.endswith(suffix))
    for kind, suffix in (("input", "_in"), ("output", "_out"))
}
_NAMED_MEDIA = {
    kind: frozenset(name for name in names if not name.startswith("text")) for kind, names in _NAMED_MODALITIES.items()
}
_SUMS = frozenset({"input", "output", "total", "cache_read", "cache_write", "reasoning"})
_CACHED_PARTS = frozenset(name for name in MODALITY_FIELDS if name.endswith("_cached"))


def read_usage(
    usage: Any, *, service: str = "", model: str = "", source: str = "", beside: Mapping[str, Any] | None = None
) -> UsageReading:
    """Read a usage object, or a response with one inside.

    `service` and `model` are those of the call, as sent; `source` is the sender's format (`litellm`). `beside` are
    fields of the response around the usage, which may name the service tier.
    """
    if not isinstance(usage, Mapping):
        return UsageReading(reason=UnreadableReason.NO_COUNTS, detail="usage is not an object")
    platform, model = service_name(service), model.strip().lower()
    reading = _read_sums(usage, platform, model, source) if not beside else None
    if reading is None:
        reading = _Reader(platform, model, source).read(unwrap(usage), beside or {})
    return with_raw(reading, usage) if reading.flags or reading.reason is not None else reading


def with_raw(reading: UsageReading, usage: Mapping[Any, Any]) -> UsageReading:
    """Return a doubtful reading with what is stored of its object."""
    raw, is_cut = raw_object(usage)
    flags = (*reading.flags, Flag(FlagCode.RAW_TRUNCATED)) if is_cut else reading.flags
    return UsageReading(
        reading.quantities,
        reading.calls,
        reading.attributes,
        reading.costs,
        flags,
        reading.reason,
        reading.detail,
        reading.convention,
        raw,
    )


class SumsReader(NamedTuple):
    """Reads objects of one structure that have nothing but sums of tokens: the position of each field, and the
    convention. `_Reader` reads them the same way, in several times the time."""

    positions: tuple[tuple[int, str], ...]
    convention: Convention
    hides_thoughts: bool

    def read(self, values: Sequence[Any]) -> UsageReading | None:
        """Return the reading of the values of an object, in its order, without `raw`; None if they are no counts, or
        contradict each other."""
        counts: dict[str, int] = {}
        for position, name in self.positions:
            value = values[position]
            if type(value) is not int or not 0 <= value <= LARGEST_COUNT:
                return None
            counts[name] = value
        quantities, flags = self._conventional(counts)
        if quantities is None:
            numbers = Numbers((counts.pop("input"),), **counts)
            try:
                totals, found = resolve_totals(numbers, self.convention, hides_thoughts=self.hides_thoughts)
            except UnreadableError:
                return None
            quantities, flags = plain_quantities(totals), tuple(found)
        return UsageReading(quantities, (quantities,), flags=flags, convention=self.convention.name)

    def _conventional(self, counts: Mapping[str, int]) -> tuple[dict[str, int] | None, tuple[Flag, ...]]:
        """Return what `resolve_totals` finds in most objects, several times faster: the convention fits, and is sure or
        leaves only reads of the cache in doubt. None if there is more to resolve."""
        rule, value, output = self.convention, counts["input"], counts.get("output", 0)
        reads, writes = counts.get("cache_read", 0), counts.get("cache_write", 0)
        reasoning, total = counts.get("reasoning", 0), counts.get("total")
        inside = reads + writes if rule.caches_inside else 0
        output_inside = reasoning if rule.reasoning_inside else 0
        if inside > value or output_inside > output:
            return None, ()
        if total is not None and total != value + reads + writes - inside + output + reasoning - output_inside:
            return None, ()
        flags: tuple[Flag, ...] = ()
        if not rule.is_sure and (reads or writes or reasoning):
            if writes or reasoning or total is not None:
                return None, ()
            flags = _two_readings(rule.name) if rule.caches_inside or reads <= value else ()
        quantities = {
            "input": value - inside,
            "cache_read": reads,
            "cache_creation": writes,
            "output": output - output_inside,
            "reasoning": reasoning,
        }
        return {kind: quantity for kind, quantity in quantities.items() if quantity}, flags


@lru_cache(maxsize=64)
def _two_readings(convention: str) -> tuple[Flag, ...]:
    return (Flag(FlagCode.TWO_READINGS, convention),)


def sums_reader(usage: Mapping[Any, Any], *, service: str, model: str, source: str) -> SumsReader | None:
    """Return the reader of objects that have the same structure as this one and belong to the same model; None if it
    has more than sums of tokens. The parameters are those of `read_usage`."""
    structure = structure_of(usage, [])
    return None if structure is None else _sums_reader(structure, service_name(service), model.strip().lower(), source)


@lru_cache(maxsize=1024)
def _sums_reader(structure: Structure, platform: str, model: str, source: str) -> SumsReader | None:
    fields = count_fields(structure) if count_keys(structure[0]) else None
    if fields is None or media_kinds(platform, model):
        return None
    names = {name for _, name in fields.positions}
    if "input" not in names or not names <= _SUMS:
        return None
    convention = convention_for(fields.paths, platform, model, source)
    return SumsReader(fields.positions, convention, hides_thoughts(model, convention))


def _read_sums(usage: Mapping[Any, Any], platform: str, model: str, source: str) -> UsageReading | None:
    """Return the reading of an object that has nothing but sums of tokens, as most have; None for all others."""
    values: list[Any] = []
    structure = structure_of(usage, values)
    reader = _sums_reader(structure, platform, model, source) if structure is not None else None
    return reader.read(values) if reader is not None else None


def without_known_caches(reading: UsageReading) -> UsageReading:
    """Flag the usage of a sender that counts caches as plain input, so that its cost comes before a computed one. The
    object is not stored, because reading it again would say no more."""
    flags = (*reading.flags, Flag(FlagCode.UNREAD_USAGE, "the caches"))
    return msgspec.structs.replace(reading, flags=flags, raw=None)


class _Reader:
    """Reads the objects of one sender."""

    def __init__(self, platform: str, model: str, source: str) -> None:
        self._platform = platform
        self._model = model
        self._source = source

    def read(self, unwrapped: Unwrapped, beside: Mapping[str, Any]) -> UsageReading:
        gathered = gather(unwrapped.usage)
        if unwrapped.around:
            gather_conditions(gathered, unwrapped.around, is_sent_as_usage=True)
        if beside:
            gather_conditions(gathered, beside, is_sent_as_usage=False)
        for name, text in gathered.requested.items():
            gathered.attributes.setdefault(name, text)
        costs = stated_costs(gathered, self._platform)
        try:
            _check(gathered, unwrapped)
            quantities, convention = self._quantities(gathered)
            _check_repetition(gathered, unwrapped.repetition, quantities)
            calls = self._calls(quantities, unwrapped.iterations, gathered)
        except UnreadableError as error:
            return _unreadable(gathered, costs, error)
        return UsageReading(
            _sum(calls) if len(calls) > 1 else calls[0],
            calls,
            gathered.attributes,
            costs,
            tuple(gathered.flags),
            convention=convention.name if convention is not None else "",
        )

    def _quantities(self, gathered: Gathered) -> tuple[dict[str, Quantity], Convention | None]:
        """Return the quantities of one object by kind. Raises UnreadableError."""
        others = {
            kind: quantity
            for kind in gathered.values
            if kind in QUANTITY_FIELDS and (quantity := gathered.value_of(kind))
        }
        if has_only_input(self._model) and "input" not in gathered.values and "total" in gathered.values:
            gathered.values["input"] = gathered.values["total"]
        if not any(name in gathered.values for name in ("input", "uncached_input")):
            if any(gathered.distinct(name) for name in ("output", "cache_read", "cache_write", "total")):
                raise UnreadableError(UnreadableReason.NO_COUNTS, "The number of input tokens is missing.")
            if not others:
                raise UnreadableError(UnreadableReason.NO_COUNTS, "No known name of a count.")
            return others, None
        convention = convention_for(frozenset(gathered.keys), self._platform, self._model, self._source)
        totals, flags = resolve_totals(
            _numbers(gathered, convention), convention, hides_thoughts=hides_thoughts(self._model, convention)
        )
        for flag in flags:
            gathered.flag(flag.code, flag.detail)
        parts = {name: gathered.count(name) for name in gathered.values if name in _PARTS}
        if "cache_write_5m" not in parts and gathered.has_any(ONE_HOUR_PARTS):
            parts["cache_write_5m"] = max(totals.cache_write - sum(parts.get(name, 0) for name in LIFETIME_FIELDS), 0)
        quantities, split_flags = split(totals, parts)
        for flag in split_flags:
            gathered.flag(flag.code, flag.detail)
        self._assume_modalities(quantities, gathered)
        return {**quantities, **others}, convention

    def _assume_modalities(self, quantities: dict[str, int], gathered: Gathered) -> None:
        """Count tokens of audio and image models as such, with a flag, if the object does not name their modality."""
        for kind, media_kind in media_kinds(self._platform, self._model):
            is_known = any(name in gathered.values for name in _NAMED_MODALITIES[kind])
            if kind in quantities and not is_known:
                quantities[media_kind] = quantities.pop(kind)
                gathered.flag(FlagCode.UNKNOWN_MODALITY, f"{kind} counted as {media_kind}")

    def _calls(
        self, quantities: Mapping[str, Quantity], iterations: Iterable[Any], gathered: Gathered
    ) -> tuple[Mapping[str, Quantity], ...]:
        """Return the quantities by request. Iterations that are billed beside the totals are added."""
        counted: list[Mapping[str, Quantity]] = []
        added: list[Mapping[str, Quantity]] = []
        for iteration in iterations:
            if not isinstance(iteration, Mapping):
                continue
            kind = str(iteration.get("type", ""))
            part = gather({name: value for name, value in iteration.items() if name not in ("type", "model")})
            if part.error is not None or kind not in (*_COUNTED_ITERATIONS, *_ADDED_ITERATIONS):
                if part.error is not None or any(part.distinct(name) for name in part.values):
                    gathered.flag(FlagCode.UNREAD_USAGE, f"iterations.{kind or 'unnamed'}")
                continue
            (added if kind in _ADDED_ITERATIONS else counted).append(self._quantities(part)[0])
            for flag in part.flags:
                gathered.flag(flag.code, f"iterations: {flag.detail}")
        if not counted and not added:
            return (quantities,)
        tokens = {kind: value for kind, value in quantities.items() if kind not in QUANTITY_FIELDS}
        if _sum((*counted, *added)) == tokens:
            return _with_rest(quantities, tokens, (*counted, *added))
        if _sum(counted) == tokens:
            return _with_rest(quantities, tokens, (*counted, *added))
        if counted and counted[-1] != tokens:
            gathered.flag(FlagCode.DETAILS_MISMATCH, "iterations")
        return (quantities, *added)


def _check(gathered: Gathered, unwrapped: Unwrapped) -> None:
    if gathered.error is not None:
        raise gathered.error
    if unwrapped.models > 1:
        raise UnreadableError(UnreadableReason.SEVERAL_MODELS, "Send the usage of each model separately.")


def _check_repetition(gathered: Gathered, repetition: Mapping[str, Any], quantities: Mapping[str, Quantity]) -> None:
    """Flag counts that differ from those which a framework or a log repeats, with or without caches and reasoning."""
    if not repetition:
        return
    repeated = gather(repetition)
    whole, output = prompt_tokens(quantities), output_tokens(quantities)
    inputs = {whole, whole - sum(int(quantities.get(kind, 0)) for kind in CACHE_KINDS)}
    outputs = {output, output - int(quantities.get("reasoning", 0))}
    totals = {input_sum + output_sum for input_sum in inputs for output_sum in outputs}
    for name, expected in (("input", inputs), ("output", outputs), ("total", totals)):
        values = repeated.distinct(name)
        if values and values[0] not in expected:
            gathered.flag(FlagCode.CONFLICTING_VALUES, f"{name}: {values[0]}")


def _numbers(gathered: Gathered, convention: Convention) -> Numbers:
    uncached = gathered.value_of("uncached_input")
    total = gathered.value_of("total")
    by_lifetime = sum([gathered.count(name) for name in LIFETIME_FIELDS])
    written = gathered.count("cache_write")
    cache_read = gathered.count("cache_read")
    cached_parts = sum([gathered.count(name) for name in gathered.values if name in _CACHED_PARTS])
    inputs = [int(value) for value in gathered.distinct("input")]
    if not inputs:
        # Only the uncached input is given.
        inputs = [int(uncached or 0) + ((written or by_lifetime) + cache_read if convention.caches_inside else 0)]
    elif len(inputs) > 1 and abs(inputs[0] - inputs[1]) not in (
        cache_read,
        written or by_lifetime,
        cache_read + (written or by_lifetime),
    ):
        gathered.value_of("input")
    numbers = Numbers(
        tuple(inputs),
        gathered.count("output"),
        None if uncached is None else int(uncached),
        None if total is None else int(total),
        cache_read or cached_parts,
        written or by_lifetime,
        gathered.count("reasoning"),
        0 if "tool_input" in convention.ignored else gathered.count("tool_input"),
        gathered.count("citation"),
    )
    return numbers if convention.media_inside else _with_media(numbers, gathered)


def _with_media(numbers: Numbers, gathered: Gathered) -> Numbers:
    """Return the numbers of a sender that counts audio and images beside its input and output, unless its total says
    otherwise."""
    media = {
        kind: sum(gathered.count(name) for name in names if name in gathered.values)
        for kind, names in _NAMED_MEDIA.items()
    }
    whole = numbers.inputs[0] + numbers.output + numbers.cache_read + numbers.cache_write + numbers.reasoning
    if numbers.total not in (None, whole + sum(media.values())):
        return numbers
    return msgspec.structs.replace(
        numbers,
        inputs=tuple(value + media["input"] for value in numbers.inputs),
        output=numbers.output + media["output"],
    )


def _unreadable(gathered: Gathered, costs: StatedCosts, error: UnreadableError) -> UsageReading:
    return UsageReading(
        attributes=gathered.attributes,
        costs=costs,
        flags=tuple(gathered.flags),
        reason=error.reason,
        detail=error.detail,
    )


def _sum(calls: Iterable[Mapping[str, Quantity]]) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for call in calls:
        for kind, quantity in call.items():
            total[kind] = total.get(kind, 0) + quantity
    return total


def _with_rest(
    quantities: Mapping[str, Quantity], tokens: Mapping[str, Quantity], calls: tuple[Mapping[str, Quantity], ...]
) -> tuple[Mapping[str, Quantity], ...]:
    """Return the calls, the first of them with what is not counted in tokens."""
    others = {kind: value for kind, value in quantities.items() if kind not in tokens}
    return ({**calls[0], **others}, *calls[1:])
