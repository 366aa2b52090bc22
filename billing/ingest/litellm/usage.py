"""Token counts and reported cost of a call, from LiteLLM's payload."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from billing.ingest.litellm.payload import Payload
from billing.ingest.types import LARGEST_COUNT
from billing.ingest.validate import InvalidEventError


def reported_cost(payload: Payload, counts: Mapping[str, int]) -> Decimal | None:
    """Return LiteLLM's cost in USD, or None if it is a 0 that only means "no price known" or "no usage known".

    A 0 is accepted for a response from LiteLLM's cache, and for calls without usage: failures, and calls without a
    model (lists, files). LiteLLM does not distinguish a free model from one without a price; for a free model the
    organization needs a price of 0.
    """
    cost = payload.response_cost
    nothing_used = not counts and (payload.status == "failure" or not payload.model)
    if payload.cache_hit or (cost == 0 and nothing_used):
        return cost
    return None if cost == 0 or payload.response_cost_failure_debug_info else cost


def token_counts(payload: Payload, usage: Any) -> dict[str, int]:
    """Return the ledger's counts; empty if LiteLLM counts no tokens, because the usage may be unknown."""
    prompt, output = payload.prompt_tokens or 0, payload.completion_tokens or 0
    if not prompt and not output:
        return {}
    details, output_details = _object(usage, "prompt_tokens_details"), _object(usage, "completion_tokens_details")
    cache_read = max(_count(details, "cached_tokens"), _count(usage, "cache_read_input_tokens"))
    cache_creation = max(
        _count(details, "cache_creation_tokens"),
        _count(details, "cache_write_tokens"),
        _count(usage, "cache_creation_input_tokens"),
    )
    one_hour = _count(_object(details, "cache_creation_token_details"), "ephemeral_1h_input_tokens")
    uncached = _uncached(prompt, cache_read, cache_creation)
    return {
        "input_tokens": uncached,
        "output_tokens": output,
        "cache_read_tokens": cache_read,
        "cache_creation_tokens": cache_creation,
        "cache_creation_1h_tokens": min(one_hour, cache_creation),
        "reasoning_tokens": min(_count(output_details, "reasoning_tokens"), output),
        "audio_input_tokens": min(_count(details, "audio_tokens"), uncached),
        "audio_output_tokens": min(_count(output_details, "audio_tokens"), output),
    }


def _uncached(prompt: int, cache_read: int, cache_creation: int) -> int:
    """Return the uncached input. LiteLLM includes the caches in `prompt_tokens`; where they exceed it, a custom
    provider or an older version did not."""
    if cache_read + cache_creation <= prompt:
        return prompt - cache_read - cache_creation
    return prompt - cache_read if cache_read <= prompt else prompt


def _object(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else None


def _count(holder: Any, name: str) -> int:
    value = _object(holder, name)
    if type(value) is not int or value < 0:
        return 0
    if value > LARGEST_COUNT:
        raise InvalidEventError(name, "out_of_range", f"{name} is more than {LARGEST_COUNT}.")
    return value
