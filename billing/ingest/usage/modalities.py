"""Splitting of sums into disjoint kinds: by modality, and cache writes by lifetime."""

from collections.abc import Mapping

from billing.ingest.usage.spellings import LIFETIME_FIELDS
from billing.ingest.usage.token_totals import Totals
from billing.ingest.usage.types import Flag, FlagCode, UnreadableError, UnreadableReason

# The media of the kinds, and the modalities that are billed as each.
_MODALITIES = {"audio": ("audio",), "image": ("image", "document"), "video": ("video",)}
_MEDIA = tuple(_MODALITIES)
_TEXT = frozenset({"text_in", "text_cached", "text_tool", "text_out"})
_KIND_OF_LIFETIME = {
    "cache_write_5m": "cache_creation",
    "cache_write_30m": "cache_creation_30m",
    "cache_write_1h": "cache_creation_1h",
    "cache_write_12h": "cache_creation_12h",
}


def split(totals: Totals, fields: Mapping[str, int]) -> tuple[dict[str, int], list[Flag]]:
    """Return the quantities by kind. `fields` has the reported parts (`audio_in`, `audio_cached`, `cache_write_1h`).

    Raises UnreadableError if parts exceed what includes them.
    """
    flags: list[Flag] = []
    if not any(value for name, value in fields.items() if name not in _TEXT):
        _check_texts(totals, fields, flags)
        return plain_quantities(totals), flags
    quantities = {**_input(totals, fields, flags), **_writes(totals, fields, flags), **_output(totals, fields, flags)}
    return {kind: quantity for kind, quantity in quantities.items() if quantity}, flags


def _check_texts(totals: Totals, fields: Mapping[str, int], flags: list[Flag]) -> None:
    """Flag parts that are all text and do not add up to the sums."""
    if not fields:
        return
    cached = fields.get("text_cached")
    if cached and cached != totals.cache_read:
        flags.append(Flag(FlagCode.DETAILS_MISMATCH, f"cached input is not {totals.cache_read}"))
    _check_text(fields, "text_in", 0, _sums_of_input(totals), flags)
    visible = totals.output - totals.reasoning - totals.citation
    _check_text(fields, "text_out", 0, (totals.output, visible), flags)


def plain_quantities(totals: Totals) -> dict[str, int]:
    """Return the quantities of sums without parts."""
    quantities = {
        "input": totals.uncached,
        "cache_read": totals.cache_read,
        "cache_creation": totals.cache_write,
        "output": totals.output - totals.reasoning - totals.citation,
        "reasoning": totals.reasoning,
        "citation": totals.citation,
    }
    return {kind: quantity for kind, quantity in quantities.items() if quantity}


def _input(totals: Totals, fields: Mapping[str, int], flags: list[Flag]) -> dict[str, int]:
    prompt = _media(fields, "in", "tool")
    cached = _media(fields, "cached")
    is_cache_broken_down = any(cached.values()) or bool(fields.get("text_cached"))
    if is_cache_broken_down and sum(cached.values()) + fields.get("text_cached", 0) != totals.cache_read:
        flags.append(Flag(FlagCode.DETAILS_MISMATCH, f"cached input is not {totals.cache_read}"))
    if not any(prompt.values()) and not any(cached.values()):
        _check_text(fields, "text_in", 0, _sums_of_input(totals), flags)
        return {"input": totals.uncached, "cache_read": totals.cache_read}
    _check_text(fields, "text_in", sum(prompt.values()) + fields.get("text_tool", 0), _sums_of_input(totals), flags)
    if totals.cache_read and not is_cache_broken_down:
        cached = _cached_of_unknown_modality(totals, fields, prompt, flags)
    if sum(cached.values()) > totals.cache_read:
        raise UnreadableError(UnreadableReason.CONTRADICTION, "The parts of the cached input exceed it.")
    if not _is_of_uncached(totals, fields, prompt):
        prompt = {name: prompt[name] - cached[name] for name in _MEDIA}
    plain = totals.uncached - sum(prompt.values())
    if plain < 0 or min(prompt.values()) < 0:
        raise UnreadableError(UnreadableReason.CONTRADICTION, "The parts of the input exceed it.")
    return {
        "input": plain,
        "cache_read": totals.cache_read - sum(cached.values()),
        **{f"{name}_input": tokens for name, tokens in prompt.items()},
        **{f"{name}_cache_read": tokens for name, tokens in cached.items()},
    }


def _media(fields: Mapping[str, int], *suffixes: str) -> dict[str, int]:
    """Return the reported tokens of each medium in these parts."""
    return {
        name: sum(fields.get(f"{modality}_{part}", 0) for modality in modalities for part in suffixes)
        for name, modalities in _MODALITIES.items()
    }


def _sums_of_input(totals: Totals) -> tuple[int, ...]:
    """The details may be of the whole prompt, without the caches, or without the prompts of tools."""
    whole = totals.uncached + totals.cache_read + totals.cache_write
    sums = (whole, totals.uncached, whole - totals.cache_read, whole - totals.cache_write)
    return (*sums, whole - totals.tool_input) if totals.tool_input else sums


def _is_of_uncached(totals: Totals, fields: Mapping[str, int], prompt: Mapping[str, int]) -> bool:
    """Whether the details are of the uncached input only, as LiteLLM's are."""
    text = fields.get("text_in")
    if text is None or not totals.cache_read:
        return False
    return text + sum(prompt.values()) in (totals.uncached, totals.uncached + totals.cache_write)


def _cached_of_unknown_modality(
    totals: Totals, fields: Mapping[str, int], prompt: Mapping[str, int], flags: list[Flag]
) -> dict[str, int]:
    """Return the media in the cache where the object does not say: as little as the numbers allow."""
    nothing = dict.fromkeys(_MEDIA, 0)
    if _is_of_uncached(totals, fields, prompt):
        flags.append(Flag(FlagCode.UNKNOWN_MODALITY, "cached input"))
        return nothing
    whole = totals.uncached + totals.cache_read + totals.cache_write
    text = whole - sum(prompt.values())
    present = [name for name in _MEDIA if prompt[name]]
    if not text and len(present) == 1:
        return {**nothing, present[0]: totals.cache_read}
    flags.append(Flag(FlagCode.UNKNOWN_MODALITY, "cached input"))
    excess = max(totals.cache_read - max(text, 0), 0)
    cached = nothing
    for name in present:
        cached[name] = min(excess, prompt[name])
        excess -= cached[name]
    return cached


def _writes(totals: Totals, fields: Mapping[str, int], flags: list[Flag]) -> dict[str, int]:
    by_lifetime = {_KIND_OF_LIFETIME[field]: fields.get(field, 0) for field in LIFETIME_FIELDS}
    rest = totals.cache_write - sum(by_lifetime.values())
    if rest < 0:
        raise UnreadableError(UnreadableReason.CONTRADICTION, "The cache writes by lifetime exceed their total.")
    if rest and rest != totals.cache_write:
        flags.append(Flag(FlagCode.UNKNOWN_CACHE_LIFETIME, f"{rest} of {totals.cache_write}"))
    by_lifetime["cache_creation"] += rest
    return by_lifetime


def _output(totals: Totals, fields: Mapping[str, int], flags: list[Flag]) -> dict[str, int]:
    media = _media(fields, "out")
    visible = totals.output - totals.reasoning - totals.citation
    _check_text(fields, "text_out", sum(media.values()), (totals.output, visible), flags)
    plain = visible - sum(media.values())
    if plain < 0:
        raise UnreadableError(UnreadableReason.CONTRADICTION, "The parts of the output exceed it.")
    return {
        "output": plain,
        "reasoning": totals.reasoning,
        "citation": totals.citation,
        **{f"{name}_output": tokens for name, tokens in media.items()},
    }


def _check_text(fields: Mapping[str, int], field: str, media: int, sums: tuple[int, ...], flags: list[Flag]) -> None:
    """Flag details that name their text and do not add up. Senders fill in a 0 where they do not know it."""
    text = fields.get(field)
    if text and text + media not in sums:
        flags.append(Flag(FlagCode.DETAILS_MISMATCH, f"{text + media} is not {sums[0]}"))
