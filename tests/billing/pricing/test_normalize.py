"""Lookup of the catalog's model for a call."""

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.normalize import CatalogModel, catalog_model, catalog_provider

KNOWN = [
    # LiteLLM: custom_llm_provider and model, with and without its prefix.
    ("openai", "gpt-4o", "openai", "gpt-4o"),
    ("openai", "openai/gpt-4o", "openai", "gpt-4o"),
    ("openai", "gpt-4o-2024-08-06", "openai", "gpt-4o"),
    ("openai", "GPT-4o", "openai", "gpt-4o"),
    ("text-completion-openai", "gpt-3.5-turbo-instruct", "openai", "gpt-3.5-turbo-instruct"),
    ("azure", "gpt-4o", "openai", "gpt-4o"),
    ("azure", "azure/eu/gpt-4o-2024-08-06", "openai", "gpt-4o"),
    ("azure_ai", "claude-opus-4-1", "anthropic", "claude-opus-4-1"),
    ("anthropic", "claude-sonnet-4-5-20250929", "anthropic", "claude-sonnet-4-5"),
    ("vertex_ai", "claude-sonnet-4-5@20250929", "google", "claude-sonnet-4-5"),
    ("vertex_ai", "vertex_ai/gemini-2.5-pro", "google", "gemini-2.5-pro"),
    ("vertex_ai_beta", "gemini-2.0-flash-001", "google", "gemini-2.0-flash"),
    ("vertex_ai-anthropic_models", "claude-sonnet-4-5", "google", "claude-sonnet-4-5"),
    ("gemini", "gemini/gemini-2.0-flash", "google", "gemini-2.0-flash"),
    (
        "bedrock",
        "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "aws",
        "regional.anthropic.claude-3-5-sonnet-20241022-v2:0",
    ),
    (
        "bedrock_converse",
        "bedrock/converse/us-east-1/anthropic.claude-3-haiku-20240307-v1:0",
        "aws",
        "regional.anthropic.claude-3-haiku-20240307-v1:0",
    ),
    ("mistral", "mistral-large-latest", "mistral", "mistral-large"),
    ("cohere_chat", "command-r-plus", "cohere", "command-r-plus"),
    ("groq", "groq/llama-3.3-70b-versatile", "groq", "llama-3.3-70b-versatile"),
    ("deepseek", "deepseek-chat", "deepseek", "deepseek-chat"),
    ("xai", "grok-3", "x-ai", "grok-3"),
    ("together_ai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    ("fireworks_ai", "accounts/fireworks/models/llama-v3p1-8b-instruct", "fireworks", "llama-v3p1-8b-instruct"),
    ("perplexity", "perplexity/sonar-pro", "perplexity", "sonar-pro"),
    ("openrouter", "openai/gpt-4o", "openrouter", "openai/gpt-4o"),
    ("openrouter", "openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o"),
    ("litellm_proxy", "anthropic/claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
    # OpenTelemetry: gen_ai.provider.name.
    ("gcp.vertex_ai", "gemini-2.5-pro", "google", "gemini-2.5-pro"),
    ("gcp.gemini", "models/gemini-2.5-pro", "google", "gemini-2.5-pro"),
    ("gcp.gen_ai", "gemini-2.5-pro", "google", "gemini-2.5-pro"),
    ("aws.bedrock", "anthropic.claude-3-haiku-20240307-v1:0", "aws", "regional.anthropic.claude-3-haiku-20240307-v1:0"),
    ("azure.ai.openai", "gpt-4o", "openai", "gpt-4o"),
    ("azure.ai.inference", "gpt-4o", "openai", "gpt-4o"),
    ("mistral_ai", "mistral-large-latest", "mistral", "mistral-large"),
    ("x_ai", "grok-3", "x-ai", "grok-3"),
    ("moonshot_ai", "kimi-k2-0905-preview", "moonshotai", "kimi-k2-0905-preview"),
    # Without a service.
    ("", "gpt-4o", "openai", "gpt-4o"),
    ("", "claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
    ("", "openai/gpt-4o", "openai", "gpt-4o"),
    ("", "azure/gpt-4o", "openai", "gpt-4o"),
    ("", "vertex_ai/gemini-2.5-pro", "google", "gemini-2.5-pro"),
    (
        "",
        "bedrock/us-east-1/anthropic.claude-3-haiku-20240307-v1:0",
        "aws",
        "regional.anthropic.claude-3-haiku-20240307-v1:0",
    ),
    ("", "openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o"),
    ("", "accounts/fireworks/models/llama-v3p1-8b-instruct", "fireworks", "llama-v3p1-8b-instruct"),
    ("", "@cf/meta/llama-3.1-8b-instruct", "cloudflare", "@cf/meta/llama-3.1-8b-instruct"),
]


@pytest.mark.parametrize(("service", "model", "provider", "name"), KNOWN)
def test_the_names_that_senders_use_lead_to_the_catalog(service: str, model: str, provider: str, name: str) -> None:
    assert catalog_model(service, model) == CatalogModel(provider, name)


@pytest.mark.parametrize(
    ("service", "model"),
    [
        ("acme-inference", "gpt-4o"),
        ("hosted_vllm", "gpt-4o"),
        ("custom_openai", "gpt-4o"),
        ("openai_like", "gpt-4o"),
        ("openai-compatible", "gpt-4o"),
        ("ollama", "gpt-4o"),
        ("", "hosted_vllm/gpt-4o"),
        ("", "acme/gpt-4o"),
        ("", "deepinfra/google/gemini-2.5-pro"),
        ("deepinfra", "google/gemini-2.5-pro"),
    ],
)
def test_a_server_that_is_not_known_is_not_charged_at_a_vendors_price(service: str, model: str) -> None:
    assert catalog_model(service, model) is None


@pytest.mark.parametrize(
    ("service", "model"), [("openai", "no-such-model"), ("", "no-such-model"), ("", ""), ("openai", "")]
)
def test_an_unknown_model_is_none(service: str, model: str) -> None:
    assert catalog_model(service, model) is None


@given(st.text(max_size=300), st.text(max_size=300))
def test_odd_text_never_raises(service: str, model: str) -> None:
    catalog_model(service, model)
    catalog_model("", f"{service}/{model}")
    catalog_model("openrouter", f"openrouter/{model}")
    catalog_provider(service)


def test_a_long_way_of_prefixes_ends() -> None:
    assert catalog_model("openrouter", "openrouter/" * 200 + "openai/gpt-4o") is None


@pytest.mark.parametrize("provider", [provider.id for provider in get_snapshot().providers])
def test_each_provider_of_the_catalog_is_known_by_its_own_id(provider: str) -> None:
    assert catalog_provider(provider) == provider


@pytest.mark.parametrize(
    ("service", "provider"), [("", None), ("litellm", None), ("acme", None), ("AWS.Bedrock ", "aws"), ("xai", "x-ai")]
)
def test_a_provider_is_known_without_a_model(service: str, provider: str | None) -> None:
    assert catalog_provider(service) == provider
