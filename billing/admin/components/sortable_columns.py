"""Column headings that sort a table."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpRequest

from billing.admin.components.urls import url_with


@dataclass(frozen=True, slots=True)
class Column:
    """`order` is the column's value of `sort_by`; empty if the column is not sortable."""

    label: str
    order: str = ""
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """`url` sorts by the column; empty if it is not sortable. `sorted` is the value of `aria-sort`, or empty."""

    label: str
    url: str
    sorted: str
    is_number: bool


def headings(
    request: HttpRequest, columns: Iterable[Column], sort_by: str, *, default: str, ascending: bool
) -> list[Heading]:
    """Return the headings. Selecting the current column reverses the order; other columns start descending. The
    `default` order is omitted from URLs."""
    return [
        Heading(
            label=column.label,
            url=_url(request, column.order, default, is_turned=column.order == sort_by and not ascending),
            sorted=("ascending" if ascending else "descending") if column.order and column.order == sort_by else "",
            is_number=column.is_number,
        )
        for column in columns
    ]


def _url(request: HttpRequest, order: str, default: str, *, is_turned: bool) -> str:
    if not order:
        return ""
    return url_with(request, sort_by="" if order == default else order, sort_order="asc" if is_turned else "")
