"""URLs of the current page with other parameters, and of other pages for the same period."""

from datetime import date

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from billing.admin.components.date_range import CUSTOM

_PERIOD = ("range", "start_date", "end_date")
_CURSOR_PARAMETERS = ("page", "after")  # reset when a filter changes

Value = str | int | date | tuple[str, ...]


def url_with(request: HttpRequest, **changes: Value) -> str:
    """Return the URL of the current page with changed parameters; an empty value removes one. Lists start at the first
    page again."""
    query = request.GET.copy()
    for name in _CURSOR_PARAMETERS:
        query.pop(name, None)
    for name, value in changes.items():
        texts = [str(text) for text in (value if isinstance(value, tuple) else (value,)) if text != ""]
        if texts:
            query.setlist(name, texts)
        else:
            query.pop(name, None)
    return f"{request.path}?{query.urlencode()}" if query else request.path


def url_for_dates(request: HttpRequest, first: date, last: date, **changes: Value) -> str:
    """Return the URL of the current page for the days from `first` to `last` (inclusive)."""
    return url_with(request, range=CUSTOM, start_date=first, end_date=last, **changes)


def url_of_page(view: str, request: HttpRequest, **parameters: str) -> str:
    """Return the URL of another page for the same period."""
    period = {name: request.GET[name] for name in _PERIOD if request.GET.get(name)}
    query = urlencode({**period, **parameters})
    return f"{reverse(f'admin:{view}')}?{query}" if query else reverse(f"admin:{view}")


def run_url(run_id: str) -> str:
    return reverse("admin:run", args=[run_id])
