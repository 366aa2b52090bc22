"""The files of runs, sessions and executions with their costs: the rows of their pages, to the end."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Self, TypeVar

import msgspec
from django.conf import settings
from django.db.models import QuerySet

from billing.exports.table_files import FileTable, Part, Row, columns_of
from billing.models import Execution, Run, Session
from billing.reports.cursors import Page, StartPosition, cursor_of, start_position_of
from billing.reports.rollup_query import Sums
from billing.reports.run_tree import RunRow, get_run_row, list_runs
from billing.reports.sessions.executions import ExecutionCosts, list_executions
from billing.reports.sessions.lists import SessionCosts, list_sessions
from billing.reports.sessions.newest import EntityFilter
from billing.reports.sessions.session_rows import Totals
from costtrack.calendar import Window
from costtrack.file_columns import FileColumn, Kind
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout
from organizations.models import Organization, User
from organizations.permissions import USAGE, Resource

Entity = TypeVar("Entity", SessionCosts, ExecutionCosts)

_PAGE = 500

_RUN_COLUMNS = (
    *columns_of(Kind.TEXT, "run_id", "parent_run_id", "workflow_id"),
    *columns_of(Kind.TIME, "first_seen_at"),
    *columns_of(Kind.COUNT, "child_runs"),
    *columns_of(Kind.BOOLEAN, "is_truncated"),
    *columns_of(Kind.COUNT, "requests", "prompt_tokens", "completion_tokens", "unpriced_events"),
    *columns_of(Kind.AMOUNT, "cost_usd"),
    *columns_of(Kind.COUNT, "total_requests", "total_prompt_tokens", "total_completion_tokens"),
    *columns_of(Kind.COUNT, "total_unpriced_events"),
    *columns_of(Kind.AMOUNT, "total_cost_usd"),
)
_FIGURES = (
    *columns_of(Kind.TIME, "started_at", "last_seen_at", "completed_at"),
    *columns_of(Kind.BOOLEAN, "is_finished"),
    *columns_of(Kind.COUNT, "requests", "tool_calls", "input_tokens", "output_tokens", "cache_read_tokens"),
    *columns_of(Kind.COUNT, "cache_creation_tokens", "total_tokens", "duration_ms", "unpriced_events"),
    *columns_of(Kind.AMOUNT, "token_cost_usd", "compute_cost_usd", "cost_usd"),
)
_SESSION_COLUMNS = (
    *columns_of(Kind.TEXT, "session_id", "execution_id", "workflow_id", "phase_id", "workspace_id", "agent_id"),
    *_FIGURES,
)
_EXECUTION_COLUMNS = (
    *columns_of(Kind.TEXT, "execution_id", "workflow_id"),
    *columns_of(Kind.COUNT, "sessions"),
    *_FIGURES,
)


class RunsFile(msgspec.Struct, frozen=True, tag="runs", kw_only=True):
    """Runs without a parent, or the runs of a workflow, newest first, or one run; each with its own cost and with that
    of all runs below. `since` is the start of the visible history."""

    resource: ClassVar[Resource] = USAGE
    title: ClassVar[str] = "Runs"
    run_id: str = ""
    workflow_id: str = ""
    since: datetime | None = None

    def table(self, organization: Organization, user: User) -> FileTable:
        def read(position: str) -> Part:
            with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
                if self.run_id:
                    run = get_run_row(organization=organization, run_id=self.run_id, since=self.since)
                    return Part([_run_row(run)] if run is not None else [], None)
                page = list_runs(
                    organization=organization,
                    workflow_id=self.workflow_id,
                    since=self.since,
                    after=int(position) if position else None,
                    limit=_PAGE,
                )
            rows = [row for row in page.rows if self.since is None or row.first_seen_at >= self.since]
            return Part(list(map(_run_row, rows)), str(page.last) if page.last is not None and rows else None)

        of_page = {"workflow_id": self.workflow_id} if self.workflow_id else {"parent_run_id": ""}
        runs = Run.objects.of(organization).filter(**({"run_id": self.run_id} if self.run_id else of_page))
        return FileTable(_RUN_COLUMNS, read, _counted(organization, runs), organization.calendar.zone)

    def file_name(self, organization: Organization) -> str:
        return f"runs-{organization.slug}"


class _EntitiesFile(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions or executions, the latest first; the fields are those of `EntityFilter`."""

    resource: ClassVar[Resource] = USAGE
    window: Window
    workflow_id: str = ""
    user_id: str = ""
    team: str = ""
    end_user: str = ""
    is_finished: bool | None = None

    @classmethod
    def of(cls, filters: EntityFilter) -> Self:
        return cls(**{name: getattr(filters, name) for name in cls.__struct_fields__})

    @property
    def filters(self) -> EntityFilter:
        return EntityFilter(**{name: getattr(self, name) for name in self.__struct_fields__})

    @property
    def started(self) -> dict[str, datetime]:
        """The conditions on rows, without the filters that no index has. So a count may be too large."""
        start, end = self.window
        return {
            **({"first_at__gte": start} if start is not None else {}),
            **({"first_at__lt": end} if end is not None else {}),
        }


class SessionsFile(_EntitiesFile, frozen=True, tag="sessions", kw_only=True):
    title: ClassVar[str] = "Sessions"

    def table(self, organization: Organization, user: User) -> FileTable:
        def page(after: StartPosition | None) -> Page[SessionCosts, StartPosition]:
            return list_sessions(organization=organization, filters=self.filters, after=after, limit=_PAGE)

        sessions = Session.live().objects.of(organization).filter(**self.started)
        return _entities(organization, _SESSION_COLUMNS, page, _session_row, sessions)

    def file_name(self, organization: Organization) -> str:
        return f"sessions-{organization.slug}"


class ExecutionsFile(_EntitiesFile, frozen=True, tag="executions", kw_only=True):
    title: ClassVar[str] = "Executions"

    def table(self, organization: Organization, user: User) -> FileTable:
        def page(after: StartPosition | None) -> Page[ExecutionCosts, StartPosition]:
            return list_executions(organization=organization, filters=self.filters, after=after, limit=_PAGE)

        executions = Execution.live().objects.of(organization).filter(**self.started)
        return _entities(organization, _EXECUTION_COLUMNS, page, _execution_row, executions)

    def file_name(self, organization: Organization) -> str:
        return f"executions-{organization.slug}"


def _entities(
    organization: Organization,
    columns: Sequence[FileColumn],
    page_after: Callable[[StartPosition | None], Page[Entity, StartPosition]],
    to_row: Callable[[Entity], Row],
    rows: QuerySet[Any],
) -> FileTable:
    def read(position: str) -> Part:
        with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
            page = page_after(start_position_of(position))
        return Part(list(map(to_row, page.rows)), cursor_of(page.last))

    return FileTable(columns, read, _counted(organization, rows), organization.calendar.zone)


def _counted(organization: Organization, rows: QuerySet[Any]) -> Callable[[int], int]:
    def count(limit: int) -> int:
        with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
            return rows.order_by()[:limit].count()

    return count


def _run_row(run: RunRow) -> Row:
    return (
        *(run.run_id, run.parent_run_id, run.workflow_id, run.first_seen_at, run.runs_below, run.is_truncated),
        *_sums(run.own),
        *_sums(run.total),
    )


def _sums(sums: Sums) -> Row:
    return (sums.requests, sums.prompt_tokens, sums.completion_tokens, sums.unpriced, sums.cost)


def _session_row(session: SessionCosts) -> Row:
    return (
        *(session.session_id, session.execution_id, session.workflow_id, session.phase_id, session.workspace_id),
        session.agent_id,
        *(session.started_at, session.last_seen_at, session.completed_at, session.is_finalized),
        *_totals(session.totals),
    )


def _execution_row(execution: ExecutionCosts) -> Row:
    return (
        *(execution.execution_id, execution.workflow_id, len(execution.session_ids)),
        *(execution.started_at, execution.last_seen_at, execution.completed_at, execution.is_complete),
        *_totals(execution.totals),
    )


def _totals(totals: Totals) -> Row:
    return (
        *(totals.turns, totals.tool_calls, totals.input_tokens, totals.output_tokens, totals.cache_read_tokens),
        *(totals.cache_creation_tokens, totals.tokens, int(totals.duration_ms), totals.unpriced_events),
        *(totals.token_cost_usd, totals.compute_cost_usd, totals.cost_usd),
    )
