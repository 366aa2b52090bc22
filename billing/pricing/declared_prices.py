"""What providers publish about their prices and the genai-prices catalog lacks. Data, with source and date.

`source` is where the provider publishes it; `CHECKED` is the day on which the entries were last compared with LiteLLM's
map of prices and known bills.

Patterns are lower case with `*`. A platform is who bills the call: `azure` for GPT models at Azure, though the
catalog has their prices under `openai`. When the catalog catches up, delete the entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from billing.pricing.conditions import Condition, Rates
from billing.pricing.kinds import CACHE_KINDS, KINDS, TOKEN_KINDS

CHECKED = date(2026, 11, 29)

_OPENAI = "platform.openai.com/docs/pricing"
_OPENAI_MODELS = "platform.openai.com/docs/models"
_ANTHROPIC = "platform.claude.com/docs/en/about-claude/pricing"
_GEMINI = "ai.google.dev/gemini-api/docs/pricing"
_VERTEX = "cloud.google.com/vertex-ai/generative-ai/pricing"
_AZURE = "azure.microsoft.com/pricing/details/cognitive-services/openai-service"
_BEDROCK = "aws.amazon.com/bedrock/pricing"
_MISTRAL = "mistral.ai/pricing"
_PERPLEXITY = "docs.perplexity.ai/getting-started/pricing"
_XAI = "docs.x.ai/docs/models"
_TOGETHER = "together.ai/pricing"
_DASHSCOPE = "alibabacloud.com/help/model-studio/models"
_GROQ = "console.groq.com/docs/batch"


@dataclass(frozen=True, slots=True)
class Supplement:
    """Unit prices of kinds that the catalog does not price; alone, or added to the catalog's."""

    platform: str
    models: tuple[str, ...]
    unit_prices: Mapping[str, Decimal]
    source: str
    starts: date | None = None
    checked: date = CHECKED


@dataclass(frozen=True, slots=True)
class Substitute:
    """What a kind without a unit price of its own costs: `factor` x the price of `like`.

    An estimate is a convention that holds for the vendor's other models; the line is flagged.
    """

    platform: str
    models: tuple[str, ...]
    kinds: tuple[str, ...]
    like: str
    factor: Fraction
    source: str
    is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class LongContext:
    """Prices of calls with more input tokens than `above` that the catalog lacks, as factors of the usual prices."""

    platform: str
    models: tuple[str, ...]
    above: int
    input_factor: Fraction
    output_factor: Fraction
    source: str


@dataclass(frozen=True, slots=True)
class DatedAlias:
    """The model that a name stands for from a date on."""

    platform: str
    name: str
    model: str
    starts: date
    source: str


def _prices(**unit_prices: str) -> dict[str, Decimal]:
    if not unit_prices.keys() <= KINDS.keys():
        raise ValueError(f"Not a kind: {sorted(unit_prices.keys() - KINDS.keys())}.")
    return {kind: Decimal(price) for kind, price in unit_prices.items()}


def _search_requests(low: str, medium: str, high: str) -> dict[str, Decimal]:
    """The fee of a request by its search context; the searches themselves and citations are included."""
    return _prices(
        request_search_low=low, request_search_medium=medium, request_search_high=high, web_search="0", citation="0"
    )


SUPPLEMENTS = (
    Supplement(
        "openai", ("gpt-4o-audio-preview*",), _prices(audio_input="40", audio_output="80"), _OPENAI, date(2024, 12, 17)
    ),
    Supplement("openai", ("gpt-4o-mini-audio*",), _prices(audio_input="10", audio_output="20"), _OPENAI),
    Supplement("openai", ("gpt-4o-search-preview*", "gpt-4o-mini-search-preview*"), _prices(request="0.025"), _OPENAI),
    Supplement("openai", ("ft:gpt-4o-mini-*",), _prices(cache_read="0.15"), _OPENAI),
    Supplement("openai", ("ft:gpt-4o-2024-*",), _prices(cache_read="1.875"), _OPENAI),
    Supplement("openai", ("ft:gpt-4.1-2025-*",), _prices(input="3", cache_read="0.75", output="12"), _OPENAI),
    Supplement("openai", ("ft:gpt-4.1-mini*",), _prices(input="0.8", cache_read="0.2", output="3.2"), _OPENAI),
    Supplement("openai", ("ft:gpt-4.1-nano*",), _prices(input="0.2", cache_read="0.05", output="0.8"), _OPENAI),
    Supplement("anthropic", ("claude-instant*",), _prices(input="0.8", output="2.4"), _ANTHROPIC),
    Supplement("azure", ("gpt-4o-mini-2024-07-18.ft-*",), _prices(input="0.165", output="0.66"), _AZURE),
    # No global deployments: Azure's regional price list.
    Supplement("azure", ("text-embedding-3-large",), _prices(input="0.143"), _AZURE),
    Supplement("azure", ("text-embedding-3-small",), _prices(input="0.022"), _AZURE),
    Supplement("azure", ("text-embedding-ada-002", "ada"), _prices(input="0.11"), _AZURE),
    Supplement("azure", ("gpt-3.5-turbo-instruct*",), _prices(input="1.65", output="2.2"), _AZURE),
    Supplement("azure", ("deepseek-r1",), _prices(input="1.35", output="5.4"), _AZURE),
    Supplement("azure", ("deepseek-v3.2",), _prices(input="0.58", output="1.68"), _AZURE),
    Supplement("azure", ("gpt-oss-120b",), _prices(input="0.15", output="0.6"), _AZURE),
    Supplement("azure", ("grok-3-mini",), _prices(input="0.25", output="1.27"), _AZURE),
    Supplement("x-ai", ("*",), _prices(search_source="25"), _XAI),
    Supplement("together", ("kimi-k2.7-code",), _prices(input="0.95", cache_read="0.19", output="4"), _TOGETHER),
    Supplement("dashscope", ("qwen-plus",), _prices(input="0.4", output="1.2"), _DASHSCOPE),
    Supplement("perplexity", ("sonar", "sonar-reasoning"), _search_requests("0.005", "0.008", "0.012"), _PERPLEXITY),
    Supplement(
        "perplexity", ("sonar-pro", "sonar-reasoning-pro"), _search_requests("0.006", "0.01", "0.014"), _PERPLEXITY
    ),
)

# Prices of the catalog that are not used. OpenAI publishes the weights of gpt-oss and does not serve them. A duration
# that whisper-1 reports is rounded, so its cost stays unknown until the rounding is confirmed.
NOT_SOLD = (("openai", "gpt-oss*"),)
NOT_USED = (("openai", "whisper-1", ("audio_seconds", "audio_input_seconds")),)

# Shorter recordings are billed as this many seconds, which a price per second cannot say.
MINIMUM_QUANTITIES = (("groq", "whisper*", ("audio_seconds", "audio_input_seconds"), 10),)

# Services that pass a call on at the vendor's price; the vendor is in front of the model's name.
PASS_THROUGH = frozenset({"", "litellm", "litellm_proxy", "gateway", "vercel", "vercel_ai_gateway"})
SERVICE_NAMES = {"togetherai": "together"}

# Who sells a model that is sent without a service and that the catalog's patterns of names do not know.
SELLERS_BY_NAME = ("openai", "anthropic", "perplexity", "groq", "cohere", "voyageai")

# Vendors whose list prices a platform charges. The catalog falls back to other vendors as well.
RESOLD = {"azure": ("openai", "anthropic"), "google": ("anthropic",)}

_ALIKE = Fraction(1)
_GEMINI_MODELS = ("gemini-*",)
SUBSTITUTES = (
    # Google lists a modality where it has another price, else one price for all.
    Substitute("google", _GEMINI_MODELS, ("image_input", "video_input", "audio_input"), "input", _ALIKE, _GEMINI),
    Substitute(
        "google",
        _GEMINI_MODELS,
        ("image_cache_read", "video_cache_read", "audio_cache_read"),
        "cache_read",
        _ALIKE,
        _GEMINI,
    ),
    Substitute("google", ("gemini-*tts*",), ("audio_output",), "output", _ALIKE, _GEMINI),
    Substitute("x-ai", ("grok-*",), ("image_input",), "input", _ALIKE, _XAI),
    Substitute("x-ai", ("grok-*",), ("image_cache_read",), "cache_read", _ALIKE, _XAI),
    # OpenAI's chat models read images at the price of text; its image models write images at the price of output.
    Substitute(
        "openai",
        ("gpt-3*", "gpt-4*", "gpt-5*", "gpt-6*", "o1*", "o3*", "o4*", "chatgpt-*"),
        ("image_input",),
        "input",
        _ALIKE,
        _OPENAI_MODELS,
    ),
    Substitute(
        "openai", ("gpt-image-1", "gpt-image-1-mini*", "gpt-image-2*"), ("image_output",), "output", _ALIKE, _OPENAI
    ),
    Substitute("mistral", ("*",), ("cache_read",), "input", Fraction(1, 10), _MISTRAL),
    # Claude on every platform: the ratios of Anthropic's own list.
    Substitute("*", ("*claude*",), ("cache_read",), "input", Fraction(1, 10), _ANTHROPIC, is_estimate=True),
    Substitute("*", ("*claude*",), ("cache_creation",), "input", Fraction(5, 4), _ANTHROPIC, is_estimate=True),
    Substitute("*", ("*claude*",), ("cache_creation_1h",), "input", Fraction(2), _ANTHROPIC, is_estimate=True),
)

_DOUBLE = (Fraction(2), Fraction(3, 2))
LONG_CONTEXTS = (
    LongContext("aws", ("*claude-sonnet-4-2025*", "*claude-sonnet-4-5-2025*"), 200_000, *_DOUBLE, _BEDROCK),
    LongContext("aws", ("*openai.gpt-5.[45]*",), 272_000, *_DOUBLE, _BEDROCK),
    LongContext("openai", ("gpt-5.6-cyber*",), 272_000, *_DOUBLE, _OPENAI),
)

_XAI_RETIREMENT = "docs.x.ai/developers/migration/may-15-retirement"
_MISTRAL_ALIASES = "docs.mistral.ai/getting-started/models"
DATED_ALIASES = (
    DatedAlias("anthropic", "claude-2.1", "claude-2", date(2023, 11, 21), _ANTHROPIC),
    DatedAlias("anthropic", "claude-2.0", "claude-2", date(2023, 7, 11), _ANTHROPIC),
    *(
        DatedAlias("x-ai", name, "grok-build-0.1", date(2026, 5, 15), _XAI_RETIREMENT)
        for name in ("grok-code-fast-1", "grok-code-fast-1-0825", "grok-code-fast")
    ),
    DatedAlias("mistral", "mistral-large-latest", "mistral-large-2512", date(2025, 12, 2), _MISTRAL_ALIASES),
    DatedAlias("mistral", "magistral-small-latest", "mistral-small-2603", date(2026, 3, 16), _MISTRAL_ALIASES),
    DatedAlias("mistral", "magistral-medium-latest", "mistral-medium-latest", date(2026, 6, 16), _MISTRAL_ALIASES),
    DatedAlias("mistral", "mistral-medium", "mistral-medium-latest", date(2026, 6, 16), _MISTRAL_ALIASES),
)


def _tier(
    value: str,
    platforms: tuple[str, ...],
    factor: str,
    source: str,
    models: tuple[str, ...] = ("*",),
    starts: date | None = None,
    kinds: tuple[str, ...] = (),
) -> Condition:
    return Condition(
        "service_tier",
        (value,),
        platforms,
        models,
        Fraction(factor),
        kinds=kinds,
        starts=starts,
        source=source,
        checked=CHECKED,
    )


def _region(
    values: tuple[str, ...],
    platform: str,
    models: tuple[str, ...],
    factor: str | None,
    source: str,
    starts: date | None = None,
) -> Condition:
    return Condition(
        "region",
        values,
        (platform,),
        models,
        Fraction(factor) if factor is not None else None,
        starts=starts,
        source=source,
        checked=CHECKED,
    )


def _regional_prices(values: tuple[str, ...], model: str, unit_prices: Mapping[str, Decimal]) -> Condition:
    return Condition("region", values, ("aws",), (model,), rates=Rates(unit_prices), source=_BEDROCK, checked=CHECKED)


_SINCE_OPUS_4_6 = (
    "claude-opus-4-[6-9]*",
    "claude-sonnet-4-[6-9]*",
    "claude-opus-5*",
    "claude-sonnet-5*",
    "claude-haiku-5*",
    "claude-fable-*",
    "claude-mythos-*",
)
_CLAUDE_SINCE_4_5 = ("claude-*-4-5*", *_SINCE_OPUS_4_6)
_GEMINI_WITH_LOCATIONS = (
    "gemini-3.1-flash-image*",
    "gemini-3.1-flash-lite",
    "gemini-3.[5-9]-flash",
    "gemini-3.5-flash-lite",
    "gemini-4-*",
)
_OPENAI_REGIONS = ("us", "eu", "gb", "uk", "jp", "in", "sg", "kr", "ca", "au", "ae")
_BEDROCK_HOME = ("us", "us-east-1", "us-east-2", "us-west-2")
_GOV = ("us-gov", "us-gov-*")

# Where the discounts of a batch and of the cache do not add up.
_UNCACHED = tuple(sorted(TOKEN_KINDS - CACHE_KINDS))

# The first that applies counts, after those of the catalog.
CONDITIONS = (
    # Service tiers.
    _tier("batch", ("anthropic",), "0.5", _ANTHROPIC, starts=date(2024, 10, 8)),
    _tier("batch", ("openai", "azure"), "0.5", _OPENAI, starts=date(2024, 4, 15), kinds=_UNCACHED),
    _tier("batch", ("google",), "0.5", _GEMINI, ("gemini-2*", "gemini-*-preview"), kinds=_UNCACHED),
    _tier("batch", ("google",), "0.5", _GEMINI),
    _tier("batch", ("aws",), "0.5", _BEDROCK, kinds=_UNCACHED),
    _tier("batch", ("mistral",), "0.5", _MISTRAL),
    _tier("batch", ("groq",), "0.5", _GROQ),
    _tier("flex", ("openai",), "0.5", _OPENAI, ("o3*", "o4-mini*", "gpt-5*", "gpt-6*"), date(2025, 4, 17)),
    _tier("flex", ("google",), "0.5", _VERTEX, ("gemini-2*", "gemini-*-preview"), kinds=_UNCACHED),
    _tier("flex", ("google",), "0.5", _VERTEX),
    _tier("flex", ("aws",), "0.5", _BEDROCK, starts=date(2025, 11, 18)),
    _tier("priority", ("aws",), "1.75", _BEDROCK, starts=date(2025, 11, 18)),
    # Capacity that is paid by the hour, whether it is used or not.
    _tier("provisioned", ("google", "azure", "aws", "openai"), "0", "paid by the hour"),
    # Speed.
    Condition(
        "speed",
        ("fast",),
        ("anthropic",),
        ("claude-opus-4-6*", "claude-opus-4-7*"),
        Fraction(6),
        starts=date(2026, 2, 7),
        source=_ANTHROPIC,
        checked=CHECKED,
    ),
    # Geography and data zones.
    _region(("us",), "anthropic", _SINCE_OPUS_4_6, "1.1", _ANTHROPIC, date(2026, 2, 5)),
    _region(_OPENAI_REGIONS, "openai", ("gpt-5.[4-9]*", "gpt-6*", "gpt-realtime-2*"), "1.1", _OPENAI, date(2026, 3, 5)),
    _region(("fedramp",), "openai", ("*",), "1.1", _OPENAI),
    # The catalog does not tell gpt-realtime-2.1-mini, which costs more in a region, from its predecessor.
    _region(_OPENAI_REGIONS, "openai", ("gpt-realtime-mini",), None, _OPENAI, date(2026, 3, 5)),
    _region(("us-gov*", "usgov*"), "azure", ("*",), None, _AZURE),
    _region(("us", "eu"), "azure", ("text-embedding-*", "ada"), "1", _AZURE),
    _region(("eu", "apac"), "azure", ("gpt-6*",), "1.2", _AZURE),
    _region(("us", "eu"), "azure", ("*",), "1.1", _AZURE),
    _region(("apac",), "azure", ("*",), None, _AZURE),
    # Vertex: every location but the global one.
    _region(("*",), "google", (*_CLAUDE_SINCE_4_5, *_GEMINI_WITH_LOCATIONS), "1.1", _VERTEX),
    # The catalog has Bedrock's prices of us-east-1, and those of Claude in regions other than GovCloud.
    _region(_GOV, "aws", ("*amazon.nova-*", "*nvidia.*", "*openai.gpt-oss*", "*kimi-k3*"), "1.2", _BEDROCK),
    # GovCloud is 20% above the global price; the catalog's regional prices are 10% above it since Claude 4.5.
    _region(_GOV, "aws", ("*claude-3*",), "1.2", _BEDROCK),
    _region(_GOV, "aws", ("regional.*claude*",), "12/11", _BEDROCK),
    _region(_GOV, "aws", ("*",), None, _BEDROCK),
    _regional_prices(("eu", "eu-*"), "amazon.nova-pro-v1:0", _prices(input="1.05", output="4.2", cache_read="0.2625")),
    _regional_prices(
        ("eu", "eu-*"), "amazon.nova-lite-v1:0", _prices(input="0.078", output="0.312", cache_read="0.0195")
    ),
    _regional_prices(
        ("eu", "eu-*"), "amazon.nova-micro-v1:0", _prices(input="0.046", output="0.184", cache_read="0.0115")
    ),
    _regional_prices(("apac",), "amazon.nova-pro-v1:0", _prices(input="0.84", output="3.36", cache_read="0.21")),
    _regional_prices(("apac",), "amazon.nova-lite-v1:0", _prices(input="0.063", output="0.252", cache_read="0.01575")),
    _regional_prices(("apac",), "amazon.nova-micro-v1:0", _prices(input="0.037", output="0.148", cache_read="0.00925")),
    _region(_BEDROCK_HOME, "aws", ("*",), "1", _BEDROCK),
    _region(("*",), "aws", ("*claude*",), "1", _BEDROCK),
    _region(("*-*", "eu", "apac", "jp", "au", "ca", "sa", "me", "af", "il"), "aws", ("*",), None, _BEDROCK),
)
