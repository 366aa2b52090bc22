"""How the billing pages write things: small pieces of HTML, all of them escaped."""

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
# The catalogue begins a price whose first day nobody knows in 1970; that day says nothing.
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

Fact = tuple[str, SafeString | str]
"""A label and what stands beside it."""


def instant(value: datetime | None) -> str:
    """To the second, in UTC: `2026-11-02 09:00:07`."""
    return NOTHING if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def exact(amount: Decimal | None) -> str:
    """Every digit: lines that are added up by eye must add up."""
    if amount is None:
        return ""
    whole, _, decimals = plain(abs(amount)).partition(".")
    return f"{'-' if amount < 0 else ''}${int(whole):,}.{decimals.ljust(2, '0')}"


def difference(amount: Decimal) -> str:
    """With its sign, which a reader must not overlook."""
    return f"+{exact(amount)}" if amount > 0 else exact(amount)


def price_since(price: PriceVersion) -> str:
    """Empty for one that has always been so."""
    return _to_the_minute(price.effective_from) if price.effective_from > _LONG_AGO else ""


def price_until(price: PriceVersion) -> str:
    """Empty for one that has no end."""
    return "" if price.effective_to is None else _to_the_minute(price.effective_to)


def _to_the_minute(value: datetime) -> str:
    """Prices mostly change at midnight."""
    return f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def unit_price(kind: PriceKind, amount: Decimal) -> str:
    return exact(amount) if kind is PriceKind.REQUEST else f"{exact(amount)} per million"


def count(number: int) -> str:
    return f"{number:,}"


def count_or_nothing(number: int) -> str:
    return count(number) if number else NOTHING


def badge(text: str, kind: str = "", title: str = "") -> SafeString:
    """`kind` is success, warning, danger, info, primary, or empty for a plain one."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": kind, "label_title": title})


def two_lines(first: str, second: str) -> SafeString:
    return format_html('<span class="ct-two-lines"><span>{}</span><small>{}</small></span>', first, second)


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="ct-link" href="{}">{}</a>', url, text)


def code(text: object) -> SafeString:
    """An id: one that is too long for its place is cut by the browser and whole in its tooltip."""
    return format_html('<code class="ct-id" title="{0}">{0}</code>', text)


def short_id(value: UUID) -> SafeString:
    """The telling end of a UUID of version 7 (its beginning is the time), the whole in the tooltip."""
    return format_html('<code title="{}">…{}</code>', value, str(value)[-12:])


def sender(credential_id: int | None, credential: APICredential | None) -> str:
    """Who sent something. Members cannot read the credential of an operator."""
    if credential is not None:
        return credential.name
    return "costtrack itself" if credential_id is None else "an operator"


def page(model: str, *, id: object) -> str:  # noqa: A002 - the word of the models
    """The address of one row's page, for example of `billing_ingestbatch`."""
    return reverse(f"admin:{model}_change", args=[id])


def ledger(organization_id: int, **filters: str) -> str:
    """The address of the ledger's list, narrowed."""
    query = urlencode({"organization": str(organization_id), **filters})
    return f"{reverse('admin:billing_usageevent_changelist')}?{query}"


def limits(organization_id: int) -> str:
    """The address of the limits' list, narrowed to an organization's."""
    return f"{reverse('admin:billing_spendlimit_changelist')}?{urlencode({'organization': organization_id})}"


def present(facts: Iterable[tuple[str, Any]]) -> list[Fact]:
    """Without those that say nothing."""
    return [(label, value) for label, value in facts if value not in ("", NOTHING)]
