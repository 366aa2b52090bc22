"""Cards, empty states and figures: what pages are made of, besides tables and charts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.utils.safestring import SafeString

from billing.admin.components.formatting import NOTHING
from billing.admin.components.tables import Table

Detail = tuple[str, SafeString | str]
"""A label and its value."""
Link = tuple[str, str]
"""A label and a URL."""


@dataclass(frozen=True, slots=True)
class Card:
    """A section of a page (`admin/components/card.html`). `body` is HTML below the header. Half-width cards are shown
    side by side."""

    title: str = ""
    amount: str = ""
    text: str = ""
    badges: SafeString | str = ""
    link: Link | None = None
    body: SafeString | str = ""
    details: Sequence[Detail] = ()
    table: Table[Any] | None = None
    code: str = ""
    footer: str | SafeString = ""
    is_half: bool = False
    css: str = ""


@dataclass(frozen=True, slots=True)
class EmptyState:
    """Why a page is empty and what to do next (`admin/components/empty.html`). `links` are buttons, the first one in
    the primary color if `is_first_use`; `example` is an event to send."""

    icon: str
    title: str
    text: str | SafeString = ""
    links: Sequence[Link] = ()
    is_first_use: bool = False
    example: str = ""


class Figure(NamedTuple):
    """A headline figure with notes (`admin/components/figures.html`)."""

    name: str
    value: str
    notes: Sequence[str | SafeString] = ()


INVALID_FILTERS = EmptyState("filter_alt_off", "These filters are invalid", "See the error above.")


def without_empty(details: Iterable[tuple[str, Any]]) -> list[Detail]:
    """Drop the details without a value."""
    return [(label, value) for label, value in details if value not in ("", NOTHING)]
