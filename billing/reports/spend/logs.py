"""The spend log (document 004): one row per event that is not an adjustment, with its net cost. Read-only and
bounded: neither a deep page nor a rare filter makes a request read the whole ledger.

The ledger is indexed by time only. If a rollup knows a dimension of the filter, it tells which days have matching
events, and only those are read (`billing.reports.spend.scan_planner`).
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from billing.ingest import litellm
from billing.ingest.ledger_entries import event_key
from billing.models import EventKey
from billing.reports.event_list import SOURCES
from billing.reports.spend.log_types import Exactness, LogFilter, LogPage, LogRow, LogRows, Order, TooMuchToReadError
from billing.reports.spend.scan import (
    count_up_to,
    load_events,
    newest_ids,
    scan,
    search_newest,
    sums_of_adjustments,
)
from billing.reports.spend.scan_planner import count_calls, days_of, spans_to_scan
from costtrack.money import ZERO
from organizations.models import Organization

MAX_ROWS = 10_000
"""The most rows in one response, and the most that can be paged through."""
MAX_COUNTED = 20_000
"""The most calls that are read to count the rows of a filter."""
MAX_SEARCHED = 100_000
"""How many of the newest events of a window are searched for a request id that is not an event id."""

_COLUMNS = (
    "id",
    "event_id",
    "request_id",
    "kind",
    "occurred_at",
    "received_at",
    "duration_ms",
    "status",
    "status_code",
    "capability",
    "service",
    "model",
    "tool",
    "session_id",
    "agent_id",
    "user_ref",
    "end_user",
    "credential_id",
    "tags",
    "metadata",
    "unpriced_reason",
)
_SUMMED = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "unpriced",
    "token_cost_usd",
    "compute_cost_usd",
)
_COUNT_COLUMNS = _SUMMED.index("token_cost_usd")
_ID, _METADATA = _COLUMNS.index("id"), _COLUMNS.index("metadata")


def newest_rows(*, organization: Organization, filters: LogFilter) -> LogRows:
    """Return up to `MAX_ROWS` rows, newest first. Of the filters that no rollup knows, only `request_id` is applied."""
    if filters.credentials == ():
        return LogRows((), is_cut=False)
    if filters.request_id is not None:
        return LogRows(_rows_of_request(organization, filters), is_cut=False)
    reading = days_of(organization, filters).to_read(enough=MAX_ROWS + 1, oldest=False)
    ids = newest_ids(organization, filters, reading.spans, offset=0, limit=MAX_ROWS + 1, oldest=False)
    return LogRows(_rows(organization, ids[:MAX_ROWS]), is_cut=reading.is_cut or len(ids) > MAX_ROWS)


def page_of_rows(
    *, organization: Organization, filters: LogFilter, order: Order, descending: bool, offset: int, limit: int
) -> LogPage:
    """Return a page; a page past the end is empty. Raises TooMuchToReadError for pages beyond `MAX_ROWS` rows, and
    if the order or filter needs every event of a window with too many."""
    if filters.credentials == ():
        return LogPage((), 0, Exactness.EXACT)
    if filters.request_id is not None:
        rows = _rows_of_request(organization, filters)
        return LogPage(rows[offset : offset + limit], len(rows), Exactness.EXACT)
    spans = spans_to_scan(organization, filters, order)
    if spans is not None:
        ids, total = scan(organization, filters, spans, order=order, descending=descending, offset=offset, limit=limit)
        return LogPage(_rows(organization, ids), total, Exactness.EXACT)
    return _page_by_time(organization, filters, offset, limit, oldest=not descending)


def _page_by_time(organization: Organization, filters: LogFilter, offset: int, limit: int, *, oldest: bool) -> LogPage:
    limit = min(limit, MAX_ROWS - offset)
    days = days_of(organization, filters)
    reading = days.to_read(enough=MAX_ROWS + 1, oldest=oldest)
    total, exactness = count_calls(organization, filters), Exactness.CALLS
    # Rollups count calls, not rows. Counting rows is more expensive, so it is done only where few have to be read.
    if total <= MAX_ROWS and reading.calls <= MAX_COUNTED and not reading.is_cut:
        rows = count_up_to(MAX_ROWS + 1, organization, filters, reading.spans)
        total, exactness = min(rows, MAX_ROWS), Exactness.EXACT if rows <= MAX_ROWS else Exactness.AT_LEAST
    else:
        reading = days.to_read(enough=offset + limit, oldest=oldest)
    if limit <= 0 and total >= MAX_ROWS:
        message = f"page: only the first {MAX_ROWS} rows of a window are available. Choose a shorter window."
        raise TooMuchToReadError(message, param="page")
    if limit <= 0 or (exactness is Exactness.EXACT and offset >= total):
        return LogPage((), total, exactness)
    ids = newest_ids(organization, filters, reading.spans, offset=offset, limit=limit, oldest=oldest)
    if reading.is_cut and len(ids) < limit:
        message = "end_date: the matching rows are too sparse for this window. Choose a shorter one."
        raise TooMuchToReadError(message, param="end_date")
    return LogPage(_rows(organization, ids), total, exactness)


def _rows_of_request(organization: Organization, filters: LogFilter) -> list[LogRow]:
    """Return the rows whose event id, ledger id or request id matches, and that match the other filters. Event ids
    are looked up in the whole ledger, other request ids among the newest events of the window."""
    text = filters.request_id or ""
    if "\0" in text:
        return []
    rows = _rows(organization, _ids_by_key(organization, text))
    if not rows:
        rows = _rows(organization, search_newest(MAX_SEARCHED, organization, text, filters.window))
    rows = [row for row in rows if _matches(row, filters)]
    return sorted(rows, key=lambda row: (row.occurred_at, row.id), reverse=True)


def _ids_by_key(organization: Organization, text: str) -> list[UUID]:
    # Intake shortened event ids that are too long.
    event_id = litellm.short_text(text) or text
    keys = [event_key(source, event_id) for source in SOURCES]
    ids = list(EventKey.objects.of(organization).filter(key__in=keys).values_list("event_id", flat=True))
    with suppress(ValueError):
        ids.append(UUID(text))
    return ids


def _matches(row: LogRow, filters: LogFilter) -> bool:
    """Whether a row that was found by id matches the other filters."""
    window, gateway = filters.window, row.gateway
    return (
        (window.start is None or row.occurred_at >= window.start)
        and (window.end is None or row.occurred_at < window.end)
        and (filters.credentials is None or row.credential_id in filters.credentials)
        and filters.user in (None, row.user_ref)
        and filters.end_user in (None, row.end_user)
        and filters.model in (None, row.model)
        and filters.status in (None, row.status)
        and filters.status_code in (None, row.status_code)
        and (filters.team is None or gateway.get("team_id") == filters.team or f"team:{filters.team}" in row.tags)
        and filters.deployment in (None, gateway.get("model_id"))
        and (filters.min_cost is None or row.cost_usd >= filters.min_cost)
        and (filters.max_cost is None or row.cost_usd <= filters.max_cost)
    )


def _rows(organization: Organization, ids: Sequence[UUID]) -> list[LogRow]:
    """Return events in the order of the ids, with their adjustments. Adjustments themselves are left out."""
    if not ids:
        return []
    by_id = {row[_ID]: row for row in load_events(organization, ids, (*_COLUMNS, *_SUMMED))}
    if not by_id:
        return []
    adjusted = sums_of_adjustments(organization, by_id, _SUMMED)
    return [_row(by_id[event_id], adjusted.get(event_id)) for event_id in ids if event_id in by_id]


def _row(row: Sequence[Any], adjusted: Sequence[Any] | None) -> LogRow:
    named, sums = list(row[: len(_COLUMNS)]), row[len(_COLUMNS) :]
    if named[_METADATA] is not None:
        named[_METADATA] = json.loads(named[_METADATA])
    if adjusted is not None:
        sums = [(own or 0) + (change or 0) for own, change in zip(sums, adjusted, strict=True)]
    uncached, completion, cache_read, cache_creation, unpriced = map(int, sums[:_COUNT_COLUMNS])
    token_cost, compute_cost = sums[_COUNT_COLUMNS:]
    prompt = uncached + cache_read + cache_creation
    cost = (token_cost or ZERO) + compute_cost
    return LogRow._make((*named, prompt, completion, cache_read, cache_creation, unpriced <= 0, cost))
