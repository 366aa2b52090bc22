"""The request log: model calls one by one (document 001: endpoint, time, credential, response status), newest or most
expensive first, with their net cost. Read-only.

If a rollup knows a dimension of the filter, it says which days have matching calls (`billing.reports.event_days`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from billing.reports.archived_events import archived_events
from billing.reports.cursors import Page, Position, page_of
from billing.reports.event_days import Reading, read_event_days
from billing.reports.event_query import EventQuery, Sort
from billing.reports.rollup_reader import RollupReader, read_rollups
from billing.reports.sql import Condition, Parameters, bind, equal_to
from billing.reports.usage.figures import ONLY_IN_LEDGER, UsageFilter
from billing.reports.usage.totals import levels_of, totals
from billing.rollups.definitions import RUN_DAYS, SESSION_TOTALS, SPEND_DAYS, TAG_DAYS, Rollup
from billing.types import EventKind
from costtrack.calendar import Span, Window, utc_day
from costtrack.clock import MICROSECOND
from costtrack.ids import ids_at
from organizations.models import Organization

MAX_SORTED = 100_000
"""Maximum number of calls in a window, before filters, that are sorted by cost."""
_MAX_DAYS = 14
"""Maximum number of days that are searched for a page if no rollup covers all filters."""


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Filters of calls; an empty text means any. `users` are several users, None for any. `received_by` excludes
    later arrivals, so that all pages of a long list are consistent."""

    usage: UsageFilter
    window: Span
    endpoint: str = ""
    received_by: datetime | None = None
    users: tuple[str, ...] | None = None
    has_all_kinds: bool = False
    """Also tool calls, compute charges and session summaries."""
    with_archive: bool = False
    """Also calls that are archived. Reading them may raise StorageError."""

    @property
    def is_unfiltered(self) -> bool:
        """Whether there is no filter besides the endpoint, which no rollup knows."""
        given = replace(self, with_archive=False)
        return given == CallFilter(self.usage, self.window, self.endpoint, self.received_by) and not self.usage.columns

    def usage_condition(self, parameters: Parameters) -> sql.Composable:
        """Build the condition over the dimensions of usage and the users."""
        users = {} if self.users is None else {"user_ref": self.users}
        return sql.SQL("{} AND {}").format(self.usage.condition(parameters), equal_to(users)(parameters))

    def known_condition(self, parameters: Parameters) -> sql.Composable:
        """Build the condition over the dimensions that rollups have."""
        return replace(self, usage=self.usage.without_ledger_only).usage_condition(parameters)

    def condition(self, parameters: Parameters) -> sql.Composable:
        """Build the condition over columns of the ledger, without the window."""
        columns = {"endpoint": self.endpoint}
        columns |= {"kind": "" if self.has_all_kinds else EventKind.MODEL_CALL.value}
        conditions = [self.usage_condition(parameters), _named(columns)(parameters)]
        if self.received_by is not None:
            conditions.append(sql.SQL("id <= {}").format(bind(parameters, ids_at(self.received_by)[1])))
        return sql.SQL(" AND ").join(conditions)


class Call(NamedTuple):
    """A model call, or another event. `cost_usd` is None while it is unknown; `known_cost_usd` is its known part. A
    voided call has its counts and cost taken back."""

    id: UUID
    event_id: str
    request_id: str
    occurred_at: datetime
    endpoint: str
    capability: str
    service: str
    model: str
    status: str
    status_code: int | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    client_id: str
    cost_usd: Decimal | None
    is_voided: bool
    run_id: str
    credential_name: str
    known_cost_usd: Decimal
    kind: str
    model_as_sent: str
    provider: str
    user_ref: str
    team: str
    end_user: str
    agent_id: str
    environment: str
    workflow: str
    session_id: str
    execution_id: str
    cost_group: str
    tool: str
    tags: list[str] | None
    is_archived: bool

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def list_calls(
    *, organization: Organization, filters: CallFilter, after: Position | None, limit: int
) -> Page[Call, Position]:
    """Return calls after a position, newest first. If a page has fewer calls than requested and a `last`, earlier days
    were not searched."""
    page = _list_stored_calls(organization, filters, after, limit)
    archive = archived_events(organization, filters.window, filters.condition) if filters.with_archive else None
    if archive is None:
        return page
    archived = archive.rows(Call, after=after, limit=limit + 1)
    if page.last is not None:
        # Between the position and earlier archived calls there may be others in the ledger.
        archived = [call for call in archived if (call.occurred_at, call.id) >= page.last[:2]]
    calls = sorted([*page.rows, *archived], key=_time_position, reverse=True)
    return Page(calls, page.last) if len(calls) <= limit else page_of(calls, limit, _time_position)


def _list_stored_calls(
    organization: Organization, filters: CallFilter, after: Position | None, limit: int
) -> Page[Call, Position]:
    window = Window(*filters.window)
    if after is not None:
        window = Window(window.start, min(filters.window.end, after.at + MICROSECOND))
    reading = _reading(organization, filters, window, after, limit + 1)
    if not reading.windows:
        return Page((), None)
    query = EventQuery(organization, reading.windows, filters.condition)
    page = query.page(Call, after=after, limit=limit)
    if page.last is None and reading.is_truncated:
        return Page(page.rows, Position(min(part.start for part in reading.windows if part.start), UUID(int=0)))
    return page


def _time_position(call: Call) -> Position:
    return Position(call.occurred_at, call.id)


def _cost_position(call: Call) -> Position:
    return Position(call.occurred_at, call.id, call.known_cost_usd)


def count_calls(*, organization: Organization, window: Span) -> int:
    """Count all calls of the organization from a rollup, to compare with `MAX_SORTED`."""
    (figures,) = totals(organization=organization, filters=UsageFilter(), windows=[window])
    return figures.requests


def most_expensive_calls(
    *, organization: Organization, filters: CallFilter, after: Position | None, limit: int
) -> Page[Call, Position]:
    """Return calls after a position, the most expensive first. Reads every event of the window."""
    query = EventQuery(organization, (Window(*filters.window),), filters.condition)
    calls, _ = query.sorted_rows(Call, sort=Sort.COST, after=after, limit=limit + 1)
    archive = archived_events(organization, filters.window, filters.condition) if filters.with_archive else None
    if archive is not None:
        calls += archive.rows(Call, after=after, limit=limit + 1, by_cost=True)
        calls.sort(key=lambda call: (call.known_cost_usd, call.occurred_at, call.id), reverse=True)
    return page_of(calls, limit, _cost_position)


def count_listed_calls(*, organization: Organization, filters: CallFilter, limit: int) -> int:
    """Count the calls of a list, up to `limit`."""
    number = EventQuery(organization, (Window(*filters.window),), filters.condition).count(limit)
    archive = archived_events(organization, filters.window, filters.condition) if filters.with_archive else None
    return number if archive is None else min(number + archive.count(limit), limit)


def _reading(
    organization: Organization, filters: CallFilter, window: Window, after: Position | None, enough: int
) -> Reading:
    """Return the newest days of the window that together have enough matching calls, as far as a rollup knows."""
    if window.start is None or window.end is None or window.start >= window.end:
        return Reading([])
    if filters.is_unfiltered or filters.has_all_kinds:  # rollups only know days with model calls
        return Reading([window])
    if filters.usage.session_id and not filters.usage.run_id:
        return Reading(_window_of_session(organization, filters.usage.session_id, Span(window.start, window.end)))
    rollup, condition, knows_all = _best_rollup(filters)
    days = read_event_days(organization, window, rollup, condition, with_all_calls=False)
    if not knows_all:
        return days.to_read(enough=None, max_days=_MAX_DAYS)
    return days.to_read(enough=enough, listed_day=utc_day(after.at) if after is not None else None)


_SESSION_TIMES = sql.SQL(
    "SELECT min(first_at), max(last_at) FROM {table} AS session"
    " WHERE organization_id = %(organization)s AND NOT archived AND {condition}"
)


def _window_of_session(organization: Organization, session_id: str, window: Span) -> list[Window]:
    """Return the part of the window that has events of a session."""

    def compose(reader: RollupReader) -> sql.Composable:
        condition = _named({"session_id": session_id})(reader.parameters)
        return _SESSION_TIMES.format(table=reader.table(SESSION_TOTALS, lambda: [session_id]), condition=condition)

    [(first_at, last_at)] = read_rollups(organization, compose)
    if first_at is None:
        return []
    part = Window(max(window.start, first_at), min(window.end, last_at + MICROSECOND))
    return [part] if part < (part.end,) else []


def _best_rollup(filters: CallFilter) -> tuple[Rollup, Condition, bool]:
    """Return the rollup that knows most of the filters, its condition, and whether that covers all filters."""
    usage, columns = filters.usage, {*filters.usage.columns, *([] if filters.users is None else ["user_ref"])}
    if usage.run_id:
        return RUN_DAYS, _named({"run_id": usage.run_id}), columns == {"run_id"}
    if usage.tag and not columns & {"user_ref", "team", "end_user"}:
        return TAG_DAYS, _named({"tag": usage.tag}), columns == {"tags"}
    known = columns - ONLY_IN_LEDGER
    rollup = SPEND_DAYS if known <= {"credential_id", "user_ref", "model"} else levels_of({*known, "model"})[0]
    return rollup, filters.known_condition, known == columns


def _named(columns: Mapping[str, str]) -> Condition:
    """Return the condition that columns have these values; empty ones are left out."""
    return equal_to({column: value for column, value in columns.items() if value})
