"""Why the same call costs something else at the prices of LiteLLM's map. Data, and the rules that need none.

An entry says who is right as far as the providers' own pages tell. What is wrong here is corrected in
`billing.pricing.declared_prices` instead.
"""

from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase

from billing.pricing.price_lists import ListedPrice
from billing.pricing.quote import Quote
from billing.types import UnpricedReason

UNEXPLAINED = "No cause is known."
_NO_CONDITION = "Only the list has a price of this {}. costtrack leaves the cost unknown, with that reason."
_NO_UNIT_PRICE = "The catalog has no price of {}. costtrack leaves the cost unknown, with that reason."
_ESTIMATED = (
    "The catalog has no price of cached input. Here it is charged as the vendor's other models or as input, and the "
    "event is flagged as an estimate."
)
_ROUNDED = "One of the lists is rounded: it states prices in a unit or a currency of its own."
_ROUNDING = Decimal("0.006")


@dataclass(frozen=True, slots=True)
class KnownDifference:
    """A cause, and the models (as calls name them, lower case, with `*`) and calls that it explains."""

    cause: str
    platform: str
    models: tuple[str, ...]
    calls: tuple[str, ...] = ("*",)


_BARE = (
    "Bedrock bills a model without a geographic prefix in its region: 10% above the global price, which the list has."
)
_SHEET = "AWS rounds the prices of service tiers to cents per million tokens; here they are exact fractions."
_HOURS = "DeepSeek's price depends on the hour. The list has that of the most expensive hours for the whole day."
_PASSED_ON = "A gateway's own list, which differs from the vendor's price that it says to pass on."
_OLD = "The list has a price from before the vendor changed it."
_SEARCH = (
    "The vendor charges a fee for each request or search of this model. It is counted here, and not in the list's "
    "price of a call."
)
_BATCH = (
    "The list has no discount for batches of this model, or only for its input; the vendor publishes half the price."
)
_CATALOGUES = "The vendor's pages do not say which of the two is right; both are recent."

KNOWN_DIFFERENCES = (
    KnownDifference(_BARE, "aws", ("anthropic.*", "claude-*", "openai.*")),
    KnownDifference(_SHEET, "aws", ("*",), ("service_tier *",)),
    KnownDifference(_HOURS, "deepseek", ("deepseek-v4*", "deepseek-flash*")),
    KnownDifference(
        "The catalog has the prices of DeepSeek's retired aliases, the list those of V3.2, which they served last.",
        "deepseek",
        ("deepseek-chat", "deepseek-reasoner", "deepseek-v3.2"),
    ),
    KnownDifference(
        "OVHcloud publishes euros: another exchange rate.",
        "ovhcloud",
        ("*",),
    ),
    KnownDifference(_PASSED_ON, "", ("*",)),
    KnownDifference(_SEARCH, "openai", ("*-search-preview*",)),
    KnownDifference(_SEARCH, "perplexity", ("*",)),
    KnownDifference(_BATCH, "openai", ("gpt-3.5-turbo-1106", "ft:gpt-4o-2024-08-06"), ("service_tier batch",)),
    KnownDifference(_BATCH, "azure", ("*gpt-4o-mini*",), ("service_tier batch",)),
    KnownDifference(_BATCH, "google", ("*-tts*", "gemini-embedding-001"), ("service_tier batch",)),
    KnownDifference(
        "The list has the batch price of claude-opus-5.",
        "google",
        ("claude-opus-5-5*",),
        ("service_tier batch",),
    ),
    KnownDifference(
        "The model's context is smaller than that, so no call has this price.",
        "google",
        ("gemini-3-pro-image*",),
        ("above *",),
    ),
    KnownDifference(
        "A retired model. Vertex AI charged more than the Gemini API, whose price is the one here.",
        "google",
        ("gemini-2.0-flash",),
    ),
    KnownDifference(_OLD, "google", ("claude-3-5-haiku*",)),
    KnownDifference(_OLD, "mistral", ("open-mistral-nemo",)),
    KnownDifference(
        "Speech is billed as audio output. The list has another price of output as text, which such a call never has.",
        "openai",
        ("gpt-4o-mini-tts*",),
    ),
    KnownDifference(
        "Speech is billed as audio output. The list has another price of output as text, which such a call never has.",
        "azure",
        ("gpt-4o-mini-tts*",),
    ),
    *(KnownDifference(_CATALOGUES, name, ("*",)) for name in ("cloudflare", "fireworks", "novita", "together")),
    KnownDifference(_CATALOGUES, "azure", ("gpt-4-turbo*",)),
)


def cause_of(entry: ListedPrice, call: str, here: Quote, there: Quote) -> str:
    """Return why the costs of a call differ."""
    if here.total_usd is None or there.total_usd is None:
        text = _NO_UNIT_PRICE if here.reason is UnpricedReason.NO_UNIT_PRICE else _NO_CONDITION
        return text.format(", ".join(here.unknown).replace("_", " "))
    if here.is_estimate:
        return _ESTIMATED
    if abs(here.total_usd - there.total_usd) <= _ROUNDING * there.total_usd:
        return _ROUNDED
    model = entry.own_model.lower()
    for known in KNOWN_DIFFERENCES:
        is_model = known.platform == entry.provider and any(fnmatchcase(model, name) for name in known.models)
        if is_model and any(fnmatchcase(call, pattern) for pattern in known.calls):
            return known.cause
    return UNEXPLAINED
