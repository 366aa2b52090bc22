"""Lookup of the catalog's model for the service and model names of a call.

Senders spell providers in many ways (LiteLLM `vertex_ai`, OpenTelemetry `gcp.vertex_ai`) and models with prefixes,
regions and dates (`bedrock/us-east-1/anthropic.claude-3-haiku-20240307-v1:0`). genai-prices matches model names; this
module finds the provider first. Pure, and cached.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.types import Provider

# Names that genai-prices does not know, or resolves to another provider (azure.ai.openai is Azure, not OpenAI).
_SPELLINGS = {
    "@cf": "cloudflare",
    "accounts": "fireworks",
    "fireworks_ai": "fireworks",
    "gcp.gen_ai": "google",
    "models": "google",
    "publishers": "google",
    "text-completion-codestral": "mistral",
    "codestral": "mistral",
    "x_ai": "x-ai",
    "z.ai": "zai",
    "z_ai": "zai",
}
# Platforms serve models of other vendors at their own prices, so the platform takes precedence over the vendor.
_PLATFORMS = (
    ("azure", "azure"),
    ("vertex", "google"),
    ("bedrock", "aws"),
    ("aws", "aws"),
    ("openrouter", "openrouter"),
)
# Self-hosted servers use a vendor's protocol without charging the vendor's price.
_SELF_HOSTED = re.compile(r"custom|compatible|like|local|self|hosted|vllm|ollama|llamafile|lm_studio|mock|fake")
# Routers precede the provider and do not identify it.
_ROUTERS = frozenset({"", "litellm", "litellm_proxy"})
# Segments between the provider and the model: a region, or the name of an API.
_WAYPOINT = re.compile(
    r"us|eu|apac|global|global-standard|converse|invoke|chat|responses|(us|eu|ap|ca|sa|me|af|il)-[a-z-]+-\d"
)
_MAX_SEGMENTS = 4


class CatalogModel(NamedTuple):
    """The ids of a provider and of its model in the catalog."""

    provider: str
    model: str


@lru_cache(maxsize=8192)
def catalog_model(service: str, model: str) -> CatalogModel | None:
    """Return the catalog's model for a call of `model` at `service`, or None.

    The provider is the one whose price applies: for `gpt-4o` at Azure that is OpenAI, because the catalog has no
    price of Azure for it. An unknown service returns None for every model, because a self-hosted server must not be
    charged at a vendor's price.
    """
    name = model.strip().lower()
    if service.strip().lower() in _ROUTERS:
        return _by_model_name(name)
    provider = _provider(service)
    return _at_provider(provider, name) if provider is not None else None


@lru_cache(maxsize=2048)
def catalog_provider(service: str) -> str | None:
    """Return the catalog's id of a provider, or None for an unknown name."""
    provider = _provider(service)
    return provider.id if provider is not None else None


def _provider(service: str) -> Provider | None:
    name = service.strip().lower()
    providers = get_snapshot().providers
    if name in _ROUTERS or _SELF_HOSTED.search(name):
        return None
    for prefix, platform in _PLATFORMS:
        if name.startswith(prefix):
            return find_provider_by_id(providers, platform)
    return find_provider_by_id(providers, _SPELLINGS.get(name, name))


def _by_model_name(name: str) -> CatalogModel | None:
    """Find the model without a service: by the prefix of its name, else by the providers' name patterns."""
    prefix, slash, _ = name.partition("/")
    if slash:
        provider = _provider(prefix)
        return _at_provider(provider, name) if provider is not None else None
    for provider in get_snapshot().providers:
        if provider.model_match is not None and provider.model_match.is_match(name):
            return _at_provider(provider, name)
    return None


def _at_provider(provider: Provider, name: str) -> CatalogModel | None:
    """Find the model by its name (OpenRouter's names contain slashes), then without its leading segments."""
    for _ in range(_MAX_SEGMENTS):
        match = _find(provider, name)
        if match is not None:
            return match
        first, slash, name = name.partition("/")
        if not slash or not _leads_to(provider, first):
            return None
    return None


def _leads_to(provider: Provider, segment: str) -> bool:
    if _WAYPOINT.fullmatch(segment):
        return True
    segment_provider = _provider(segment)
    return segment_provider is not None and segment_provider.id == provider.id


def _find(provider: Provider, name: str) -> CatalogModel | None:
    providers = get_snapshot().providers
    model = provider.find_model(name, all_providers=providers)
    if model is None:
        return None
    fallbacks = provider.fallback_model_providers or ()
    owners = (provider, *(other for other in providers if other.id in fallbacks))
    owner = next(other for other in owners if any(model is candidate for candidate in other.models))
    return CatalogModel(owner.id, model.id)
