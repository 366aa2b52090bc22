"""The model of the catalog that a call is priced as, and the region in its name. Pure, and cached.

`billing.pricing.normalize` finds the model by the catalog's patterns, which also match variants: `gemini-3.8-flash`
is a prefix of `gemini-3.8-flash-cyber`. A variant has a price of its own, so the name may differ from the pattern only
by a vendor or region in front and by a version or date behind. Otherwise the model has no price here.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    MatchLogic,
    ModelInfo,
)

from billing.pricing.declared_prices import (
    DATED_ALIASES,
    NOT_SOLD,
    PASS_THROUGH,
    RESOLD,
    SELLERS_BY_NAME,
    SERVICE_NAMES,
    SUPPLEMENTS,
)
from billing.pricing.normalize import catalog_model, catalog_provider

_BEDROCK = "aws"
_GOOGLE = "google"
# Bedrock's names have the vendor, and in front of it the region of an inference profile.
_BEDROCK_NAME = re.compile(
    r"(?:arn:aws|(?:[a-z]{2,6}(?:-gov)?\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|luma|meta|minimax|mistral|moonshotai|nvidia|openai|qwen|"
    r"stability|twelvelabs|writer|zai)\.[a-z])"
)
# Clients of these vendors' models at Bedrock often name the vendor as the service, or nothing.
_BEDROCK_CLIENTS = frozenset({"", "anthropic", "cohere", "meta", "mistral"})
_BEDROCK_REGION = re.compile(
    r"(?:.*/)?(?:(?P<profile>global|us-gov|us|eu|apac|jp|au|ca|sa|me|af|il)\.|(?:bedrock[a-z_]*/)?(?P<path>[a-z]{2}(?:-[a-z]+)+-\d)/)"
)
_ARN_REGION = re.compile(r"arn:aws[a-z-]*:bedrock:(?P<region>[a-z0-9-]+):")
# Vertex names a model by its resource, with the location of the endpoint.
_VERTEX_LOCATION = re.compile(r"(?:.*/)?locations/(?P<location>[a-z]+(?:-[a-z]+\d+)?)/publishers/")
_VERTEX_PUBLISHER = re.compile(r"(?:.*/)?publishers/[a-z0-9-]+/models/")
_VERTEX_HOST = re.compile(
    r"(?:https?://)?(?:(?P<location>[a-z]+-[a-z]+\d+)-aiplatform|aiplatform\.(?P<zone>[a-z]+)\.rep)\.googleapis\.com(?:[:/].*)?"
)
_AZURE_ZONE = re.compile(r"(?:azure[a-z_]*/)?(?P<zone>us-gov|us|eu|apac)/")
# Claude Code marks its long-context models.
_CONTEXT_MARK = re.compile(r"\[\d+m\]$")

_VERSION = re.compile(
    r"(?:[-@:._]?(?:\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{3,4}|v\d+(?:\.\d+)?(?::\d+)*(?::\d+k)?|\d?:\d+(?::\d+k)?|"
    r"latest|preview|exp|experimental|beta|stable|default|maas))*"
)
_VERSIONED = re.compile(f"{_VERSION.pattern}$")
_VENDOR = re.compile(r"|.*[./:]")
_FINE_TUNED = ("ft:", ".ft-")


@dataclass(frozen=True, slots=True)
class CanonicalModel:
    """What a call is priced as.

    `platform` bills the call. `provider` and `model` are the catalog's, for example `openai` and `gpt-4o` for a
    deployment at Azure. `name` is the model as the platform calls it. `region` is the geography in the name.
    """

    platform: str
    provider: str
    model: str
    name: str
    region: str = ""


@lru_cache(maxsize=8192)
def canonical_model(service: str, model: str, day: date) -> CanonicalModel | None:
    """Return what a call of `model` at `service` on a day (UTC) is priced as, or None if it has no price here."""
    name = _CONTEXT_MARK.sub("", model.strip().lower())
    service = service_name(service)
    platform = _platform(service, name)
    if platform or service:
        return _at(platform, service, name, day)
    sellers = (_at(seller, seller, name, day) for seller in SELLERS_BY_NAME if "/" not in name)
    return _at("", "", name, day) or next((match for match in sellers if match is not None), None)


_MAX_STEPS = 8


@lru_cache(maxsize=8192)
def model_identity(name: str, day: date) -> str:
    """Return the name by which limits, filters and reports know a model: that of the catalog, without version or
    region as far as it means the same; for an unknown model the name in lower case, without known providers in front.

    `name` is what a call was priced as, or what a caller sent. Sellers have names of their own for the same model, so
    each name that was found is looked up again.
    """
    identity = unicodedata.normalize("NFC", name).strip().lower()
    for _ in range(_MAX_STEPS):
        match = canonical_model("", identity, day)
        if match is None:
            following = _without_provider(identity)
        elif match.model.lower() == identity or _short_name(match.model, day) == identity:
            return _short_name(match.model, day)
        else:
            following = match.model.lower()
        if following == identity:
            break
        identity = following
    return identity


_QUALIFIER = re.compile(r"^regional\.|-(?:0|latest|v\d+:\d+|\d{8}|\d{4}-\d{2}-\d{2})$")


def _short_name(model: str, day: date) -> str:
    """Return the name of a model of the catalog without region and version, as far as it still means that model."""
    name = model.lower()
    while (shorter := _QUALIFIER.sub("", name, count=1)) != name:
        match = canonical_model("", shorter, day)
        if match is None or match.model != model:
            break
        name = shorter
    return name


def _without_provider(name: str) -> str:
    prefix, slash, rest = name.partition("/")
    return rest if slash and rest and catalog_provider(prefix) is not None else name


def _at(platform: str, service: str, name: str, day: date) -> CanonicalModel | None:
    region = _region(platform, name)
    if platform == _GOOGLE:
        name = _VERTEX_PUBLISHER.sub("", name, count=1)
    name = _dated_alias(platform, name, day)
    match = catalog_model(_BEDROCK if platform == _BEDROCK else service, name)
    if match is not None:
        owners = (platform or match.provider, *RESOLD.get(platform, ()))
        is_sold = match.provider in owners and not _is_listed(NOT_SOLD, match.provider, match.model)
        info = _info(match.provider, match.model)
        if is_sold and info is not None and any(_is_version_of(info, part) for part in _parts(name)):
            return CanonicalModel(platform or match.provider, match.provider, match.model, _own_name(name), region)
    own_name = _own_name(name)
    patterns = tuple(
        (entry.platform, pattern) for entry in SUPPLEMENTS if "input" in entry.unit_prices for pattern in entry.models
    )
    seller = platform or service
    if _is_listed(patterns, seller, own_name):
        return CanonicalModel(seller, seller, own_name, own_name, region)
    return None


# A vendor and a region in front of a name: `us.anthropic.claude-sonnet-4-5`.
_VENDOR_SEGMENTS = re.compile(r"^(?:[a-z-]+\.)+(?=[a-z])")


@lru_cache(maxsize=8192)
def undated_name(model: str) -> str:
    """Return a model's name without vendor, region, version and date, to compare the spellings of several sources."""
    name = _own_name(_CONTEXT_MARK.sub("", model.strip().lower())).partition("@")[0]
    name = _VENDOR_SEGMENTS.sub("", name)
    return (_VERSIONED.sub("", name) or name).replace(".", "-")


@lru_cache(maxsize=2048)
def service_name(service: str) -> str:
    """Return the catalog's id of a service, the name of an unknown one, or nothing for one that passes calls on."""
    name = service.strip().lower()
    if name in PASS_THROUGH:
        return ""
    name = SERVICE_NAMES.get(name, name)
    # Frameworks append the API: `xai.chat`.
    return catalog_provider(name) or catalog_provider(name.partition(".")[0]) or name


@lru_cache(maxsize=1024)
def region_of_address(service: str, address: str) -> str | None:
    """Return the region that the address of a call names; None if it names none. Vertex AI has an address for each
    location, and a global one without."""
    if service_name(service) != _GOOGLE:
        return None
    host = _VERTEX_HOST.fullmatch(address)
    return (host["location"] or host["zone"]) if host is not None else None


def _platform(service: str, name: str) -> str:
    """Return the catalog's id of who bills the call; empty if only the model's name can say it."""
    platform = catalog_provider(service) or ""
    if service in _BEDROCK_CLIENTS and _BEDROCK_NAME.match(name):
        return _BEDROCK
    if platform or service:
        return platform
    return catalog_provider(name.partition("/")[0]) or "" if "/" in name else ""


def _region(platform: str, name: str) -> str:
    if platform == "azure":
        zone = _AZURE_ZONE.match(name)
        return zone["zone"] if zone is not None else ""
    if platform == _GOOGLE:
        location = _VERTEX_LOCATION.match(name)
        return location["location"] if location is not None else ""
    if platform == _BEDROCK:
        profile = _BEDROCK_REGION.match(name)
        if profile is not None:
            return profile["profile"] or profile["path"]
        arn = _ARN_REGION.match(name)
        return arn["region"] if arn is not None else ""
    return ""


def _dated_alias(platform: str, name: str, day: date) -> str:
    """Return the name that an alias stands for on the day. Names may have the provider in front."""
    own_name = _own_name(name)
    for alias in reversed(DATED_ALIASES):
        if alias.platform == platform and alias.name == own_name and day >= alias.starts:
            return alias.model
    return name


def _own_name(name: str) -> str:
    return name.rpartition("/")[2]


def _parts(name: str) -> Iterator[str]:
    """Yield the name, and the name without its leading segments."""
    yield name
    while "/" in name:
        name = name.partition("/")[2]
        yield name


@lru_cache(maxsize=4096)
def _info(provider: str, model: str) -> ModelInfo | None:
    for candidate in get_snapshot().providers:
        if candidate.id == provider:
            return next((info for info in candidate.models if info.id == model), None)
    return None


def _is_listed(patterns: tuple[tuple[str, str], ...], platform: str, model: str) -> bool:
    return any(platform == owner and fnmatchcase(model, pattern) for owner, pattern in patterns)


def _is_version_of(info: ModelInfo, name: str) -> bool:
    dashed = re.sub(r"-(20\d{2})(\d{2})(\d{2})(?=-|:|$)", r"-\1-\2-\3", name)
    return any(candidate == info.id.lower() or _fits(info.match, candidate) for candidate in {name, dashed})


def _fits(clause: MatchLogic, name: str) -> bool:
    """Whether the clause matches the whole name, except for a vendor in front and a version behind."""
    match clause:
        case ClauseOr(or_=clauses):
            return any(_fits(inner, name) for inner in clauses)
        case ClauseAnd(and_=clauses):
            return clause.is_match(name) and any(_fits(inner, name) for inner in clauses)
        case ClauseEquals(equals=text):
            return name == text.lower()
        case ClauseRegex(regex=pattern):
            found = re.search(pattern, name)
        case ClauseStartsWith(starts_with=text):
            found = re.match(re.escape(text.lower()), name)
        case ClauseEndsWith(ends_with=text):
            found = re.search(re.escape(text.lower()) + r"\Z", name)
        case ClauseContains(contains=text):
            found = re.search(re.escape(text.lower()), name)
    return found is not None and _is_rest(name[: found.start()], name[found.end() :], name)


def _is_rest(before: str, after: str, name: str) -> bool:
    if _VENDOR.fullmatch(before) is None:
        return False
    return _VERSION.fullmatch(after) is not None or any(mark in name for mark in _FINE_TUNED)
