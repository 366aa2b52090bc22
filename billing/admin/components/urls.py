"""URLs of admin pages, and of the current page with other parameters."""

from collections.abc import Iterable
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


def urls_for_dates(request: HttpRequest, spans: Iterable[tuple[date, date]]) -> list[str]:
    """Return `url_for_dates` of many spans, which repeats only what differs between them."""
    other = url_with(request, **dict.fromkeys(_PERIOD, ""))
    start = f"{other}{'&' if '?' in other else '?'}range={CUSTOM}"
    return [f"{start}&start_date={first}&end_date={last}" for first, last in spans]


def url_of_page(view: str, request: HttpRequest, **parameters: str) -> str:
    """Return the URL of another page for the same period."""
    return admin_url(view, **{**{name: request.GET.get(name, "") for name in _PERIOD}, **parameters})


def admin_url(view: str, *args: object, **query: str | int) -> str:
    """Return the URL of an admin page; empty parameters are omitted."""
    url = reverse(f"admin:{view}", args=args)
    given = {name: value for name, value in query.items() if value != ""}
    return f"{url}?{urlencode(given)}" if given else url


def change_url(model: str, row_id: object) -> str:
    """Return the URL of a row's page, for example of `billing_ingestbatch`."""
    return admin_url(f"{model}_change", row_id)


def event_url(event_id: object) -> str:
    return change_url("billing_usageevent", event_id)


def ledger_url(organization_id: int, **filters: str) -> str:
    """Return the URL of the ledger's list with filters."""
    return admin_url("billing_usageevent_changelist", organization=organization_id, **filters)


def run_url(run_id: str) -> str:
    """Return the URL of a run's page; empty without a run."""
    return admin_url("run", run_id) if run_id else ""


def session_url(session_id: str) -> str:
    return admin_url("session", session_id) if session_id else ""


def execution_url(execution_id: str) -> str:
    return admin_url("execution", execution_id) if execution_id else ""
