"""What is part of what in a usage object, by who sends it. Data; the first rule that fits is the convention.

Providers include cached tokens in the input or report them beside it, and reasoning likewise. Where the numbers of an
object leave a choice, the sender's documented convention decides.
"""

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from costtrack.event_files.types import SPEND_LOGS


# Compared by identity, because it is a key of caches.
@dataclass(frozen=True, slots=True, eq=False)
class Convention:
    """A rule: which objects it is for, and what is part of the totals there.

    An object fits if it has one of `keys` and all of `all_keys`, comes from one of `platforms` (the catalog's ids) or
    has one of `models`, and from one of `sources`; empty means any.

    `*_inside`: the part is included in the input or the output. `total_has_all`: the total includes what stands beside
    them; else it is the sum of the two numbers. `is_sure`: documented and always so; otherwise a reading that the
    numbers do not prove is flagged. `is_strict`: a cache larger than the input is a contradiction, not a hint that it
    stands beside it. `ignored` are fields that mean something else there.
    """

    name: str
    keys: tuple[str, ...] = ()
    all_keys: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    caches_inside: bool = True
    reasoning_inside: bool = True
    media_inside: bool = True
    tools_inside: bool = True
    citations_inside: bool = True
    total_has_all: bool = True
    is_sure: bool = True
    is_strict: bool = False

    def fits(self, keys: Collection[str], platform: str, model: str, source: str) -> bool:
        if self.keys and not any(key in keys for key in self.keys):
            return False
        if not all(key in keys for key in self.all_keys) or (self.sources and source not in self.sources):
            return False
        if not self.platforms and not self.models:
            return True
        return platform in self.platforms or any(fnmatchcase(model, pattern) for pattern in self.models)


GEMINI = "gemini"
_CLAUDE = ("*claude*",)
_ANTHROPIC = ("anthropic", "aws")
_ANTHROPIC_KEYS = (
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_write_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
    "uncached_input_tokens",
)

CONVENTIONS = (
    # Langfuse adds up all keys except the total. Many integrations send it OpenAI's numbers nevertheless.
    Convention(
        "langfuse",
        keys=("input", "output"),
        caches_inside=False,
        reasoning_inside=False,
        media_inside=False,
        tools_inside=False,
        citations_inside=False,
        is_sure=False,
    ),
    # Gemini: the prompt includes the cache; thoughts and the prompts of tools stand beside.
    Convention(
        GEMINI,
        keys=(
            "prompt_token_count",
            "candidates_token_count",
            "response_token_count",
            "thoughts_token_count",
            "cached_content_token_count",
            "total_input_tokens",
        ),
        reasoning_inside=False,
        tools_inside=False,
        is_strict=True,
    ),
    # Bedrock's metrics of an invocation.
    Convention(
        "bedrock metrics",
        keys=(
            "cache_read_input_token_count",
            "cache_write_input_token_count",
            "x_amzn_bedrock_cache_read_input_token_count",
            "x_amzn_bedrock_cache_write_input_token_count",
        ),
        caches_inside=False,
    ),
    # Its `tool_token_count` repeats the total.
    Convention("codex events", keys=("input_token_count",), ignored=("tool_input",), is_strict=True),
    Convention(
        "perplexity",
        keys=("prompt_tokens",),
        platforms=("perplexity",),
        reasoning_inside=False,
        citations_inside=False,
        total_has_all=False,
        is_strict=True,
    ),
    Convention("xai chat", keys=("prompt_tokens",), platforms=("x-ai",), reasoning_inside=False, is_strict=True),
    # LiteLLM normalizes to OpenAI's shape; older versions and custom providers left caches beside the prompt.
    Convention("litellm", keys=("prompt_tokens",), sources=("litellm", SPEND_LOGS)),
    Convention("openai chat", keys=("prompt_tokens",), is_strict=True),
    # Langfuse's and OpenInference's names for OpenAI's numbers.
    Convention("openinference", keys=("prompt", "completion"), is_sure=False),
    Convention(
        "details",
        keys=(
            "input_details.cached_tokens",
            "input_details.cache_read",
            "input_details.cache_read_tokens",
            "input_details.cache_read_input_tokens",
            "input_details.cache_write_tokens",
            "input_details.cache_creation",
            "input_details.no_cache_tokens",
            "input_tokens.total",
        ),
    ),
    # AI SDK 5 passes on what the provider calls input, which for Claude excludes the cache; version 6 has details.
    Convention(
        "ai sdk 5 with claude",
        keys=("cached_input_tokens",),
        platforms=_ANTHROPIC,
        models=_CLAUDE,
        caches_inside=False,
        total_has_all=False,
        is_sure=False,
    ),
    Convention(
        "codex and crewai",
        keys=("cached_input_tokens", "cached_prompt_tokens", "input_cached_tokens", "cached_token_count"),
    ),
    Convention("cursor", keys=("cache_read_tokens",), platforms=("cursor",), caches_inside=False),
    Convention("pydantic-ai", all_keys=("input_tokens", "cache_read_tokens", "cache_write_tokens")),
    Convention(
        "pydantic-ai", keys=("details.cached_tokens", "details.cache_read_tokens", "details.cache_write_tokens")
    ),
    # OpenTelemetry includes caches; older instrumentations of Anthropic pass on its exclusive input. Those that use the
    # newest name of cache writes follow the convention.
    Convention("opentelemetry", keys=("cache_write.input_tokens",)),
    Convention(
        "opentelemetry with claude",
        keys=("cache_read.input_tokens", "cache_write.input_tokens", "cache_creation.input_tokens"),
        platforms=_ANTHROPIC,
        models=_CLAUDE,
        is_sure=False,
    ),
    # Google's own instrumentation leaves thoughts out of the output.
    Convention("opentelemetry with gemini", keys=("reasoning.output_tokens",), platforms=("google",), is_sure=False),
    Convention(
        "opentelemetry",
        keys=(
            "cache_read.input_tokens",
            "cache_write.input_tokens",
            "cache_creation.input_tokens",
            "reasoning.output_tokens",
        ),
    ),
    # OpenLLMetry's names for OpenAI's numbers.
    Convention("openllmetry", keys=("cache_read_input_tokens",), platforms=("openai", "azure"), sources=("otlp",)),
    Convention("anthropic", keys=_ANTHROPIC_KEYS, caches_inside=False),
    Convention("claude code", keys=("cache_creation_tokens",), all_keys=("cache_read_tokens",), caches_inside=False),
    Convention("ollama", keys=("prompt_eval_count",)),
    Convention("cohere", keys=("billed_units.input_tokens", "tokens.input_tokens")),
    Convention("other", is_sure=False),
)

_MAX_CACHED_KEYS = 50

# Gemini's OpenAI-compatible endpoint and several gateways leave thoughts out of the output; only the total has them.
HIDDEN_THOUGHTS_MODELS = ("gemini-*", "*/gemini-*")


def convention_for(keys: frozenset[str], platform: str, model: str, source: str) -> Convention:
    """Return the convention of a usage object. Objects with more keys than real ones have are not cached."""
    find = _cached_convention if len(keys) <= _MAX_CACHED_KEYS else _cached_convention.__wrapped__
    return find(keys, platform, model, source)


@lru_cache(maxsize=1024)
def _cached_convention(keys: frozenset[str], platform: str, model: str, source: str) -> Convention:
    return next(rule for rule in CONVENTIONS if rule.fits(keys, platform, model, source))


@lru_cache(maxsize=4096)
def hides_thoughts(model: str, convention: Convention) -> bool:
    """Whether a total above its parts means thoughts, which are billed as output. Gemini's own format names them."""
    return convention.name != GEMINI and any(fnmatchcase(model, pattern) for pattern in HIDDEN_THOUGHTS_MODELS)


@dataclass(frozen=True, slots=True)
class MediaModel:
    """A model whose tokens are audio or images where the object does not name their modality."""

    platforms: tuple[str, ...]
    models: tuple[str, ...]
    kind: str
    media_kind: str


MEDIA_MODELS = (
    MediaModel(("openai", "azure"), ("gpt-image-1.5*", "chatgpt-image*"), "output", "image_output"),
    MediaModel(("openai", "azure"), ("*audio*", "gpt-realtime*"), "output", "audio_output"),
    MediaModel(("openai", "azure"), ("*audio*", "gpt-realtime*", "*transcribe*"), "input", "audio_input"),
    MediaModel(("google",), ("gemini-*image*", "gemini-nano-banana*"), "output", "image_output"),
    MediaModel(("google",), ("gemini-*live*",), "output", "audio_output"),
    MediaModel(("google",), ("gemini-*live*",), "input", "audio_input"),
)


@lru_cache(maxsize=4096)
def media_kinds(platform: str, model: str) -> tuple[tuple[str, str], ...]:
    """Return the kinds that tokens without a modality are of, by kind, for models of audio or images."""
    return tuple(
        (entry.kind, entry.media_kind)
        for entry in MEDIA_MODELS
        if platform in entry.platforms and any(fnmatchcase(model, pattern) for pattern in entry.models)
    )


# Embeddings and reranking have no output, and some providers report only a total.
_INPUT_ONLY_MODELS = ("voyage-*", "rerank-*", "*embed*", "*rerank*", "jina-*")


@lru_cache(maxsize=4096)
def has_only_input(model: str) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in _INPUT_ONLY_MODELS)
