"""Links to the pages of a long list."""

from dataclasses import dataclass

from django.http import HttpRequest

from billing.admin.components import formatting
from billing.admin.components.urls import url_with

_DIGITS = 7


def requested_page(request: HttpRequest) -> int:
    """Return the requested page number, starting at 1; an invalid number is page 1."""
    text = request.GET.get("page", "")
    return max(int(text), 1) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else 1


@dataclass(frozen=True, slots=True)
class Paging:
    """`text` is the range of rows: `26 to 50 of 1,234`. An empty URL means that there is no such page."""

    text: str
    first_url: str
    previous_url: str
    next_url: str
    last_url: str
    is_beyond: bool
    """Whether the page number is larger than the last page."""


def paging(request: HttpRequest, *, number: int, size: int, total: int) -> Paging:
    last = max(-(-total // size), 1)
    first_row, last_row = (number - 1) * size + 1, min(number * size, total)
    return Paging(
        text=f"{formatting.count(first_row)} to {formatting.count(last_row)} of {formatting.count(total)}",
        first_url=_url(request, 1) if number > 1 else "",
        previous_url=_url(request, min(number - 1, last)) if number > 1 else "",
        next_url=_url(request, number + 1) if number < last else "",
        last_url=_url(request, last) if number != last else "",
        is_beyond=number > last,
    )


def _url(request: HttpRequest, number: int) -> str:
    return url_with(request, page=number) if number > 1 else url_with(request)
