"""Formats values for the billing pages; all HTML is escaped."""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from django.db.models import TextChoices
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.ingest.usage.types import FlagCode
from billing.models import PriceVersion
from billing.pricing.kinds import KINDS, Quantity, Unit
from billing.types import AGGREGATE_FLAG, AUTHORIZATION_MISMATCH_FLAG, ESTIMATED_FLAG, POSSIBLE_DUPLICATE_FLAG
from costtrack.clock import DAY
from costtrack.date_text import day_text, zoned_time_text
from costtrack.dates import UTC_CALENDAR
from costtrack.money import exact_usd, usd
from organizations.models import APICredential

NOTHING = "-"
NO_PRICE = "No price yet"
_SIZES = ((10**12, "T"), (10**9, "B"))
# The catalog uses 1970 for prices without a known start; such a start is not shown.
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
KIND_LABELS = {
    **{kind.id: kind.label.capitalize() for kind in KINDS.values()},
    "input": "Input",
    "cache_read": "Cache read",
    "cache_creation": "Cache write, 5 minutes",
    "cache_creation_1h": "Cache write, 1 hour",
    "audio_input": "Audio in",
    "audio_output": "Audio out",
    "request": "Request",
}
FLAG_LABELS = {
    FlagCode.UNREAD_USAGE.value: "Not read",
    FlagCode.TOTAL_MISMATCH.value: "Total differs from the sum of its parts",
    FlagCode.DETAILS_MISMATCH.value: "Details do not add up",
    FlagCode.TWO_READINGS.value: "Ambiguous usage",
    FlagCode.UNUSUAL_READING.value: "Unusual usage",
    FlagCode.CONFLICTING_VALUES.value: "Conflicting values",
    FlagCode.COST_MISMATCH.value: "Conflicting costs",
    FlagCode.UNKNOWN_MODALITY.value: "Unknown kind of tokens",
    FlagCode.UNKNOWN_CACHE_LIFETIME.value: "Unknown cache lifetime",
    FlagCode.SEVERAL_MODELS.value: "Several models",
    FlagCode.TOO_LARGE.value: "Implausibly large",
    FlagCode.RAW_TRUNCATED.value: "Usage object truncated",
    ESTIMATED_FLAG: "Estimated unit price",
    POSSIBLE_DUPLICATE_FLAG: "Possibly counted twice",
    AGGREGATE_FLAG: "Sum of several requests",
    AUTHORIZATION_MISMATCH_FLAG: "Differs from its authorization",
}
_UNITS = {
    Unit.TOKENS: " per million",
    Unit.REQUESTS: "",
    Unit.IMAGES: " per image",
    Unit.CALLS: " per 1,000",
    Unit.PAGES: " per 1,000 pages",
    Unit.CHARACTERS: " per million characters",
    Unit.SECONDS: " per hour",
    Unit.STORAGE: " per million token hours",
}


def exact(amount: Decimal | None) -> str:
    """Format an amount with all digits, so that visible lines add up."""
    return "" if amount is None else exact_usd(amount)


def difference(amount: Decimal) -> str:
    """Format an amount with its sign."""
    return f"+{exact(amount)}" if amount > 0 else exact(amount)


def price_since(price: PriceVersion) -> str:
    """Return the start of a price in its organization's time zone; empty if it has no known start."""
    if price.effective_from <= _LONG_AGO:
        return ""
    local = _local(price.effective_from, price)
    return day_text(local) if local.time() == time() else zoned_time_text(local, local.tzinfo or UTC)


def price_until(price: PriceVersion) -> str:
    """Return the end of a price in its organization's time zone; empty if it has none. The end of a day is that day."""
    if price.effective_to is None:
        return ""
    local = _local(price.effective_to, price)
    return day_text(local - DAY) if local.time() == time() else zoned_time_text(local, local.tzinfo or UTC)


def _local(instant: datetime, price: PriceVersion) -> datetime:
    zone = UTC_CALENDAR.zone if price.organization is None else price.organization.calendar.zone
    try:
        return instant.astimezone(zone)
    except OverflowError:  # in the year 9999
        return instant.astimezone(UTC_CALENDAR.zone)


def unit_price(kind: str, amount: Decimal) -> str:
    return f"{exact(amount)}{_UNITS[KINDS[kind].unit]}"


def quantity(value: Quantity) -> str:
    return count(value) if isinstance(value, int) else f"{value:,f}"


def count(number: int) -> str:
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """Format a number of things: `1 request`, `1,200 requests`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def compact(number: int) -> SafeString | str:
    """Format a number; from a billion on in a few characters, `2.65T`, with all its digits in the tooltip."""
    for size, letter in _SIZES:
        if abs(number) >= size:
            value = Decimal(number) / size
            decimals = max(2 - value.adjusted(), 0)
            return format_html('<span title="{}">{}{}</span>', count(number), f"{value:,.{decimals}f}", letter)
    return count(number)


def cost(amount: Decimal, unpriced: int) -> SafeString | str:
    """Format the cost of usage. If nothing of it has a price, that is not zero."""
    return NO_PRICE if unpriced and not amount else usd(amount)


def count_or_nothing(number: int) -> str:
    return count(number) if number else NOTHING


def badge(text: str, kind: str = "", title: str = "") -> SafeString:
    """Render a badge. `kind` is success, warning, danger, info, primary, or empty for plain."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": kind, "label_title": title})


def choice_badge(choice: TextChoices, kinds: Mapping[Any, str]) -> SafeString:
    """Render a badge with the label of a choice and its kind."""
    return badge(str(choice.label), kinds[choice])


def two_lines(first: object, second: object) -> SafeString:
    """Render a text with a smaller one below it, which may be empty."""
    small = format_html("<small>{}</small>", second) if second else ""
    return format_html('<span class="ct-two-lines"><span>{}</span>{}</span>', first, small)


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="ct-link" href="{}">{}</a>', url, text)


def middle(text: str, longest: int = 32) -> str:
    """Cut a long text in its middle: ids and names of models often differ only at their ends."""
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


def name(text: str, longest: int = 32) -> SafeString | str:
    """Render a name; a long one is cut in its middle, with all of it in the tooltip."""
    short = middle(text, longest)
    return text if short == text else format_html('<span title="{}">{}</span>', text, short)


def id_link(url: str, text: str) -> SafeString:
    """Render an id as a link; a long one is cut in its middle, with all of it in the tooltip."""
    return format_html('<a class="ct-link ct-id" href="{}" title="{}">{}</a>', url, text, middle(text))


def code_link(url: str, text: str) -> SafeString | str:
    """Render an id as a link; `-` without one."""
    return link(url, code(text)) if text else NOTHING


def link_or_text(url: str, text: object) -> SafeString | str:
    """Return a link, or only the text if the URL is empty."""
    return link(url, text) if url else str(text)


def strong(text: object) -> SafeString:
    return format_html("<strong>{}</strong>", text)


def code(text: object) -> SafeString | str:
    """Render an id, `-` for none; a long one is cut in its middle, with all of it in the tooltip."""
    if text == "":
        return NOTHING
    return format_html('<code class="ct-id" title="{}">{}</code>', text, middle(str(text)))


def sender(credential_id: int | None, credential: APICredential | None) -> str:
    """Return the name of the sender. Members cannot read the credential of an operator."""
    if credential is not None:
        return credential.name
    return "costtrack" if credential_id is None else "an operator"
