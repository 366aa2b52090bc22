"""Resolution of totals: whether caches, reasoning and tool prompts are part of the input and output or beside them.

All combinations that the numbers allow are tried. If the object has a total (or the uncached input), a combination
must add up to it. The sender's convention is taken if it does; else the only other one that does; and where neither
exists, the convention with a flag. What is larger than what includes it has no reading.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product

from msgspec import Struct

from billing.ingest.usage.conventions import Convention
from billing.ingest.usage.types import Flag, FlagCode, UnreadableError, UnreadableReason


class Numbers(Struct, frozen=True, gc=False):
    """The totals and parts as they stand in the object. `inputs` has several values if its names disagree."""

    inputs: tuple[int, ...]
    output: int = 0
    uncached_input: int | None = None
    total: int | None = None
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    tool_input: int = 0
    citation: int = 0


class Totals(Struct, frozen=True, gc=False):
    """Disjoint sums: input without caches, caches, and output of which reasoning and citations are parts. `tool_input`
    is a part of the uncached input."""

    uncached: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int
    citation: int
    tool_input: int = 0


class _Combination(Struct, frozen=True, gc=False):
    reads_inside: bool
    writes_inside: bool
    reasoning_inside: bool
    tools_inside: bool
    citations_inside: bool


class _Reading(Struct, frozen=True, gc=False):
    totals: Totals
    all_tokens: int
    stated_sum: int
    agrees_with_uncached: bool
    is_mixed: bool
    """Of reads and writes of the cache one is inside the input and one beside it, which hardly any sender does."""


def resolve_totals(numbers: Numbers, convention: Convention, *, hides_thoughts: bool) -> tuple[Totals, list[Flag]]:
    """Return the sums and what is doubtful about them. Raises UnreadableError if there is no reading."""
    conventional = _conventional(convention)
    if convention.is_sure and len(numbers.inputs) == 1:
        reading = _read(numbers, numbers.inputs[0], conventional)
        if reading is not None and _adds_up(reading, numbers, convention):
            return reading.totals, []
    usual = [reading for value in numbers.inputs if (reading := _read(numbers, value, conventional)) is not None]
    fitting = [reading for reading in usual if _adds_up(reading, numbers, convention)]
    if fitting and convention.is_sure:
        return fitting[0].totals, []
    others = [reading for value in numbers.inputs for reading in _others(numbers, value, conventional)]
    adding_up = [reading for reading in others if _adds_up(reading, numbers, None)]
    alternatives = {reading.totals for reading in adding_up}
    if fitting:
        totals = fitting[0].totals
        is_doubtful = bool(alternatives - {totals})
        return totals, [Flag(FlagCode.TWO_READINGS, convention.name)] if is_doubtful else []
    has_evidence = numbers.total is not None or numbers.uncached_input is not None
    if len(alternatives) == 1 and (has_evidence or not convention.is_strict):
        is_unusual = convention.is_strict or all(reading.is_mixed for reading in adding_up)
        is_surprising = is_unusual or (convention.is_sure and (bool(usual) or not has_evidence))
        return alternatives.pop(), [Flag(FlagCode.UNUSUAL_READING, convention.name)] if is_surprising else []
    if len(alternatives) > 1:
        if usual:
            return usual[0].totals, [Flag(FlagCode.TWO_READINGS, convention.name)]
        raise UnreadableError(UnreadableReason.CONTRADICTION, "More than one reading adds up to the total.")
    return _without_agreement(numbers, convention, usual, others, hides_thoughts=hides_thoughts)


def _without_agreement(
    numbers: Numbers, convention: Convention, usual: list[_Reading], others: list[_Reading], *, hides_thoughts: bool
) -> tuple[Totals, list[Flag]]:
    """Return the best reading where none adds up to the total."""
    if usual:
        reading = usual[0]
        hidden = (numbers.total or 0) - reading.all_tokens
        if hides_thoughts and not numbers.reasoning and hidden > 0 and reading.agrees_with_uncached:
            return _with_thoughts(reading.totals, hidden), []
        detail = f"{numbers.total} is not {reading.all_tokens}" if numbers.total is not None else "uncached input"
        return reading.totals, [Flag(FlagCode.TOTAL_MISMATCH, detail)]
    # The total of senders that report caches beside the input may be the sum of the two numbers only.
    sums = {reading.totals for reading in others if reading.stated_sum == numbers.total}
    if len(sums) == 1 and not convention.is_strict:
        return sums.pop(), [Flag(FlagCode.TOTAL_MISMATCH, f"{numbers.total} leaves out the caches")]
    raise UnreadableError(UnreadableReason.CONTRADICTION, "A part is larger than what includes it.")


def _with_thoughts(totals: Totals, thoughts: int) -> Totals:
    return Totals(
        totals.uncached,
        totals.cache_read,
        totals.cache_write,
        totals.output + thoughts,
        totals.reasoning + thoughts,
        totals.citation,
        totals.tool_input,
    )


@cache
def _conventional(convention: Convention) -> _Combination:
    return _Combination(
        convention.caches_inside,
        convention.caches_inside,
        convention.reasoning_inside,
        convention.tools_inside,
        convention.citations_inside,
    )


def _others(numbers: Numbers, value: int, conventional: _Combination) -> Iterator[_Reading]:
    """Yield the other readings that the numbers allow. A part that is zero is on either side."""
    choices = (
        (True, False) if numbers.cache_read else (conventional.reads_inside,),
        (True, False) if numbers.cache_write else (conventional.writes_inside,),
        (True, False) if numbers.reasoning else (conventional.reasoning_inside,),
        (True, False) if numbers.tool_input else (conventional.tools_inside,),
        (True, False) if numbers.citation else (conventional.citations_inside,),
    )
    for combination in product(*choices):
        candidate = _Combination(*combination)
        if candidate != conventional and (reading := _read(numbers, value, candidate)) is not None:
            yield reading


def _read(numbers: Numbers, value: int, combination: _Combination) -> _Reading | None:
    """Return the sums under one combination; None if a part exceeds what includes it."""
    reads, writes, tools = numbers.cache_read, numbers.cache_write, numbers.tool_input
    inside = reads * combination.reads_inside + writes * combination.writes_inside + tools * combination.tools_inside
    output_inside = numbers.reasoning * combination.reasoning_inside + numbers.citation * combination.citations_inside
    if inside > value or output_inside > numbers.output:
        return None
    whole = value + reads + writes + tools - inside
    output = numbers.output + numbers.reasoning + numbers.citation - output_inside
    uncached = whole - reads - writes
    given = numbers.uncached_input
    return _Reading(
        Totals(uncached, reads, writes, output, numbers.reasoning, numbers.citation, tools),
        whole + output,
        value + numbers.output,
        given is None or given in (uncached, uncached - tools),
        bool(reads and writes) and combination.reads_inside != combination.writes_inside,
    )


def _adds_up(reading: _Reading, numbers: Numbers, convention: Convention | None) -> bool:
    if not reading.agrees_with_uncached:
        return False
    if numbers.total is None or reading.all_tokens == numbers.total:
        return True
    return convention is not None and not convention.total_has_all and reading.stated_sum == numbers.total
