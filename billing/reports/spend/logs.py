"""The ledger as a log of calls (document 004): a row for each event that is no adjustment, with what it costs now.
Read-only, and bounded: neither a page deep in a window nor a rare filter makes a request read the whole ledger.

The ledger has an index by time alone. Where a filter names something that a rollup knows, the rollup says on which days
there are such events, and only those days are read (`billing.reports.spend.scan_planner`).
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from billing.ingest import litellm
from billing.ingest.entries import event_key
from billing.models import EventKey
from billing.reports.event_list import SOURCES
from billing.reports.spend.log_types import Exactness, LogFilter, LogPage, LogRow, LogRows, Order, TooMuchToReadError
from billing.reports.spend.scan import (
    count_up_to,
    events_by_id,
    named_among_newest,
    newest_ids,
    scan,
    sums_of_adjustments,
)
from billing.reports.spend.scan_planner import days_of, number_of_calls, spans_to_scan
from costtrack.money import ZERO
from organizations.models import Organization

MAX_ROWS = 10_000
"""That one answer has, and that can be paged through."""
MAX_COUNTED = 20_000
"""Calls on the days that are looked at to count the rows of a filter."""
MAX_SEARCHED = 100_000
"""The newest events of a window, among which a request id is looked for that is no event's id."""

_TOLD = (
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
_COUNTS = _SUMMED.index("token_cost_usd")
_ID, _METADATA = _TOLD.index("id"), _TOLD.index("metadata")


def newest_rows(*, organization: Organization, filters: LogFilter) -> LogRows:
    """At most `MAX_ROWS`, the newest first. Of filters that no rollup knows only the request id is looked at."""
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
    """A page; one past the end is empty. Raises TooMuchToReadError: for pages beyond `MAX_ROWS` rows, and where an
    order or a filter needs every event of a window that has too many."""
    if filters.credentials == ():
        return LogPage((), 0, Exactness.EXACT)
    if filters.request_id is not None:
        found = _rows_of_request(organization, filters)
        return LogPage(found[offset : offset + limit], len(found), Exactness.EXACT)
    spans = spans_to_scan(organization, filters, order)
    if spans is not None:
        ids, total = scan(organization, filters, spans, order=order, descending=descending, offset=offset, limit=limit)
        return LogPage(_rows(organization, ids), total, Exactness.EXACT)
    return _page_by_time(organization, filters, offset, limit, oldest=not descending)


def _page_by_time(organization: Organization, filters: LogFilter, offset: int, limit: int, *, oldest: bool) -> LogPage:
    limit = min(limit, MAX_ROWS - offset)
    days = days_of(organization, filters)
    reading = days.to_read(enough=MAX_ROWS + 1, oldest=oldest)
    total, exactness = number_of_calls(organization, filters), Exactness.CALLS
    # Rollups count calls, the ledger rows. Which is dearer, so rows are only counted where there are few to look at.
    if total <= MAX_ROWS and reading.calls <= MAX_COUNTED and not reading.is_cut:
        rows = count_up_to(MAX_ROWS + 1, organization, filters, reading.spans)
        total, exactness = min(rows, MAX_ROWS), Exactness.EXACT if rows <= MAX_ROWS else Exactness.AT_LEAST
    else:
        reading = days.to_read(enough=offset + limit, oldest=oldest)
    if limit <= 0 and total >= MAX_ROWS:
        message = f"page: only {MAX_ROWS} rows of a window can be paged through; choose a shorter window."
        raise TooMuchToReadError(message, param="page")
    if limit <= 0 or (exactness is Exactness.EXACT and offset >= total):
        return LogPage((), total, exactness)
    ids = newest_ids(organization, filters, reading.spans, offset=offset, limit=limit, oldest=oldest)
    if reading.is_cut and len(ids) < limit:
        message = "end_date: these rows are too far between to be looked for at once; choose a shorter window."
        raise TooMuchToReadError(message, param="end_date")
    return LogPage(_rows(organization, ids), total, exactness)


def _rows_of_request(organization: Organization, filters: LogFilter) -> list[LogRow]:
    """Those whose event id, own id or request id it is, and that match the other filters too. Events' ids are looked up
    wherever they are; a request id that is none among the newest events of the window."""
    text = filters.request_id or ""
    if "\0" in text:
        return []
    rows = _rows(organization, _ids_by_key(organization, text))
    if not rows:
        rows = _rows(organization, named_among_newest(MAX_SEARCHED, organization, text, filters.window))
    rows = [row for row in rows if _matches(row, filters)]
    return sorted(rows, key=lambda row: (row.occurred_at, row.id), reverse=True)


def _ids_by_key(organization: Organization, text: str) -> list[UUID]:
    # What is too long for an event's id has been shortened by whoever took it in.
    event_id = litellm.short_text(text) or text
    keys = [event_key(source, event_id) for source in SOURCES]
    ids = list(EventKey.objects.of(organization).filter(key__in=keys).values_list("event_id", flat=True))
    with suppress(ValueError):
        ids.append(UUID(text))
    return ids


def _matches(row: LogRow, filters: LogFilter) -> bool:
    """Whether a row that was found by its id is among those that the other filters leave."""
    window, told = filters.window, row.gateway
    return (
        (window.start is None or row.occurred_at >= window.start)
        and (window.end is None or row.occurred_at < window.end)
        and (filters.credentials is None or row.credential_id in filters.credentials)
        and filters.user in (None, row.user_ref)
        and filters.end_user in (None, row.end_user)
        and filters.model in (None, row.model)
        and filters.status in (None, row.status)
        and filters.status_code in (None, row.status_code)
        and (filters.team is None or told.get("team_id") == filters.team or f"team:{filters.team}" in row.tags)
        and filters.deployment in (None, told.get("model_id"))
        and (filters.least_cost is None or row.cost_usd >= filters.least_cost)
        and (filters.largest_cost is None or row.cost_usd <= filters.largest_cost)
    )


def _rows(organization: Organization, ids: Sequence[UUID]) -> list[LogRow]:
    """The events with these ids, in this order, with their adjustments; without adjustments themselves."""
    if not ids:
        return []
    by_id = {row[_ID]: row for row in events_by_id(organization, ids, (*_TOLD, *_SUMMED))}
    if not by_id:
        return []
    adjusted = sums_of_adjustments(organization, by_id, _SUMMED)
    return [_row(by_id[event_id], adjusted.get(event_id)) for event_id in ids if event_id in by_id]


def _row(told: Sequence[Any], adjusted: Sequence[Any] | None) -> LogRow:
    named, sums = list(told[: len(_TOLD)]), told[len(_TOLD) :]
    if named[_METADATA] is not None:
        named[_METADATA] = json.loads(named[_METADATA])
    if adjusted is not None:
        sums = [(one or 0) + (other or 0) for one, other in zip(sums, adjusted, strict=True)]
    uncached, completion, cache_read, cache_creation, unpriced = map(int, sums[:_COUNTS])
    token_cost, compute_cost = sums[_COUNTS:]
    prompt = uncached + cache_read + cache_creation
    cost = (token_cost or ZERO) + compute_cost
    return LogRow._make((*named, prompt, completion, cache_read, cache_creation, unpriced <= 0, cost))
