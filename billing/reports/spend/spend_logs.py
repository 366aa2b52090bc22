"""The spend log (document 004): one row per event that is not an adjustment, with its net cost. Read-only and
bounded: neither a deep page nor a rare filter makes a request read the whole ledger.

If a rollup knows a dimension of the filter, it says which days have matching events, and only those are read
(`billing.reports.event_days`). Another order or filter reads every call of those days, if they are not too many.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from billing.ingest import litellm
from billing.ingest.ledger_entries import event_key
from billing.models import EventKey
from billing.reports.event_days import EventDays, Reading, extend_to_days, read_event_days
from billing.reports.event_query import EventQuery, Sort
from billing.reports.events import SOURCES
from billing.reports.rollup_query import RollupQuery, read_sums
from billing.reports.sql import Parameters, bind, equal_to
from billing.rollups.definitions import CUSTOMER_DAYS, MODEL_DAYS, ORGANIZATION_HOURS, SPEND_DAYS, USAGE_DAYS, Rollup
from costtrack.calendar import Window
from costtrack.errors import DomainError
from organizations.models import Organization

MAX_ROWS = 10_000
"""Maximum number of rows in one response, and in all pages of a list."""
MAX_COUNTED = 20_000
"""Maximum number of calls that are read to count the rows of a filter."""
MAX_SEARCHED = 100_000
"""How many of the newest events of a window are searched for a request id that is not an event id."""
MAX_SCANNED = 200_000
"""Maximum number of calls that are read one by one if no rollup and no index can be used."""

# Rollup dimensions by the names of filters.
_COLUMNS = {
    "credentials": "credential_id",
    "user": "user_ref",
    "end_user": "end_user",
    "model": "model",
    "status": "status",
}
_UNKNOWN_TO_ROLLUPS = ("status_code", "team", "deployment", "min_cost", "max_cost")
_HAS_TEAM = sql.SQL("(metadata #>> '{{litellm,team_id}}' = {team} OR {tag} = ANY(tags))")
_OF_DEPLOYMENT = sql.SQL("metadata #>> '{{litellm,model_id}}' = {}")


class TooMuchToReadError(DomainError):
    """The query would read more of the ledger than one request is allowed to."""


class Exactness(StrEnum):
    """How exact the total of a page is."""

    EXACT = "exact"
    CALLS = "calls"
    """Too many rows to count, so the total is the rollups' count of model calls that were not voided."""
    AT_LEAST = "at_least"
    """More rows than can be paged through, and no rollup can count them."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Filters of events; None means any. `credentials` are ids. Cost filters apply to the net cost."""

    window: Window = field(default_factory=Window)
    credentials: tuple[int, ...] | None = None
    user: str | None = None
    end_user: str | None = None
    model: str | None = None
    status: str | None = None
    status_code: int | None = None
    team: str | None = None
    deployment: str | None = None
    min_cost: Decimal | None = None
    max_cost: Decimal | None = None
    request_id: str | None = None

    def values_of(self, columns: Iterable[str]) -> dict[str, object]:
        """Return the given filters by rollup dimension, for those of the columns that are filtered by."""
        values = ((column, getattr(self, name)) for name, column in _COLUMNS.items() if column in columns)
        return {column: value for column, value in values if value is not None}

    def condition(self, parameters: Parameters) -> sql.Composable:
        """Build the condition over columns of the ledger, without window and cost."""
        values = self.values_of(_COLUMNS.values())
        if self.status_code is not None:
            values["status_code"] = self.status_code
        conditions = [equal_to(values)(parameters)]
        if self.team is not None:
            team, tag = bind(parameters, self.team), bind(parameters, f"team:{self.team}")
            conditions.append(_HAS_TEAM.format(team=team, tag=tag))
        if self.deployment is not None:
            conditions.append(_OF_DEPLOYMENT.format(bind(parameters, self.deployment)))
        return sql.SQL(" AND ").join(conditions)


class LogRow(NamedTuple):
    """An event that is not an adjustment. Token counts and cost include its adjustments; `is_priced` says whether
    `cost_usd` is the full cost."""

    id: UUID
    event_id: str
    request_id: str
    kind: str
    occurred_at: datetime
    received_at: datetime
    duration_ms: Decimal | None
    status: str
    status_code: int | None
    capability: str
    service: str
    model: str
    model_as_sent: str
    tool: str
    session_id: str
    agent_id: str
    user_ref: str
    end_user: str
    credential_id: int | None
    tags: list[str]
    metadata_json: str | None
    unpriced_reason: str
    net_prompt_tokens: int
    net_output_tokens: int
    net_cache_read_tokens: int
    net_cache_creation_tokens: int
    is_priced: bool
    known_cost_usd: Decimal

    @property
    def cost_usd(self) -> Decimal:
        return self.known_cost_usd

    @property
    def total_tokens(self) -> int:
        return self.net_prompt_tokens + self.net_output_tokens

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Empty without metadata, which the ledger stores as NULL or as JSON null."""
        metadata: dict[str, Any] | None = json.loads(self.metadata_json) if self.metadata_json is not None else None
        return metadata or {}

    @property
    def gateway(self) -> Mapping[str, str]:
        """Text fields that LiteLLM reported about the call. Other values are ignored, because callers can write
        anything into metadata."""
        return {name: value for name, value in self._gateway_fields.items() if isinstance(value, str)}

    @property
    def was_cached(self) -> bool:
        """Whether LiteLLM served the call from its cache."""
        return self._gateway_fields.get("cache_hit") is True

    @property
    def _gateway_fields(self) -> Mapping[str, Any]:
        fields = self.metadata.get("litellm")
        return fields if isinstance(fields, dict) else {}


@dataclass(frozen=True, slots=True)
class LogRows:
    """Rows, newest first. `is_truncated` is True if there are, or may be, more."""

    rows: Sequence[LogRow]
    is_truncated: bool


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of rows and the total number."""

    rows: Sequence[LogRow]
    total: int
    exactness: Exactness


def newest_rows(*, organization: Organization, filters: LogFilter) -> LogRows:
    """Return up to `MAX_ROWS` rows, newest first. Of the filters that no rollup knows, only `request_id` is applied."""
    if filters.credentials == ():
        return LogRows((), is_truncated=False)
    if filters.request_id is not None:
        return LogRows(_rows_of_request(organization, filters), is_truncated=False)
    reading = _to_read(_days_of(organization, filters), filters, enough=MAX_ROWS + 1)
    rows = EventQuery(organization, reading.windows, filters.condition).rows(LogRow, limit=MAX_ROWS + 1)
    return LogRows(rows[:MAX_ROWS], is_truncated=reading.is_truncated or len(rows) > MAX_ROWS)


def page_of_rows(
    *, organization: Organization, filters: LogFilter, sort: Sort | None, descending: bool, offset: int, limit: int
) -> LogPage:
    """Return a page, sorted by time if `sort` is None; a page past the end is empty. Raises TooMuchToReadError for
    pages beyond `MAX_ROWS` rows, and if the order or filter needs every event of a window with too many."""
    if filters.credentials == ():
        return LogPage((), 0, Exactness.EXACT)
    if filters.request_id is not None:
        rows = _rows_of_request(organization, filters)
        return LogPage(rows[offset : offset + limit], len(rows), Exactness.EXACT)
    if sort is None and _is_known_to_rollups(filters):
        return _page_by_time(organization, filters, offset, limit, oldest_first=not descending)
    windows = _windows_to_scan(organization, filters)
    rows, total = EventQuery(organization, windows, filters.condition).sorted_rows(
        LogRow,
        sort=sort,
        descending=descending,
        costs=(filters.min_cost, filters.max_cost),
        offset=offset,
        limit=limit,
    )
    return LogPage(rows, total, Exactness.EXACT)


def _page_by_time(
    organization: Organization, filters: LogFilter, offset: int, limit: int, *, oldest_first: bool
) -> LogPage:
    limit = min(limit, MAX_ROWS - offset)
    days = _days_of(organization, filters)
    reading = _to_read(days, filters, enough=MAX_ROWS + 1, oldest_first=oldest_first)
    total, exactness = _count_calls(organization, filters), Exactness.CALLS
    # Rollups count calls, not rows. Counting rows is more expensive, so it is done only where few have to be read.
    if total <= MAX_ROWS and reading.calls <= MAX_COUNTED and not reading.is_truncated:
        rows = EventQuery(organization, reading.windows, filters.condition).count(MAX_ROWS + 1)
        total, exactness = min(rows, MAX_ROWS), Exactness.EXACT if rows <= MAX_ROWS else Exactness.AT_LEAST
    else:
        reading = _to_read(days, filters, enough=offset + limit, oldest_first=oldest_first)
    if limit <= 0 and total >= MAX_ROWS:
        message = f"page: only the first {MAX_ROWS} rows of a window are available. Choose a shorter window."
        raise TooMuchToReadError(message, param="page")
    if limit <= 0 or (exactness is Exactness.EXACT and offset >= total):
        return LogPage((), total, exactness)
    query = EventQuery(organization, reading.windows, filters.condition)
    page = query.rows(LogRow, offset=offset, limit=limit, oldest_first=oldest_first)
    if reading.is_truncated and len(page) < limit:
        message = "end_date: the matching rows are too sparse for this window. Choose a shorter one."
        raise TooMuchToReadError(message, param="end_date")
    return LogPage(page, total, exactness)


# --- What to read ------------------------------------------------------------------------------------------------


def _days_of(organization: Organization, filters: LogFilter) -> EventDays | None:
    """Return the days with matching calls, or None if no rollup knows any of the filters."""
    rollup, only = _best_rollup(filters)
    if not only:
        return None
    return read_event_days(organization, filters.window, rollup, equal_to(only), with_all_calls=True)


def _to_read(days: EventDays | None, filters: LogFilter, *, enough: int, oldest_first: bool = False) -> Reading:
    return days.to_read(enough=enough, oldest_first=oldest_first) if days is not None else Reading([filters.window])


def _is_known_to_rollups(filters: LogFilter) -> bool:
    """Whether one rollup knows all of the filters."""
    _, only = _best_rollup(filters)
    unknown = (getattr(filters, name) for name in _UNKNOWN_TO_ROLLUPS)
    return only == filters.values_of(_COLUMNS.values()) and all(value is None for value in unknown)


def _windows_to_scan(organization: Organization, filters: LogFilter) -> list[Window]:
    """Return all parts of the window with calls that a rollup cannot rule out. Raises TooMuchToReadError."""
    rollup, only = _best_rollup(filters)
    reading = read_event_days(
        organization, filters.window, rollup if only else MODEL_DAYS, equal_to(only), with_all_calls=True
    ).everything()
    if reading.calls > MAX_SCANNED:
        raise TooMuchToReadError(
            f"end_date: this order or these filters read every call of the window. Choose a window with at most"
            f" {MAX_SCANNED} calls.",
            param="end_date",
        )
    return reading.windows


def _count_calls(organization: Organization, filters: LogFilter) -> int:
    """Count model calls in the window from rollups, for filters that a rollup knows. Voided calls, tools and compute
    are excluded, so there are at least this many rows."""
    rollup, only = _best_rollup(filters)
    if only.keys() <= {"status"}:
        # Windows that end now are the most frequent; hourly rollups leave less of the ledger to count.
        rollup = MODEL_DAYS if not only and extend_to_days(filters.window) == filters.window else ORGANIZATION_HOURS
    (sums,) = read_sums(organization, RollupQuery.of(rollup, (), filters.window, only, undropped_only=True))
    return sums[0].requests if sums else 0


def _best_rollup(filters: LogFilter) -> tuple[Rollup, dict[str, object]]:
    """Return the rollup that knows most of the filters, and their values by its dimensions."""
    if filters.end_user is not None:
        rollup = CUSTOMER_DAYS
    elif filters.user is not None:
        rollup = SPEND_DAYS
    else:
        rollup = USAGE_DAYS
    return rollup, filters.values_of({dimension.column for dimension in rollup.dimensions})


# --- One request -------------------------------------------------------------------------------------------------


def _rows_of_request(organization: Organization, filters: LogFilter) -> list[LogRow]:
    """Return the rows whose event id, ledger id or request id matches, and that match the other filters. Event ids
    are looked up in the whole ledger, other request ids among the newest events of the window."""
    text = filters.request_id or ""
    if "\0" in text:
        return []
    query = EventQuery(organization, (filters.window,), filters.condition)
    rows = query.by_ids(LogRow, _ids_by_key(organization, text))
    if not rows:
        named = EventQuery(organization, (filters.window,)).newest_with_id(text, searched=MAX_SEARCHED)
        rows = query.by_ids(LogRow, named)
    lowest, highest = filters.min_cost, filters.max_cost
    matching = [
        row
        for row in rows.values()
        if (lowest is None or row.cost_usd >= lowest) and (highest is None or row.cost_usd <= highest)
    ]
    return sorted(matching, key=lambda row: (row.occurred_at, row.id), reverse=True)


def _ids_by_key(organization: Organization, text: str) -> list[UUID]:
    # Intake shortened event ids that are too long.
    event_id = litellm.short_text(text) or text
    keys = [event_key(source, event_id) for source in SOURCES]
    ids = list(EventKey.objects.of(organization).filter(key__in=keys).values_list("event_id", flat=True))
    with suppress(ValueError):
        ids.append(UUID(text))
    return ids
