"""Conversion of a provider's `usage` object to the ledger's token counts.

genai-prices knows the meaning of each provider's fields. This module recognizes the shape (the object comes without its
response) and converts inclusive counts to the ledger's uncached input. Pure: no Django, no database.

LiteLLM uses OpenAI's shape for every provider, with fields of its own for cache writes.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.types import Provider, Usage

from billing.ingest.types import LARGEST_COUNT

_CAMEL = re.compile(r"_([a-z])")


class UnreadableUsageError(ValueError):
    """The object has no known shape; the message names what is missing."""


def token_counts(usage: Mapping[str, Any]) -> dict[str, int]:
    """Return counts by the ledger's field names, from a usage object of OpenAI (chat, embeddings, responses), Anthropic
    or Gemini. Raises UnreadableUsageError."""
    provider, flavor, response = _recognize(usage)
    try:
        _, extracted = _provider(provider).extract_usage(response, api_flavor=flavor)
    except (ValueError, TypeError) as error:
        raise UnreadableUsageError(str(error)) from error
    counts = _exclusive(extracted)
    return _with_litellms_cache_writes(counts, usage) if "prompt_tokens" in usage else counts


def _recognize(usage: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return the provider, the flavor of its API, and a response as genai-prices expects it."""
    if "prompt_tokens" in usage:
        return "openai", "chat" if "completion_tokens" in usage else "embeddings", {"usage": usage}
    if "input_tokens" in usage:
        # Responses include cached tokens in input_tokens, Anthropic does not. Only the former has these details.
        if "input_tokens_details" in usage:
            return "openai", "responses", {"usage": usage}
        return "anthropic", "default", {"usage": usage}
    camel = {_CAMEL.sub(lambda match: match[1].upper(), key): value for key, value in usage.items()}
    if "promptTokenCount" in camel:
        details = {key: _camel_details(value) for key, value in camel.items()}
        return "google", "default", {"usageMetadata": details}
    raise UnreadableUsageError(
        "the usage object has none of prompt_tokens (OpenAI chat), input_tokens (OpenAI responses, Anthropic) "
        "and promptTokenCount (Gemini)"
    )


def _camel_details(value: Any) -> Any:
    """Gemini's Python client writes `{"modality": ..., "token_count": ...}` where its API has `tokenCount`."""
    if not isinstance(value, list):
        return value
    return [
        {"tokenCount" if key == "token_count" else key: part for key, part in item.items()}
        if isinstance(item, dict)
        else item
        for item in value
    ]


@cache
def _provider(provider_id: str) -> Provider:
    provider = find_provider_by_id(get_snapshot().providers, provider_id)
    if provider is None:
        raise LookupError(f"genai-prices no longer knows {provider_id}.")
    return provider


def _exclusive(usage: Usage) -> dict[str, int]:
    """Convert counts of genai-prices, whose input includes the caches, to the ledger's exclusive counts."""

    def count(name: str) -> int:
        value = usage.reported_value(name)
        if value != int(value) or value < 0:
            raise UnreadableUsageError(f"{name} is not a whole number of tokens")
        if value > LARGEST_COUNT:
            raise UnreadableUsageError(f"{name} is more than {LARGEST_COUNT}")
        return int(value)

    cache_read = count("cache_read_tokens")
    cache_creation_1h = count("cache_write_1h_tokens")
    cache_creation = max(count("cache_write_tokens"), count("cache_write_5m_tokens") + cache_creation_1h)
    uncached = count("input_tokens") - cache_read - cache_creation
    if uncached < 0:
        raise UnreadableUsageError("more tokens were read from or written to the cache than went in")
    audio_input = count("input_audio_tokens") - count("cache_audio_read_tokens")
    return {
        "input_tokens": uncached,
        "output_tokens": count("output_tokens"),
        "cache_read_tokens": cache_read,
        "cache_creation_tokens": cache_creation,
        "cache_creation_1h_tokens": cache_creation_1h,
        "reasoning_tokens": count("output_reasoning_tokens"),
        "audio_input_tokens": min(max(audio_input, 0), uncached),
        "audio_output_tokens": count("output_audio_tokens"),
    }


def _with_litellms_cache_writes(counts: dict[str, int], usage: Mapping[str, Any]) -> dict[str, int]:
    """Add LiteLLM's cache writes. The prompt tokens include them, except in older versions, where they exceed it."""
    details = usage.get("prompt_tokens_details")
    within = details if isinstance(details, dict) else {}
    by_age = within.get("cache_creation_token_details")
    written = max(_count_in(within, "cache_creation_tokens"), _count_in(usage, "cache_creation_input_tokens"))
    if not written or counts["cache_creation_tokens"]:
        return counts
    uncached = counts["input_tokens"]
    uncached -= written if written <= uncached else 0
    one_hour = _count_in(by_age, "ephemeral_1h_input_tokens") if isinstance(by_age, dict) else 0
    return {
        **counts,
        "input_tokens": uncached,
        "cache_creation_tokens": written,
        "cache_creation_1h_tokens": min(one_hour, written),
        "audio_input_tokens": min(counts["audio_input_tokens"], uncached),
    }


def _count_in(holder: Mapping[str, Any], name: str) -> int:
    value = holder.get(name)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= LARGEST_COUNT:
        raise UnreadableUsageError(f"{name} is not a number of tokens")
    return value
