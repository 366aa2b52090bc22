"""The APIs by which providers report costs and usage: their URLs, headers, parameters and pages. Pure.

Addresses are fixed for each provider, so that a user cannot choose where the server sends a key.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlencode

from billing.types import BillFormat, BillProvider
from costtrack.clock import DAY

FIRST_DAYS = 30
"""How far back the first fetch of a connection goes; OpenRouter has no more."""
_DAYS_OF_PAGE = 31

Parameters = Sequence[tuple[str, str]]


class PageError(Exception):
    """A response is not a page of a report; the message explains why, in a sentence."""


@dataclass(frozen=True, slots=True)
class ApiReport:
    """A report of costs or usage. It can have several paths, whose pages belong together."""

    format: BillFormat
    paths: Sequence[str]
    parameters: Callable[[date, date], Parameters]
    """The query of the first page, for a first and a last day, both included."""


@dataclass(frozen=True, slots=True)
class ProviderApi:
    base_url: str
    headers: Callable[[str], Mapping[str, str]]
    """The headers that authenticate with a key."""
    reports: Sequence[ApiReport]
    kind_of_key: str
    """The kind of key that may read reports, as the provider names it."""


def page_url(base_url: str, path: str, parameters: Parameters, cursor: str) -> str:
    """Return the URL of a page; the first one has an empty cursor."""
    query = [*parameters, *([("page", cursor)] if cursor else [])]
    return f"{base_url}{path}" + (f"?{urlencode(query)}" if query else "")


def read_page(body: bytes) -> tuple[bool, str]:
    """Return whether a page has rows or days, and the cursor of the next page, empty after the last one. Raises
    PageError."""
    try:
        page: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise PageError("The response is not JSON.") from None
    rows = page.get("data") if isinstance(page, dict) else None
    if not isinstance(rows, list):
        raise PageError("The response is not a report: it has no list named data.")
    if not page.get("has_more"):
        return bool(rows), ""
    cursor = page.get("next_page")
    if not isinstance(cursor, str) or not cursor:
        raise PageError("The response has more pages, but does not name the next one.")
    return bool(rows), cursor


def _bearer(key: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _anthropic_headers(key: str) -> Mapping[str, str]:
    return {"X-Api-Key": key, "anthropic-version": "2023-06-01"}


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _openai(*groups: str) -> Callable[[date, date], Parameters]:
    def parameters(first: date, last: date) -> Parameters:
        return [
            ("start_time", f"{_start(first).timestamp():.0f}"),
            ("end_time", f"{_start(last + DAY).timestamp():.0f}"),
            *_daily(groups),
        ]

    return parameters


def _anthropic(*groups: str) -> Callable[[date, date], Parameters]:
    def parameters(first: date, last: date) -> Parameters:
        return [
            ("starting_at", f"{first}T00:00:00Z"),
            ("ending_at", f"{last + DAY}T00:00:00Z"),
            *_daily(groups),
        ]

    return parameters


def _daily(groups: Sequence[str]) -> Parameters:
    return [("bucket_width", "1d"), *(("group_by[]", group) for group in groups), ("limit", str(_DAYS_OF_PAGE))]


PROVIDER_APIS: Mapping[BillProvider, ProviderApi] = {
    BillProvider.OPENAI: ProviderApi(
        "https://api.openai.com/v1",
        _bearer,
        (
            ApiReport(BillFormat.OPENAI_COSTS, ("/organization/costs",), _openai("line_item", "api_key_id")),
            ApiReport(
                BillFormat.OPENAI_USAGE,
                ("/organization/usage/completions", "/organization/usage/embeddings"),
                _openai("model", "api_key_id"),
            ),
        ),
        "an admin key",
    ),
    # Its costs are not reported by key, so both reports are grouped by workspace.
    BillProvider.ANTHROPIC: ProviderApi(
        "https://api.anthropic.com/v1",
        _anthropic_headers,
        (
            ApiReport(
                BillFormat.ANTHROPIC_COSTS,
                ("/organizations/cost_report",),
                _anthropic("workspace_id", "description"),
            ),
            ApiReport(
                BillFormat.ANTHROPIC_USAGE,
                ("/organizations/usage_report/messages",),
                _anthropic("workspace_id", "model"),
            ),
        ),
        "an Admin API key",
    ),
    # The activity is always that of the last 30 days that are over.
    BillProvider.OPENROUTER: ProviderApi(
        "https://openrouter.ai/api/v1",
        _bearer,
        (ApiReport(BillFormat.OPENROUTER_ACTIVITY, ("/activity",), lambda _first, _last: ()),),
        "a management key",
    ),
}
