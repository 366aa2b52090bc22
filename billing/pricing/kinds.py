"""The kinds of usage that providers bill. Pure.

A new kind is one entry of `KINDS`. Quantities of different kinds never overlap: cached tokens are not counted again as
input, reasoning and audio not again as output. So a cost is the sum over kinds of quantity x unit price, and every
token is in exactly one line.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

# Whole numbers for everything that is counted, Decimal for durations.
Quantity: TypeAlias = int | Decimal
Quantities: TypeAlias = Mapping[str, Quantity]

MILLION = 1_000_000


class Direction(StrEnum):
    """What a kind belongs to. Conditions such as batch change the prices of tokens only, not those of searches."""

    INPUT = "input"
    OUTPUT = "output"
    OTHER = "other"


class Unit(StrEnum):
    """What a quantity counts, in the plural."""

    TOKENS = "tokens"
    REQUESTS = "requests"
    CALLS = "calls"
    IMAGES = "images"
    PAGES = "pages"
    CHARACTERS = "characters"
    SECONDS = "seconds"
    STORAGE = "token_hours"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of usage.

    A unit price is in USD per `per` units. `catalog_key` is the price in genai-prices, per `catalog_per` units.

    Without a unit price of its own the kind is charged as `like`: providers document that reasoning costs what output
    does. If `is_estimate`, that is only our documented assumption, and the line is flagged. Without `like` the cost is
    unknown.
    """

    id: str
    label: str
    unit: Unit = Unit.TOKENS
    direction: Direction = Direction.OTHER
    per: int = MILLION
    catalog_key: str = ""
    catalog_per: int = 0
    like: str = ""
    is_estimate: bool = False

    @property
    def is_tokens(self) -> bool:
        return self.unit is Unit.TOKENS

    @property
    def is_fractional(self) -> bool:
        """Whether a quantity may have decimals."""
        return self.unit in (Unit.SECONDS, Unit.STORAGE)


def _input(kind: str, label: str, catalog_key: str = "", like: str = "", *, is_estimate: bool = False) -> Kind:
    return Kind(kind, label, Unit.TOKENS, Direction.INPUT, MILLION, catalog_key, MILLION, like, is_estimate)


def _output(kind: str, label: str, catalog_key: str = "", like: str = "") -> Kind:
    return Kind(kind, label, Unit.TOKENS, Direction.OUTPUT, MILLION, catalog_key, MILLION, like)


def _calls(kind: str, label: str, catalog_key: str = "", like: str = "") -> Kind:
    return Kind(kind, label, Unit.CALLS, Direction.OTHER, 1000, catalog_key, 1000, like)


def _seconds(kind: str, label: str, catalog_key: str = "", like: str = "") -> Kind:
    return Kind(kind, label, Unit.SECONDS, Direction.OTHER, 3600, catalog_key, 3600, like)


_TABLE = (
    # Input tokens. What is not audio, images or video is text, and tool results that the provider feeds to the model.
    _input("input", "uncached input", "input_mtok"),
    _input("cache_read", "cache reads", "cache_read_mtok", "input", is_estimate=True),
    _input("cache_creation", "cache writes", "cache_write_mtok", "input", is_estimate=True),
    _input("cache_creation_30m", "30-minute cache writes", "", "cache_creation", is_estimate=True),
    _input("cache_creation_1h", "1-hour cache writes", "cache_write_1h_mtok", "cache_creation", is_estimate=True),
    _input("cache_creation_12h", "12-hour cache writes", "", "cache_creation", is_estimate=True),
    _input("audio_input", "audio input", "input_audio_mtok"),
    _input("audio_cache_read", "cache reads of audio", "cache_audio_read_mtok", "audio_input", is_estimate=True),
    _input("image_input", "image input", "input_image_mtok"),
    _input("image_cache_read", "cache reads of images", "cache_image_read_mtok", "image_input", is_estimate=True),
    _input("video_input", "video input", "input_video_mtok"),
    _input("video_cache_read", "cache reads of video", "cache_video_read_mtok", "video_input", is_estimate=True),
    # Output tokens.
    _output("output", "output", "output_mtok"),
    _output("reasoning", "reasoning", "output_reasoning_mtok", "output"),
    _output("citation", "citations", "output_citation_mtok"),
    _output("audio_output", "audio output", "output_audio_mtok"),
    _output("image_output", "image output", "output_image_mtok"),
    _output("video_output", "video output", "output_video_mtok"),
    # Requests. The price of a request may depend on how much it searched.
    Kind("request", "requests", Unit.REQUESTS, per=1, catalog_key="requests_kcount", catalog_per=1000),
    Kind("request_search_low", "requests, low search context", Unit.REQUESTS, per=1, like="request"),
    Kind("request_search_medium", "requests, medium search context", Unit.REQUESTS, per=1, like="request"),
    Kind("request_search_high", "requests, high search context", Unit.REQUESTS, per=1, like="request"),
    # Tools that the provider runs.
    _calls("web_search", "web searches", "web_searches_kcount"),
    _calls("social_search", "social media searches", "social_searches_kcount"),
    _calls("file_search", "file searches", "storage_searches_kcount"),
    _calls("map_search", "map searches"),
    _calls("search_source", "sources used by searches"),
    _calls("code_execution", "code executions", "code_executions_kcount"),
    _calls("tool_call", "other tool calls of the provider"),
    _calls("rerank_search", "rerank searches", "rerank_searches_kcount"),
    _calls("text_message", "text messages", "input_text_messages_kcount"),
    # What is not counted in tokens.
    Kind("image", "images", Unit.IMAGES, per=1),
    Kind("page", "pages", Unit.PAGES, per=1000, catalog_key="input_document_kpages", catalog_per=1000),
    Kind(
        "annotated_page",
        "annotated pages",
        Unit.PAGES,
        per=1000,
        catalog_key="input_annotated_document_kpages",
        catalog_per=1000,
    ),
    Kind("character", "characters", Unit.CHARACTERS, catalog_key="input_mchars", catalog_per=MILLION),
    _seconds("audio_seconds", "audio", "audio_hours"),
    _seconds("audio_input_seconds", "audio input", "input_audio_hours", "audio_seconds"),
    _seconds("audio_output_seconds", "audio output", "output_audio_hours", "audio_seconds"),
    _seconds("video_seconds", "video"),
    _seconds("session_seconds", "sessions and containers"),
    Kind("storage_token_hours", "cache storage", Unit.STORAGE),
)
KINDS: Mapping[str, Kind] = {kind.id: kind for kind in _TABLE}

INPUT_TOKEN_KINDS = tuple(kind.id for kind in _TABLE if kind.is_tokens and kind.direction is Direction.INPUT)
OUTPUT_TOKEN_KINDS = tuple(kind.id for kind in _TABLE if kind.is_tokens and kind.direction is Direction.OUTPUT)
_INPUT_TOKEN_KINDS = frozenset(INPUT_TOKEN_KINDS)
TOKEN_KINDS = frozenset((*INPUT_TOKEN_KINDS, *OUTPUT_TOKEN_KINDS))
CACHE_KINDS = frozenset(kind for kind in INPUT_TOKEN_KINDS if "cache" in kind)

# The ledger's columns include their parts: `output_tokens` the reasoning, `cache_read_tokens` the cached audio.
# The kinds of each column; kinds without a column of their own are in the typed map beside the columns.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("input", "audio_input", "image_input", "video_input"),
    "output_tokens": OUTPUT_TOKEN_KINDS,
    "cache_read_tokens": ("cache_read", "audio_cache_read", "image_cache_read", "video_cache_read"),
    "cache_creation_tokens": ("cache_creation", "cache_creation_30m", "cache_creation_1h", "cache_creation_12h"),
    "cache_creation_1h_tokens": ("cache_creation_1h",),
    "reasoning_tokens": ("reasoning",),
    "audio_input_tokens": ("audio_input",),
    "audio_output_tokens": ("audio_output",),
}
TOKEN_COUNTS = tuple(COLUMNS)
"""The ledger's columns of tokens."""
PART_COUNTS = ("cache_creation_1h_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens")
"""Those that are part of another one. Few calls have them."""

# The kind of what remains of a total after its parts.
_REMAINDERS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_creation": "cache_creation_tokens",
}
_OWN_COLUMNS = {
    "cache_creation_1h": "cache_creation_1h_tokens",
    "reasoning": "reasoning_tokens",
    "audio_input": "audio_input_tokens",
    "audio_output": "audio_output_tokens",
}
_COLUMNS_OF = {
    kind.id: tuple(column for column, kinds in COLUMNS.items() if kind.id in kinds) for kind in _TABLE if kind.is_tokens
}
_COLUMN_KINDS = frozenset((*_REMAINDERS, *_OWN_COLUMNS))
_NO_COUNTS = dict.fromkeys(TOKEN_COUNTS, 0)

PRICE_COLUMNS: Mapping[str, str] = {
    **{kind: f"{kind}_usd_per_million" for kind in ("input", "output", "cache_read", "cache_creation")},
    **{kind: f"{kind}_usd_per_million" for kind in ("cache_creation_1h", "reasoning", "audio_input", "audio_output")},
    "request": "request_usd",
}
"""The kinds whose unit price has a column of its own in `PriceVersion`."""


def prompt_tokens(quantities: Quantities) -> int:
    """Return all input tokens, including caches: the size of the context, which determines a tier."""
    return sum([int(quantity) for kind, quantity in quantities.items() if kind in _INPUT_TOKEN_KINDS])


def output_tokens(quantities: Quantities) -> int:
    return _sum(quantities, OUTPUT_TOKEN_KINDS)


def to_columns(quantities: Quantities) -> tuple[dict[str, int], dict[str, Quantity]]:
    """Return the token counts by the ledger's columns, and the map of the kinds that have no column."""
    columns = _NO_COUNTS.copy()
    others = {}
    for kind, quantity in quantities.items():
        for column in _COLUMNS_OF.get(kind, ()):
            columns[column] += int(quantity)
        if quantity and kind not in _COLUMN_KINDS:
            others[kind] = quantity
    return columns, others


def from_columns(columns: Mapping[str, int], others: Quantities) -> dict[str, Quantity]:
    """Return the quantities of a row of the ledger; the inverse of `to_columns`."""
    quantities: dict[str, Quantity] = {kind: columns[column] for kind, column in _OWN_COLUMNS.items()}
    quantities.update(others)
    for kind, column in _REMAINDERS.items():
        parts = (part for part in COLUMNS[column] if part != kind)
        quantities[kind] = columns[column] - _sum(quantities, parts)
    return {kind: quantity for kind, quantity in quantities.items() if quantity}


def text_counts(counts: Sequence[int | None]) -> tuple[int, int, int] | None:
    """Return uncached input, cached input and output of counts in the order of `TOKEN_COUNTS`; None if there are
    others."""
    whole_input, whole_output, cache_read, *others = counts
    return None if any(others) else (whole_input or 0, cache_read or 0, whole_output or 0)


def from_counts(counts: Sequence[int | None]) -> dict[str, Quantity]:
    """Return the quantities of counts in the order of `TOKEN_COUNTS`: `from_columns` without other kinds, several times
    faster. The intake calls it for every event."""
    whole_input, whole_output, cache_read, cache_creation, one_hour, reasoning, audio_in, audio_out = counts
    quantities: dict[str, Quantity] = {}
    if plain_input := (whole_input or 0) - (audio_in or 0):
        quantities["input"] = plain_input
    if plain_output := (whole_output or 0) - (reasoning or 0) - (audio_out or 0):
        quantities["output"] = plain_output
    if cache_read:
        quantities["cache_read"] = cache_read
    if short_lived := (cache_creation or 0) - (one_hour or 0):
        quantities["cache_creation"] = short_lived
    if one_hour:
        quantities["cache_creation_1h"] = one_hour
    if reasoning:
        quantities["reasoning"] = reasoning
    if audio_in:
        quantities["audio_input"] = audio_in
    if audio_out:
        quantities["audio_output"] = audio_out
    return quantities


def quantities_as_json(quantities: Quantities) -> dict[str, int | str]:
    """Return the quantities as JSON; durations are decimal strings."""
    return {kind: value if isinstance(value, int) else str(value) for kind, value in quantities.items()}


def quantities_from_json(raw: Mapping[str, int | str]) -> dict[str, Quantity]:
    """Return the quantities of `quantities_as_json`. Kinds that are no longer known are left out."""
    return {kind: value if isinstance(value, int) else Decimal(value) for kind, value in raw.items() if kind in KINDS}


def _sum(quantities: Quantities, kinds: Iterable[str]) -> int:
    return sum(int(quantities.get(kind, 0)) for kind in kinds)
