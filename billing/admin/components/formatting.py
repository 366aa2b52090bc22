"""Formats values for the billing pages; all HTML is escaped."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.models import PriceVersion
from billing.pricing.types import PriceKind
from costtrack.money import plain
from organizations.models import APICredential

NOTHING = "-"
# The catalogue uses 1970 for prices without a known start; such a start is not shown.
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
KIND_LABELS = {
    PriceKind.INPUT: "Input",
    PriceKind.OUTPUT: "Output",
    PriceKind.CACHE_READ: "Cache read",
    PriceKind.CACHE_CREATION: "Cache write, 5 minutes",
    PriceKind.CACHE_CREATION_1H: "Cache write, 1 hour",
    PriceKind.REASONING: "Reasoning",
    PriceKind.AUDIO_INPUT: "Audio in",
    PriceKind.AUDIO_OUTPUT: "Audio out",
    PriceKind.REQUEST: "Request",
}

Detail = tuple[str, SafeString | str]
"""A label and its value."""


def instant(value: datetime | None) -> str:
    """Format to the second, in UTC: `2026-11-02 09:00:07`."""
    return NOTHING if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def exact(amount: Decimal | None) -> str:
    """Format an amount with all digits, so that visible lines add up."""
    if amount is None:
        return ""
    units, _, decimals = plain(abs(amount)).partition(".")
    return f"{'-' if amount < 0 else ''}${int(units):,}.{decimals.ljust(2, '0')}"


def difference(amount: Decimal) -> str:
    """Format an amount with its sign."""
    return f"+{exact(amount)}" if amount > 0 else exact(amount)


def price_since(price: PriceVersion) -> str:
    """Return the start of a price; empty if it has no known start."""
    return _to_the_minute(price.effective_from) if price.effective_from > _LONG_AGO else ""


def price_until(price: PriceVersion) -> str:
    """Return the end of a price; empty if it has none."""
    return "" if price.effective_to is None else _to_the_minute(price.effective_to)


def _to_the_minute(value: datetime) -> str:
    """Format to the minute; midnight is omitted."""
    return f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def unit_price(kind: PriceKind, amount: Decimal) -> str:
    return exact(amount) if kind is PriceKind.REQUEST else f"{exact(amount)} per million"


def count(number: int) -> str:
    return f"{number:,}"


def count_or_nothing(number: int) -> str:
    return count(number) if number else NOTHING


def badge(text: str, kind: str = "", title: str = "") -> SafeString:
    """Render a badge. `kind` is success, warning, danger, info, primary, or empty for plain."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": kind, "label_title": title})


def two_lines(first: str, second: str) -> SafeString:
    return format_html('<span class="ct-two-lines"><span>{}</span><small>{}</small></span>', first, second)


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="ct-link" href="{}">{}</a>', url, text)


def code(text: object) -> SafeString:
    """Render an id; the browser truncates long ids and shows them in full in the tooltip."""
    return format_html('<code class="ct-id" title="{0}">{0}</code>', text)


def short_id(value: UUID) -> SafeString:
    """Render the random end of a UUIDv7 (its beginning is the time), with the full id in the tooltip."""
    return format_html('<code title="{}">…{}</code>', value, str(value)[-12:])


def sender(credential_id: int | None, credential: APICredential | None) -> str:
    """Return the name of the sender. Members cannot read the credential of an operator."""
    if credential is not None:
        return credential.name
    return "costtrack" if credential_id is None else "an operator"


def change_url(model: str, *, id: object) -> str:  # noqa: A002 - the models' name
    """Return the URL of a row's page, for example of `billing_ingestbatch`."""
    return reverse(f"admin:{model}_change", args=[id])


def ledger_url(organization_id: int, **filters: str) -> str:
    """Return the URL of the ledger's list with filters."""
    query = urlencode({"organization": str(organization_id), **filters})
    return f"{reverse('admin:billing_usageevent_changelist')}?{query}"


def limits_url(organization_id: int) -> str:
    """Return the URL of an organization's limits."""
    return f"{reverse('admin:billing_spendlimit_changelist')}?{urlencode({'organization': organization_id})}"


def without_empty(details: Iterable[tuple[str, Any]]) -> list[Detail]:
    """Drop the details without a value."""
    return [(label, value) for label, value in details if value not in ("", NOTHING)]
