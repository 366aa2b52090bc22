"""The catalog's model that a call is priced as."""

from datetime import date

import pytest
from genai_prices.data_snapshot import get_snapshot

from billing.pricing.canonical import canonical_model, region_of_address, service_name
from billing.pricing.declared_prices import DATED_ALIASES, NOT_SOLD

DAY = date(2026, 11, 28)
# (service, model): (platform, provider, model, region)
KNOWN = {
    ("openai", "gpt-4o-2024-08-06"): ("openai", "openai", "gpt-4o", ""),
    ("openai.responses", "gpt-5.4"): ("openai", "openai", "gpt-5.4", ""),
    ("xai.chat", "grok-4.6"): ("x-ai", "x-ai", "grok-4.6", ""),
    ("togetherai", "meta-llama/Llama-3.3-70B-Instruct-Turbo"): (
        "together", "together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", ""
    ),
    ("vercel_ai_gateway", "openai/gpt-4o"): ("openai", "openai", "gpt-4o", ""),
    ("litellm", "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0"): (
        "aws", "aws", "regional.anthropic.claude-haiku-4-5-20251001-v1:0", "us"
    ),
    ("azure", "azure/eu/gpt-4o"): ("azure", "openai", "gpt-4o", "eu"),
    ("azure_ai", "deepseek-r1"): ("azure", "azure", "deepseek-r1", ""),
    ("anthropic", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"): (
        "aws", "aws", "regional.anthropic.claude-sonnet-4-5-20250929-v1:0", "us"
    ),
    ("bedrock", "bedrock/eu-west-2/meta.llama3-70b-instruct-v1:0"): (
        "aws", "aws", "meta.llama3-70b-instruct-v1:0", "eu-west-2"
    ),
    ("bedrock", "arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-pro-v1:0"): (
        "aws", "aws", "amazon.nova-pro-v1:0", "eu-west-1"
    ),
    ("anthropic", "claude-opus-4-6[1m]"): ("anthropic", "anthropic", "claude-opus-4-6", ""),
    ("vertex_ai", "claude-sonnet-4-5@20250929"): ("google", "google", "claude-sonnet-4-5", ""),
    ("vertex_ai", "projects/p/locations/us-central1/publishers/google/models/gemini-3.5-flash"): (
        "google", "google", "gemini-3.5-flash", "us-central1"
    ),
    ("vertex_ai", "projects/p/locations/eu/publishers/anthropic/models/claude-sonnet-4-5@20250929"): (
        "google", "google", "claude-sonnet-4-5", "eu"
    ),
    ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-pro"): ("google", "google", "gemini-2.5-pro", ""),
    ("", "ft:gpt-4o-mini-2024-07-18:acme::abc"): ("openai", "openai", "ft:gpt-4o-mini", ""),
    ("", "text-embedding-3-small"): ("openai", "openai", "text-embedding-3-small", ""),
    ("", "chatgpt-4o-latest"): ("openai", "openai", "chatgpt-4o-latest", ""),
    ("", "llama-3.3-70b-versatile"): ("groq", "groq", "llama-3.3-70b-versatile", ""),
    ("", "sonar"): ("perplexity", "perplexity", "sonar", ""),
    ("groq", "openai/gpt-oss-120b"): ("groq", "groq", "openai/gpt-oss-120b", ""),
}  # fmt: skip
UNKNOWN = [
    ("gemini", "gemini-3.8-flash-cyber"),
    ("anthropic", "claude-sonnet-4-5-turbo"),
    ("anthropic", "claude-opus-9"),
    ("openai", "gpt-9-preview"),
    ("gemini", "gemini-2.5-pro-extended"),
    ("azure", "prod-chat-eastus"),
    ("azure_ai", "deepseek-v4-pro"),
    ("hosted_vllm", "gpt-4o"),
    ("", "openai/gpt-oss-120b"),
    ("openai", "gpt-oss-120b"),
    ("openrouter", "anthropic/claude-sonnet-4.5:nitro"),
    ("", "meta-llama/Llama-3.3-70B-Instruct"),
    ("openai", ""),
]


@pytest.mark.parametrize(("service", "model"), KNOWN)
def test_a_call_is_priced_as(service: str, model: str) -> None:
    match = canonical_model(service, model, DAY)

    assert match is not None
    assert (match.platform, match.provider, match.model, match.region) == KNOWN[service, model]


@pytest.mark.parametrize(("service", "model"), UNKNOWN)
def test_another_model_is_not_priced_as_a_similar_one(service: str, model: str) -> None:
    assert canonical_model(service, model, DAY) is None


def test_an_alias_follows_the_date() -> None:
    before = canonical_model("mistral", "mistral-large-latest", date(2025, 6, 1))
    after = canonical_model("mistral", "mistral-large-latest", DAY)

    assert (before and before.model, after and after.model) == ("mistral-large", "mistral-large-2512")


def test_every_model_of_the_catalog_is_priced_as_itself() -> None:
    aliases = {(alias.platform, alias.name) for alias in DATED_ALIASES}
    wrong = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            found = provider.find_model(model.id)
            is_expected = found is model and (provider.id, model.id) not in aliases
            if not is_expected or any(provider.id == owner for owner, _ in NOT_SOLD if "gpt-oss" in model.id):
                continue
            match = canonical_model(provider.id, model.id, DAY)
            if match is None or (match.provider, match.model) != (provider.id, model.id):
                wrong.append((provider.id, model.id, match))
    assert wrong == []


def test_services_have_one_name() -> None:
    assert {service_name(name) for name in ("google", "gemini", "vertex_ai", "gcp.vertex_ai")} == {"google"}
    assert service_name("litellm") == service_name("") == ""
    assert service_name("Our-Cluster ") == "our-cluster"


@pytest.mark.parametrize(
    ("service", "address", "region"),
    [
        ("gcp.vertex_ai", "us-central1-aiplatform.googleapis.com", "us-central1"),
        (
            "vertex_ai",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4",
            "europe-west4",
        ),
        ("vertex_ai", "aiplatform.eu.rep.googleapis.com:443", "eu"),
        ("vertex_ai", "aiplatform.googleapis.com", None),
        ("gemini", "generativelanguage.googleapis.com", None),
        ("openai", "us-central1-aiplatform.googleapis.com", None),
        ("vertex_ai", "us-central1-aiplatform.googleapis.com.example.com", None),
        ("vertex_ai", "", None),
    ],
)
def test_the_address_of_a_call_to_vertex_ai_names_its_region(service: str, address: str, region: str | None) -> None:
    assert region_of_address(service, address) == region
