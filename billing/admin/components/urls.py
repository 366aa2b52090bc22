"""Addresses of the page that is shown, with other filters."""

from datetime import date

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from billing.admin.components.date_range import CUSTOM

_PERIOD = ("range", "start_date", "end_date")
_PLACES = ("page", "after")  # of lists

Value = str | int | date | tuple[str, ...]


def url_with(request: HttpRequest, **changes: Value) -> str:
    """The page that is shown with these parameters changed, the others as they are; an empty value takes one away.
    Whoever changes a filter begins at the first page again."""
    query = request.GET.copy()
    for name in _PLACES:
        query.pop(name, None)
    for name, value in changes.items():
        texts = [str(text) for text in (value if isinstance(value, tuple) else (value,)) if text != ""]
        if texts:
            query.setlist(name, texts)
        else:
            query.pop(name, None)
    return f"{request.path}?{query.urlencode()}" if query else request.path


def url_for_dates(request: HttpRequest, first: date, last: date, **changes: Value) -> str:
    """The page that is shown, of the days from `first` to `last`, which is included."""
    return url_with(request, range=CUSTOM, start_date=first, end_date=last, **changes)


def url_of_page(view: str, request: HttpRequest, **parameters: str) -> str:
    """Another page, of the same period."""
    period = {name: request.GET[name] for name in _PERIOD if request.GET.get(name)}
    query = urlencode({**period, **parameters})
    return f"{reverse(f'admin:{view}')}?{query}" if query else reverse(f"admin:{view}")


def run_url(run_id: str) -> str:
    return reverse("admin:run", args=[run_id])
