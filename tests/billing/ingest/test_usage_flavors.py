"""Every usage format that genai-prices extracts is read with the same counts."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ArrayMatch, ClauseEquals, Provider, Usage, UsageExtractor

from billing.ingest.usage.types import FlagCode
from billing.ingest.usage.usage_reader import read_usage
from billing.pricing.kinds import Quantities, output_tokens, prompt_tokens

MEDIA = ("audio", "image", "video")
# Our kinds of each of their counts.
KINDS_OF = {
    "cache_read_tokens": ("cache_read", "audio_cache_read", "image_cache_read", "video_cache_read"),
    "cache_write_1h_tokens": ("cache_creation_1h",),
    "output_reasoning_tokens": ("reasoning",),
    "output_citation_tokens": ("citation",),
    **{f"input_{name}_tokens": (f"{name}_input", f"{name}_cache_read") for name in MEDIA},
    **{f"cache_{name}_read_tokens": (f"{name}_cache_read",) for name in MEDIA},
    **{f"output_{name}_tokens": (f"{name}_output",) for name in MEDIA},
    "web_searches": ("web_search",),
    "input_document_pages": ("page",),
    "audio_seconds": ("audio_seconds", "audio_input_seconds"),
    "input_text_messages": ("text_message",),
}


def flavors() -> Iterator[tuple[Provider, UsageExtractor]]:
    for provider in get_snapshot().providers:
        for extractor in provider.extractors or ():
            yield provider, extractor


FLAVORS = {f"{provider.id} {extractor.api_flavor}": (provider, extractor) for provider, extractor in flavors()}


@pytest.mark.parametrize("flavor", FLAVORS)
def test_counts_are_those_of_genai_prices(flavor: str) -> None:
    provider, extractor = FLAVORS[flavor]
    response = example(extractor)
    _, theirs = extractor.extract(response)

    reading = read_usage(response, service=provider.id)

    assert reading.reason is None
    assert {flag.code for flag in reading.flags} <= {FlagCode.DETAILS_MISMATCH}, "the example's details are partial"
    assert counts(reading.quantities) == their_counts(theirs)


def counts(quantities: Quantities) -> dict[str, int]:
    found = {
        "input_tokens": prompt_tokens(quantities),
        "output_tokens": output_tokens(quantities),
        "cache_write_tokens": int(quantities.get("cache_creation", 0) + quantities.get("cache_creation_1h", 0)),
        **{name: sum(int(quantities.get(kind, 0)) for kind in kinds) for name, kinds in KINDS_OF.items()},
    }
    return {name: count for name, count in found.items() if count}


def their_counts(usage: Usage) -> dict[str, int]:
    def count(name: str) -> int:
        return int(usage.reported_value(name))

    found = {
        "input_tokens": count("input_tokens"),
        "output_tokens": count("output_tokens"),
        "cache_write_tokens": max(
            count("cache_write_tokens"), count("cache_write_5m_tokens") + count("cache_write_1h_tokens")
        ),
        **{name: count(name) for name in KINDS_OF},
    }
    return {name: number for name, number in found.items() if number}


def example(extractor: UsageExtractor) -> dict[str, Any]:
    """Return a response with a number at every path of the extractor: 10,000 in, 5,000 out, and small parts."""
    usage: dict[str, Any] = {}
    seen: set[str] = set()
    for mapping in extractor.mappings:
        path: list[str | ArrayMatch] = [mapping.path] if isinstance(mapping.path, str) else [*mapping.path]
        name = str(path).lower()
        # Text is what remains. Audio beside a cache leaves open what was cached.
        is_rest = "text" in name and "cached_prompt" not in name and not mapping.required
        if name in seen or is_rest or ("audio" in name and "prompt_tokens_details" in name):
            continue
        seen.add(name)
        put(usage, path, number(mapping.dest, name, len(seen)))
    make_consistent(usage)
    root = [extractor.root] if isinstance(extractor.root, str) else list(extractor.root)
    response: dict[str, Any] = usage
    for step in reversed(root):
        response = {str(step): response}
    return response


def number(destination: str, name: str, position: int) -> int:
    if destination == "input_tokens" and "cache" not in name and "tool" not in name:
        return 10_000
    is_part = any(part in name for part in ("reason", "thought", "citation"))
    return 5_000 if destination == "output_tokens" and not is_part else 100 + position


def put(usage: dict[str, Any], path: list[str | ArrayMatch], value: int) -> None:
    holder: Any = usage
    for step, following in pairwise(path):
        if isinstance(step, ArrayMatch):
            assert isinstance(step.match, ClauseEquals)
            label = step.match.equals
            item = next((item for item in holder if item[step.field] == label), None)
            if item is None:
                item = {step.field: label}
                holder.append(item)
            holder = item
        else:
            holder = holder.setdefault(step, [] if isinstance(following, ArrayMatch) else {})
    holder[path[-1]] = value


def make_consistent(usage: dict[str, Any]) -> None:
    """Let totals equal their parts where the example has both."""
    details = usage.get("input_token_details")
    if isinstance(details, dict) and "cached_tokens_details" in details:
        details["cached_tokens"] = sum(details["cached_tokens_details"].values())
        for name in ("audio_tokens", "image_tokens"):
            details[name] += 1_000
    for total, parts, item in (
        ("cache_creation_input_tokens", "cache_creation", None),
        ("cacheWriteInputTokens", "cacheDetails", "inputTokens"),
        ("cachedContentTokenCount", "cacheTokensDetails", "tokenCount"),
        ("toolUsePromptTokenCount", "toolUsePromptTokensDetails", "tokenCount"),
    ):
        if total in usage and parts in usage:
            usage[total] = sum(values(usage[parts], item))
    for entry in usage.get("promptTokensDetails", ()):
        entry["tokenCount"] += 1_000


def values(parts: Any, item: str | None) -> Iterator[int]:
    if isinstance(parts, Mapping):
        yield from parts.values()
    else:
        yield from (part[item] for part in parts)
