"""The outcomes page: what a success costs, what failures, retries and abandoned runs cost, and the latest outcomes.

Its numbers are those of `GET /usage/outcomes/costs` for the same parameters.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, Card, EmptyState, Figure
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.date_range import PeriodForm, period_of
from billing.admin.components.form_fields import FilterChoiceField, text_filter
from billing.admin.components.table_files import TableFilesPage, all_pages
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url, run_url, session_url
from billing.admin.components.usage_form import UsageQueryPage
from billing.admin.dashboard.runs.run_rows import number_in
from billing.models import Outcome
from billing.reports.cursors import Page
from billing.reports.outcomes import (
    GROUPS,
    OutcomeCost,
    OutcomeCosts,
    OutcomeFilter,
    WorkCost,
    WorkState,
    list_outcomes,
    outcome_costs,
)
from billing.reports.usage.figures import DIMENSION_OF, GroupBy, UsageFilter
from billing.reports.usage.query import UsageQuery
from costtrack.admin_site import register_page
from costtrack.calendar import Window
from costtrack.errors import InvalidError
from costtrack.file_columns import ComputedColumn, Kind, computed
from costtrack.money import usd

_ROWS_SHOWN = 100
_ROWS_READ = 1_000
"""At a time, for a file."""
_OUTCOMES_SHOWN = 25
_FIRST_GROUPS = (GroupBy.WORKFLOW, GroupBy.AGENT, GroupBy.MODEL, GroupBy.TEAM)
_CHOICES = [
    (by.value, DIMENSION_OF[by].label) for by in (*_FIRST_GROUPS, *(by for by in GROUPS if by not in _FIRST_GROUPS))
]
_REPORT_EXAMPLE = (
    'curl -X POST "$COSTTRACK_URL/usage/outcomes" -H "Authorization: Bearer $COSTTRACK_KEY" \\\n'
    '  -H "Content-Type: application/json" \\\n'
    '  -d \'{"run_id": "run-1", "name": "ticket_resolved", "success": true, "value_usd": "4.50"}\''
)
_EXPLANATION = (
    "Succeeded and failed runs have an outcome. Abandoned ones have none, and no usage in the last 24 hours. Runs of "
    "workflows without any outcome in this period are not in these figures."
)


class OutcomesForm(PeriodForm):
    group_by = FilterChoiceField(required=False, choices=_CHOICES, label="By")
    outcome = text_filter("Outcome", type="search", placeholder="All names")

    @property
    def grouped_by(self) -> GroupBy:
        return GroupBy(self.cleaned_data["group_by"] or GroupBy.WORKFLOW)


class OutcomesPage(TableFilesPage, UsageQueryPage):
    title: ClassVar[str] = "Outcomes"
    template_name: ClassVar[str] = "admin/dashboard/outcomes.html"
    stylesheets = ("costtrack/breakdowns.css",)
    refresh_seconds: ClassVar[int] = 0  # it reads every event of the period

    def page_context(self) -> dict[str, Any]:
        form = OutcomesForm(self.request.GET)
        period = period_of(form, self.organization.calendar, self.now)
        if not form.is_valid():
            return {"form": form, "empty": INVALID_FILTERS}
        query = self.usage_query(UsageFilter(), period.span)
        name = form.cleaned_data["outcome"]
        latest = self._latest(query, name)
        context = {"form": form, "period": period, "visible": query.visible, **latest}
        if not latest["outcomes"].table.rows and not latest["trail"].cursor and not name:
            return {**context, "empty": self._first_use()}
        read = partial(
            outcome_costs,
            organization=self.organization,
            filters=query.filters,
            window=query.window,
            by=form.grouped_by,
            now=self.now,
            name=name,
        )
        try:
            costs = read(limit=_ROWS_SHOWN)
        except InvalidError as error:
            return {**context, "empty": EmptyState("hourglass_disabled", "Too many events", error.message)}
        return {**context, "figures": _figures(costs.total), "costs": self._costs_card(costs, form.grouped_by, read)}

    def _latest(self, query: UsageQuery, name: str) -> dict[str, Any]:
        trail = CursorTrail.of(self.request.GET)
        filters = OutcomeFilter(window=Window(*query.window), name=name)
        read = partial(list_outcomes, organization=self.organization, filters=filters)
        page = read(after=number_in(trail.cursor), limit=_OUTCOMES_SHOWN)
        columns = (
            Column[Outcome]("Run or session", _subject),
            Column[Outcome]("Outcome", lambda row: formatting.name(row.name)),
            Column[Outcome]("Result", _result),
            Column[Outcome](
                "Value", lambda row: usd(row.value_usd) if row.value_usd is not None else formatting.NOTHING
            ),
            Column[Outcome]("Attempt", lambda row: formatting.count(row.attempt), is_number=True),
            Column[Outcome]("Time", lambda row: self.times.two_lines(row.occurred_at), is_number=True),
        )
        file = self.table_file(
            "outcomes", _OUTCOME_COLUMNS, lambda: all_pages(lambda after: _rows(read(after=after, limit=_ROWS_READ)))
        )
        table = Table("Latest outcomes", columns, page.rows, empty="No outcomes in this period.", file=file)
        older = trail.older(str(page.last)) if page.last is not None else ""
        return {"outcomes": Card("Latest outcomes", table=table), "trail": trail, "older": older}

    def _first_use(self) -> EmptyState:
        return EmptyState(
            "flag",
            "No outcomes in this period",
            "Report what each run or session has achieved. This page then shows what a success costs, and what "
            "failures, retries and abandoned runs cost.",
            [("Send events", admin_url("getting_started"))],
            is_first_use=True,
            example=_REPORT_EXAMPLE,
        )

    def _costs_card(self, costs: OutcomeCosts, by: GroupBy, read: Callable[..., OutcomeCosts]) -> Card:
        dimension = DIMENSION_OF[by]
        columns = (
            Column[OutcomeCost](
                dimension.label,
                lambda row: formatting.name(row.key) if row.key else formatting.strong(dimension.without),
            ),
            Column[OutcomeCost]("Cost per success", lambda row: _ratio(row.cost_per_success_usd), is_number=True),
            Column[OutcomeCost]("Successes", lambda row: _count(row, WorkState.SUCCEEDED), is_number=True),
            Column[OutcomeCost]("Success rate", _rate, is_number=True),
            Column[OutcomeCost]("Failures", lambda row: _work(row, WorkState.FAILED), is_number=True),
            Column[OutcomeCost]("Abandoned", lambda row: _work(row, WorkState.ABANDONED), is_number=True),
            Column[OutcomeCost]("Retries", lambda row: _shown(row.retries), is_number=True),
            Column[OutcomeCost]("In progress", lambda row: _work(row, WorkState.OPEN), is_number=True),
            Column[OutcomeCost]("All usage", lambda row: usd(row.cost_usd), is_number=True),
        )
        note = "The file has all rows." if costs.next_cursor is not None else ""

        def read_rows(after: str | None) -> tuple[Sequence[OutcomeCost], str | None]:
            page = read(after=after or "", limit=_ROWS_READ)
            return page.rows, page.next_cursor

        file = self.table_file(f"outcomes-by-{by.value}", _cost_columns(by), lambda: all_pages(read_rows))
        empty = "No usage in this period."
        table = Table("Cost of outcomes", columns, costs.rows, empty=empty, note=note, file=file)
        return Card(f"Cost by {dimension.label.lower()}", text=_EXPLANATION, table=table)


_OUTCOME_COLUMNS = (
    *computed(
        Kind.TEXT, run_id=lambda row: row.run_id, session_id=lambda row: row.session_id, name=lambda row: row.name
    ),
    *computed(Kind.BOOLEAN, success=lambda row: row.is_success),
    *computed(Kind.AMOUNT, value_usd=lambda row: row.value_usd),
    *computed(Kind.COUNT, attempt=lambda row: row.attempt),
    *computed(Kind.TIME, occurred_at=lambda row: row.occurred_at, received_at=lambda row: row.received_at),
)


def _rows(page: Page[Outcome, int]) -> tuple[Sequence[Outcome], int | None]:
    return page.rows, page.last


def _count_of(row: OutcomeCost, *, state: WorkState) -> int:
    return row.of(state).count


def _cost_of(row: OutcomeCost, *, state: WorkState) -> Decimal:
    return row.of(state).cost_usd


def _cost_columns(by: GroupBy) -> list[ComputedColumn]:
    columns = [
        ComputedColumn(DIMENSION_OF[by].parameter, Kind.TEXT, lambda row: row.key),
        *computed(Kind.DECIMAL, success_rate=lambda row: row.success_rate),
        *computed(Kind.AMOUNT, cost_per_success_usd=lambda row: row.cost_per_success_usd),
    ]
    for state in WorkState:
        columns += [
            ComputedColumn(state.value, Kind.COUNT, partial(_count_of, state=state)),
            ComputedColumn(f"{state.value}_usd", Kind.AMOUNT, partial(_cost_of, state=state)),
        ]
    return [
        *columns,
        *computed(Kind.COUNT, retries=lambda row: row.retries.count),
        *computed(Kind.AMOUNT, retries_usd=lambda row: row.retries.cost_usd, value_usd=lambda row: row.value_usd),
        *computed(Kind.AMOUNT, failed_calls_usd=lambda row: row.failed_calls_usd, cost_usd=lambda row: row.cost_usd),
        *computed(Kind.COUNT, unpriced_events=lambda row: row.unpriced_events),
    ]


def _figures(total: OutcomeCost) -> list[Figure]:
    succeeded, failed, abandoned = (total.of(state) for state in _DECIDED)
    own = succeeded.cost_usd / succeeded.count if succeeded.count else None
    notes = [
        _successes(total),
        f"{usd(own)} without failed and abandoned work" if own is not None else "",
        f"Worth {usd(total.value_usd)}" if total.value_usd else "",
    ]
    return [
        Figure("Cost per success", _ratio(total.cost_per_success_usd), notes),
        Figure("Failures", usd(failed.cost_usd), (_runs(failed.count), f"Failed calls: {usd(total.failed_calls_usd)}")),
        Figure("Abandoned", usd(abandoned.cost_usd), (_runs(abandoned.count),)),
        Figure("Retries", usd(total.retries.cost_usd), (_runs(total.retries.count),)),
    ]


def _successes(total: OutcomeCost) -> str:
    """Return the number of successes, and their share."""
    count, rate = total.of(WorkState.SUCCEEDED).count, total.success_rate
    if rate is None:
        return "No finished runs"
    name = "success" if count == 1 else "successes"
    return f"{formatting.count(count)} {name}, {rate:.0%} of {formatting.count(total.decided.count)} finished runs"


_DECIDED = (WorkState.SUCCEEDED, WorkState.FAILED, WorkState.ABANDONED)


def _count(row: OutcomeCost, state: WorkState) -> str:
    return formatting.count_or_nothing(row.of(state).count)


def _work(row: OutcomeCost, state: WorkState) -> SafeString | str:
    return _shown(row.of(state))


def _shown(work: WorkCost) -> SafeString | str:
    return formatting.two_lines(usd(work.cost_usd), _runs(work.count)) if work.count else formatting.NOTHING


def _rate(row: OutcomeCost) -> str:
    return f"{row.success_rate:.0%}" if row.success_rate is not None else formatting.NOTHING


def _ratio(amount: Decimal | None) -> str:
    return usd(amount) if amount is not None else formatting.NOTHING


def _runs(count: int) -> str:
    return f"{formatting.count(count)} {'run' if count == 1 else 'runs'}"


def _subject(row: Outcome) -> SafeString | str:
    url = run_url(row.run_id) if row.run_id else session_url(row.session_id)
    return formatting.id_link(url, row.run_id or row.session_id)


def _result(row: Outcome) -> SafeString:
    return formatting.badge("Success", "success") if row.is_success else formatting.badge("Failure", "danger")


register_page("outcomes/", OutcomesPage.as_view(), name="outcomes")
