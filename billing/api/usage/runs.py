"""`GET /usage/runs`: workflow runs one by one, with their costs."""

from datetime import datetime
from typing import Annotated, Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import ReportEndpoint, operation
from billing.api.windows import WindowEndField, WindowStartField, window_of
from billing.reports.cursors import MAX_START_CURSOR_LENGTH, cursor_of, start_position_of
from billing.reports.rollup_query import Sums
from billing.reports.run_tree import RunListFilter, RunRow, list_runs_by_time
from costtrack.clock import utc_now
from costtrack.responses import Amount, NextCursor, ResponseBody, about
from costtrack.serializers import StrictSerializer, optional_text, page_size
from organizations.api.base import OrganizationScopedAPIView


class RunsQuery(StrictSerializer):
    """Parameters; an empty value is ignored."""

    workflow_id = optional_text("Only runs of this workflow.")
    parent_run_id = optional_text("Only the direct children of this run.")
    is_root = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="True: only runs without a parent; false: with one."
    )
    start_date = WindowStartField(required=False, help_text="Only runs first seen from this day or time on.")
    end_date = WindowEndField(
        required=False, help_text="Only runs first seen until this day (inclusive) or before this time."
    )
    limit = page_size()
    cursor = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_START_CURSOR_LENGTH,
        help_text="`next_cursor` of the previous page. Filters must be the same.",
    )


class RunFiguresBody(ResponseBody):
    requests: Annotated[int, about("Model calls.")]
    prompt_tokens: Annotated[int, about("Including cached ones.")]
    completion_tokens: int
    cost_usd: Annotated[Amount, about("Known costs, including adjustments.", "0.45")]
    unpriced_events: Annotated[int, about("Events without a known cost.")]


class RunBody(ResponseBody):
    run_id: str
    parent_run_id: Annotated[str | None, about("Null for a run without a parent.")]
    workflow_id: str | None
    first_seen_at: Annotated[datetime, about("When the first event of the run, or of a child, was received.")]
    first_event_at: Annotated[
        datetime | None, about("When the first event of the run and its descendants occurred. Null without events.")
    ]
    last_event_at: Annotated[datetime | None, about("When the last one occurred.")]
    own: Annotated[RunFiguresBody, about("Of the run alone.")]
    total: Annotated[RunFiguresBody, about("Of the run with all its descendants, each counted once.")]
    descendants: Annotated[int, about("The number of runs below this one.", 3)]
    is_truncated: Annotated[bool, about("True if there are more descendants than are added up.")]


class RunPageBody(ResponseBody):
    results: Annotated[list[RunBody], about("The latest first.")]
    next_cursor: NextCursor


class UsageRunsView(ReportEndpoint, OrganizationScopedAPIView):
    """`GET /usage/runs`"""

    @operation("usage_runs", RunsQuery, RunPageBody)
    def get(self, request: Request) -> Response:
        """List workflow runs with their costs, the latest first.

        With `include_children=true`, `GET /costs/runs/{run_id}` has the cost of a run with any number of descendants.
        """
        given = {name: value for name, value in request.query_params.items() if name != "organization"}
        parameters = RunsQuery(data=given, context={"calendar": self.organization.calendar})
        parameters.is_valid(raise_exception=True)
        values: dict[str, Any] = parameters.validated_data
        window, now = window_of(values.get("start_date"), values.get("end_date")), utc_now()
        page = list_runs_by_time(
            organization=self.organization,
            filters=RunListFilter(
                window=self.plan_rights.visible(window, now=now),
                workflow_id=values.get("workflow_id", ""),
                parent_run_id=values.get("parent_run_id", ""),
                is_root=values["is_root"],
            ),
            since=self.plan_rights.history_start(now),
            after=start_position_of(values.get("cursor", "")),
            limit=values["limit"],
        )
        return Response(RunPageBody(results=[_run(row) for row in page.rows], next_cursor=cursor_of(page.last)))


def _run(row: RunRow) -> RunBody:
    return RunBody(
        run_id=row.run_id,
        parent_run_id=row.parent_run_id or None,
        workflow_id=row.workflow_id or None,
        first_seen_at=row.first_seen_at,
        first_event_at=row.first_at,
        last_event_at=row.last_at,
        own=_figures(row.own),
        total=_figures(row.total),
        descendants=row.runs_below,
        is_truncated=row.is_truncated,
    )


def _figures(sums: Sums) -> RunFiguresBody:
    return RunFiguresBody(
        requests=sums.requests,
        prompt_tokens=sums.prompt_tokens,
        completion_tokens=sums.completion_tokens,
        cost_usd=Amount.of(sums.cost),
        unpriced_events=sums.unpriced,
    )
