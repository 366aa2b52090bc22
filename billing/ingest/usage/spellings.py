"""The names under which senders report counts, conditions and costs. Data, in the spelling of `paths`.

A new name is one entry. A field is a total or a part (`readings` resolves what includes what) or, where it has the id
of a kind of `billing.pricing.kinds`, a quantity by itself.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple

from billing.pricing.conditions import TIER_NAMES

# Totals and their parts. The first name that has a value counts; others must agree with it.
TOKEN_FIELDS: Mapping[str, tuple[str, ...]] = {
    "input": (
        "prompt_tokens",
        "input_tokens",
        "prompt_token_count",
        "input_token_count",
        "input_tokens.total",
        "input",
        "prompt",
        "prompt_eval_count",
        "input_text_token_count",
        "total_input_tokens",
        "native_tokens_prompt",
        "billed_units.input_tokens",
        "tokens.input_tokens",
        "prompt_llm_token_count",
        "token_count_prompt",
        "x_amzn_bedrock_input_token_count",
    ),
    "uncached_input": (
        "uncached_input_tokens",
        "input_uncached_tokens",
        "prompt_cache_miss_tokens",
        "input_details.no_cache_tokens",
        "input_tokens.no_cache",
    ),
    "output": (
        "completion_tokens",
        "output_tokens",
        "candidates_token_count",
        "response_token_count",
        "output_token_count",
        "output_tokens.total",
        "output",
        "completion",
        "eval_count",
        "generation_token_count",
        "results.#.token_count",
        "total_output_tokens",
        "native_tokens_completion",
        "billed_units.output_tokens",
        "tokens.output_tokens",
        "completion_llm_token_count",
        "token_count_completion",
        "generated_token_count",
        "x_amzn_bedrock_output_token_count",
    ),
    "total": ("total_tokens", "total_token_count", "total", "total_llm_token_count", "token_count_total", "tokens"),
    "cache_read": (
        "input_details.cached_tokens",
        "input_details.cache_read_tokens",
        "input_details.cache_read_input_tokens",
        "input_details.cache_read",
        "input_details.cache_input",
        "input_details.cached",
        "cached_tokens",
        "num_cached_tokens",
        "cached_input_tokens",
        "cached_prompt_tokens",
        "cached_prompt_text_tokens",
        "cached_token_count",
        "cached_input_token_count",
        "prompt_cached_tokens",
        "prompt_cache_read_tokens",
        "cached_content_token_count",
        "input_cached_tokens",
        "input_cache_read",
        "input_cache_read_tokens",
        "input_tokens.cache_read",
        "prompt_cache_hit_tokens",
        "cache_read",
        "cache_read_tokens",
        "cache_read_input_tokens",
        "cache_read_input_token_count",
        "cache_read.input_tokens",
        "total_cached_tokens",
        "native_tokens_cached",
        "details.cached_tokens",
        "details.cached_content_tokens",
        "details.cache_read_tokens",
        "details.cache_read_input_tokens",
        "x_amzn_bedrock_cache_read_input_token_count",
    ),
    "cache_write": (
        "input_details.cache_write_tokens",
        "input_details.cache_creation_tokens",
        "input_details.cache_creation_input_tokens",
        "input_details.cache_write",
        "input_details.cache_creation",
        "cache_write",
        "cache_write_tokens",
        "cache_write_input_tokens",
        "cache_write_input_token_count",
        "cache_write.input_tokens",
        "cache_creation_tokens",
        "cache_creation_input_tokens",
        "cache_creation_input_token_count",
        "cache_creation.input_tokens",
        "input_cache_write",
        "input_cache_write_tokens",
        "input_cache_creation",
        "input_cache_creation_tokens",
        "input_tokens.cache_write",
        "prompt_cache_creation_tokens",
        "prompt_cache_write_tokens",
        "details.cache_write_tokens",
        "details.cache_creation_tokens",
        "details.cache_creation_input_tokens",
        "x_amzn_bedrock_cache_write_input_token_count",
    ),
    "reasoning": (
        "output_details.reasoning_tokens",
        "output_details.reasoning",
        "output_details.thinking_tokens",
        "reasoning_tokens",
        "reasoning_token_count",
        "reasoning_output_tokens",
        "reasoning.output_tokens",
        "output_reasoning",
        "output_reasoning_tokens",
        "output_tokens.reasoning",
        "thinking_tokens",
        "thoughts_token_count",
        "total_thought_tokens",
        "details.reasoning_tokens",
        "details.thinking_tokens",
        "details.thoughts_tokens",
        "native_tokens_reasoning",
        "completion_reasoning_tokens",
    ),
    "tool_input": (
        "tool_use_prompt_token_count",
        "tool_token_count",
        "total_tool_use_tokens",
        "details.tool_use_prompt_tokens",
    ),
    "citation": ("citation_tokens", "output_details.citation_tokens"),
}
# Names that only count where no other one has a value. Cohere bills `billed_units`, which differ from its tokens.
SECONDARY = frozenset({"tokens.input_tokens", "tokens.output_tokens"})
# Google counts pages of PDF files apart; they are billed as images.
MODALITIES = ("text", "audio", "image", "video", "document")
_LIFETIMES = ("5m", "30m", "1h", "12h")
LIFETIME_FIELDS = tuple(f"cache_write_{lifetime}" for lifetime in _LIFETIMES)


def _modality_fields() -> dict[str, tuple[str, ...]]:
    """The parts by modality: `audio_in`, `audio_cached`, `audio_tool` and `audio_out`, for each modality."""
    fields: dict[str, tuple[str, ...]] = {}
    for name in MODALITIES:
        fields[f"{name}_in"] = (
            f"input_details.{name}_tokens",
            f"input_details.{name}",
            f"input_{name}_tokens",
            f"input_{name}",
            f"{name}_input_tokens",
            f"{name}.input_tokens",
            f"details.input_{name}_tokens",
            f"details.{name}_prompt_tokens",
        )
        fields[f"{name}_cached"] = (
            f"cached_details.{name}_tokens",
            f"input_details.cached_details.{name}_tokens",
            f"input_cached_{name}_tokens",
            f"cached_{name}_tokens",
            f"cache_{name}_read_tokens",
            f"cache_{name}_tokens",
            f"{name}.cache_read.input_tokens",
            f"details.cache_{name}_read_tokens",
            f"details.{name}_cache_tokens",
        )
        fields[f"{name}_tool"] = (f"tool_details.{name}_tokens", f"details.{name}_tool_use_prompt_tokens")
        fields[f"{name}_out"] = (
            f"output_details.{name}_tokens",
            f"output_details.{name}",
            f"output_{name}_tokens",
            f"output_{name}",
            f"{name}_output_tokens",
            f"{name}.output_tokens",
            f"output_tokens.{name}",
            f"details.output_{name}_tokens",
            f"details.{name}_candidates_tokens",
            f"details.{name}_response_tokens",
            # Pydantic AI's details are those of OpenAI's output.
            f"details.{name}_tokens",
        )
    return fields


MODALITY_FIELDS = _modality_fields()

# Quantities by themselves, by kind.
QUANTITY_FIELDS: Mapping[str, tuple[str, ...]] = {
    "web_search": (
        "server_tool_use.web_search_requests",
        "server_tool_use_details.web_search_requests",
        "server_tool_usage.web_search_requests",
        "server_side_tool_usage_details.web_search_calls",
        "input_details.web_search_requests",
        "output_details.web_search_requests",
        "details.web_search_requests",
        "tool_calls_details.search_web.invocation",
        "tool_usage.web_search.num_requests",
        "web_search_requests",
        "web_search_calls",
        "web_searches",
        "num_search_queries",
        "num_web_searches",
    ),
    "social_search": ("server_side_tool_usage_details.x_search_calls", "social_searches", "x_search_calls"),
    "file_search": (
        "server_side_tool_usage_details.file_search_calls",
        "file_search_calls",
        "file_search_requests",
        "storage_searches",
    ),
    "map_search": ("map_search_requests", "maps_grounding_requests"),
    "search_source": ("num_sources_used",),
    "code_execution": (
        "server_tool_use.code_execution_requests",
        "server_side_tool_usage_details.code_interpreter_calls",
        "code_interpreter_calls",
        "code_executions",
    ),
    "tool_call": ("server_side_tool_usage_details.mcp_calls",),
    "rerank_search": ("billed_units.search_units", "search_units", "rerank_searches"),
    "text_message": ("input_text_messages",),
    "image": ("image_count", "num_images", "images_generated", "generated_images", "billed_units.images"),
    "page": ("pages_processed", "page_count"),
    "annotated_page": ("annotated_pages_processed",),
    "character": ("character_count", "characters", "input_characters", "num_characters"),
    "audio_seconds": ("billable_audio_seconds", "audio_seconds"),
    "audio_input_seconds": ("seconds", "duration_seconds", "prompt_audio_seconds", "input_audio_seconds"),
    "audio_output_seconds": ("output_audio_seconds",),
    "video_seconds": ("video_seconds", "duration_seconds_video", "video_duration_seconds"),
    "session_seconds": ("session_seconds", "container_seconds"),
    "storage_token_hours": ("storage_token_hours",),
}

# Sums of calls of tools, which must be named one by one to have a price.
CALL_TOTALS = ("num_server_side_tools_used",)

# Processing conditions.
ATTRIBUTE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "service_tier": (
        "service_tier",
        "traffic_type",
        "processing",
        "processing_tier",
        "service_tier.type",
        "extra_properties.google.traffic_type",
    ),
    "speed": ("speed", "performance_config.latency"),
    "region": ("inference_geo", "data_region", "data_zone", "region"),
    "search_context": ("search_context_size",),
    "search_type": ("search_type",),
    "route": ("route",),
}
# What was requested counts where the response does not say what was done.
REQUESTED_FIELDS = {"request.service_tier": "service_tier"}
# Booleans that are conditions when true.
BOOLEAN_ATTRIBUTES = {"batch": ("service_tier", "batch"), "is_batch": ("service_tier", "batch")}


class CostField(NamedTuple):
    """A cost in the object: who states it (`provider`, `sender`, `gateway`) and its unit in USD.

    `platforms` bill by this field themselves; from others it is only the sender's statement, and beside all of the
    fields `estimated_beside` a framework's estimate. A 0 means that no price is known, except where `may_be_zero`.
    """

    stated_by: str
    unit: Decimal = Decimal(1)
    platforms: tuple[str, ...] = ()
    may_be_zero: bool = False
    estimated_beside: tuple[str, ...] = ()


# Pydantic AI prices its usage itself.
_PYDANTIC_AI = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
_CENT = Decimal("0.01")
COST_FIELDS: Mapping[str, CostField] = {
    "cost": CostField("provider", platforms=("openrouter",), may_be_zero=True, estimated_beside=_PYDANTIC_AI),
    "cost_in_usd_ticks": CostField("provider", Decimal("1e-10"), ("x-ai",)),
    "cost.total_cost": CostField("provider", platforms=("perplexity",)),
    "usage": CostField("provider", platforms=("openrouter",), may_be_zero=True),
    "total_cost": CostField("provider", platforms=("openrouter", "perplexity"), may_be_zero=True),
    "total_cents": CostField("provider", _CENT, ("cursor",)),
    "cost_usd": CostField("sender"),
    "total_cost_usd": CostField("sender"),
    "cost_in_usd": CostField("sender"),
    "estimated_cost": CostField("gateway"),
    "response_cost": CostField("gateway"),
    "spend": CostField("gateway"),
    "cost.total": CostField("gateway"),
    "cost_details.total": CostField("gateway"),
    "gen_ai.cost": CostField("gateway"),
    "gen_ai.cost.total": CostField("gateway"),
    "gen_ai.usage.cost": CostField("gateway"),
    "llm.cost.total": CostField("gateway"),
    "litellm.cost.total": CostField("gateway"),
    "litellm.response_cost": CostField("gateway"),
    "operation.cost": CostField("gateway"),
}
# OpenRouter with the customer's own key charges a fee; the provider bills the rest.
UPSTREAM_COST = "cost_details.upstream_inference_cost"
OWN_KEY = "is_byok"

# Keys whose numbers say nothing about the cost, or repeat what is read elsewhere. Patterns with `*`.
IGNORED = (
    # Parts of the output that are billed as output.
    "output_details.accepted_prediction_tokens",
    "output_details.rejected_prediction_tokens",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
    "output_accepted_prediction_tokens",
    "output_rejected_prediction_tokens",
    # Tools without a charge.
    "*web_fetch_requests",
    "*tool_search_requests",
    "num_search_results",
    "num_media_prompt",
    "num_media_completion",
    # OpenRouter counts in a tokenizer of its own as well; `native_tokens_*` are billed.
    "tokens_prompt",
    "tokens_completion",
    # Parts of a cost that is read as a whole.
    "cost.*_cost",
    "cost_details.*",
    "input_cost",
    "output_cost",
    "*cost.input",
    "*cost.output",
    "*cost.input_cost",
    "*cost.output_cost",
    "*cost.original",
    "cache_discount",
    # Totals over several calls, and numbers of calls.
    "*aggregated_usage.*",
    "num_model_requests",
    "num_requests",
    "requests",
    "successful_requests",
    "tool_calls",
    "num_turns",
    # Repetitions of the provider's own names by PydanticAI.
    "details.input_tokens",
    "details.output_tokens",
    "details.*_prediction_tokens",
    # What LiteLLM counts of the input besides its tokens.
    "input_details.character_count",
    "input_details.image_count",
    "input_details.video_length_seconds",
    "input_details.audio_length_seconds",
    # How hard a model thought, or how fine an image is, is in the tokens already.
    "*effort*",
    "*quality*",
    "*verbosity*",
    "*resolution*",
    "*thinking_level*",
    # Sums over a session, and repetitions of the usage in a response.
    "*total_token_usage.*",
    "*model_usage.*",
    "response_metadata.*",
    # Settings of the request, which responses repeat.
    "request.*",
    "server.port",
    "temperature",
    "top_p",
    "top_k",
    "top_logprobs",
    "*_penalty",
    "*logprobs",
    "seed",
    "status_code",
    # Limits, times and sizes.
    "*context_window*",
    "context_length",
    "max_output_tokens",
    "max_tokens",
    "max_completion_tokens",
    "*_time",
    "time_to_*",
    "ms_to_*",
    "*_per_sec*",
    "*_rate",
    "is_last_response",
    "*_time_*",
    "*_duration",
    "*_duration_ms",
    "*_ms",
    "*latency*",
    "*_at",
    "created",
    "timestamp",
    "doc_size_bytes",
    "index",
    "sequence_number",
    "*rate_limits.*",
    "x_amzn_bedrock_invocation_latency",
    # What responses say about themselves.
    "done",
    "stream",
    "store",
    "parallel_tool_calls",
    "http_status_code",
    "retry_attempts",
)
_IGNORED = re.compile("|".join(f"(?:{translate(pattern)})" for pattern in IGNORED))

# The lifetime of a cache write is part of many names: `cache_creation.ephemeral_1h_input_tokens`.
_LIFETIME = re.compile(
    rf"(?:.*[._])?(?:cache_creation|cache_write|ephemeral|cache_details)[a-z_.]*?(?P<lifetime>{'|'.join(_LIFETIMES)})(?:_(?:input_)?tokens)?"
)


# LangChain names the service tier with the parts: `input_token_details: {flex_cache_read, flex}`.
_TIERED = re.compile(
    r"(?P<side>input|output)_details\.(?P<tier>flex|priority)(?:_(?P<part>cache_read|cache_creation|reasoning))?"
)

# Where these are given, the other cache writes are those of five minutes, as Pydantic AI documents.
ONE_HOUR_PARTS = ("cache_write_1h_tokens", "details.ephemeral_1h_input_tokens")


class Meaning(NamedTuple):
    """What a path means: `role` is `field`, `tiered`, `attribute`, `requested`, `boolean`, `cost`, `ignored` or
    `unknown`. `tier` is the service tier in the name of a `tiered` part."""

    role: str
    name: str = ""
    tier: str = ""


_MEANINGS = {
    **{
        name: Meaning("field", field)
        for fields in (TOKEN_FIELDS, MODALITY_FIELDS, QUANTITY_FIELDS)
        for field, names in fields.items()
        for name in names
    },
    **{name: Meaning("field", "call_total") for name in CALL_TOTALS},
    **{name: Meaning("cost", name) for name in (*COST_FIELDS, UPSTREAM_COST, OWN_KEY)},
    **{name: Meaning("attribute", attribute) for attribute, names in ATTRIBUTE_FIELDS.items() for name in names},
    **{name: Meaning("requested", attribute) for name, attribute in REQUESTED_FIELDS.items()},
    **{name: Meaning("boolean", name) for name in BOOLEAN_ATTRIBUTES},
}


@lru_cache(maxsize=8192)
def meaning(path: str) -> Meaning:
    """Return what a path means."""
    exact = _MEANINGS.get(path)
    if exact is not None:
        return exact
    lifetime = _LIFETIME.fullmatch(path)
    if lifetime is not None:
        return Meaning("field", f"cache_write_{lifetime['lifetime']}")
    tiered = _TIERED.fullmatch(path)
    if tiered is not None:
        part = _MEANINGS[f"{tiered['side']}_details.{tiered['part']}"].name if tiered["part"] else ""
        return Meaning("tiered", part, tiered["tier"])
    return Meaning("ignored" if _IGNORED.fullmatch(path) else "unknown")


# Values that name a condition. Under a key that is not known they are reported.
_PROCESSING_VALUES = frozenset({*TIER_NAMES, *TIER_NAMES.values(), "optimized", "offpeak", "on_demand_offpeak"})
CONDITION_VALUES = _PROCESSING_VALUES | {
    *("us", "eu", "apac"),
    *("low", "medium", "high"),
    # Units of counts that are not tokens.
    *("characters", "seconds", "milliseconds", "requests", "images"),
}
# An object with counts that is sent as text.
_USAGE_AS_TEXT = 'tokens"'
_CONDITION_KEY = re.compile(r".*(?:tier|traffic|speed|geo|region|zone|processing|priority|batch|byok).*")


_NUMBER = re.compile(r"\s*0*[1-9]\d*(?:\.\d+)?\s*|\s*0*\.0*[1-9]\d*\s*")
_NUMBER_KEY = re.compile(r".*(?:token|cache|audio|image|video|search|second|cost|price|credit).*")


def is_number_as_text(path: str, text: str) -> bool:
    """Whether a text under an unknown key is a number that may matter for the cost."""
    return _NUMBER.fullmatch(text) is not None and _NUMBER_KEY.fullmatch(path) is not None


def is_processing_value(text: str) -> bool:
    """Whether a text names a service tier."""
    return _normalized_value(text) in _PROCESSING_VALUES


def may_be_condition(path: str, text: str) -> bool:
    """Whether a text under an unknown key may be a processing condition, or has counts inside."""
    if _USAGE_AS_TEXT in text or is_number_as_text(path, text):
        return True
    value = _normalized_value(text)
    return value in CONDITION_VALUES or (bool(value) and _CONDITION_KEY.fullmatch(path) is not None)


def _normalized_value(text: str) -> str:
    return text.strip().lower().replace("-", "_")
