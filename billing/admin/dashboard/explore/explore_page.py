"""The explorer: usage by up to two dimensions and by period, with every row.

Its numbers are those of `GET /usage/breakdown` for the same parameters, in the organization's days.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase, HttpResponseRedirect

from billing.admin.components import formatting
from billing.admin.components.cards import EmptyState, Figure
from billing.admin.components.charts import Chart, Line
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.date_range import Period, period_of
from billing.admin.components.datetimes import period_label
from billing.admin.components.files import FileView, access_of, file_links
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.tables import Sorting
from billing.admin.components.urls import admin_url, url_with
from billing.admin.components.usage_form import UsageQueryPage
from billing.admin.dashboard.explore.explore_form import MEASURES, ExploreForm, period_order
from billing.admin.dashboard.explore.explore_table import ExploreTable, others
from billing.admin.dashboard.explore.saved_views import saved_views_of, url_of
from billing.exports.table_files import FileQuery
from billing.exports.usage_files import BreakdownFile
from billing.models import SavedView
from billing.reports.usage.explorer import ExplorerPage, ExplorerQuery, ExplorerRow, SortBy, explore
from billing.reports.usage.figures import DIMENSION_OF, DIMENSIONS, ZERO_FIGURES, Figures, GroupBy, UsageFilter
from billing.reports.usage.query import UsageQuery, split_into_periods
from billing.saved_views import default_view, visible_views
from costtrack.admin_site import register_page
from costtrack.calendar import Unit
from costtrack.errors import InvalidError
from costtrack.money import ZERO, usd

ROWS_PER_PAGE = 50
_MAX_COLUMNS = 100
_MAX_LINES = 8
_ROWS = "#rows"


class ExplorePage(UsageQueryPage):
    title: ClassVar[str] = "Explore"
    template_name: ClassVar[str] = "admin/dashboard/explore.html"
    stylesheets = ("costtrack/breakdowns.css", "costtrack/explore.css")
    refresh_seconds: ClassVar[int] = 0
    views: Sequence[SavedView]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.views = list(visible_views(access_of(self)))
        view = default_view(self.views)
        if not request.GET and view is not None:
            return HttpResponseRedirect(url_of(view))
        return super().get(request, *args, **kwargs)

    def page_context(self) -> dict[str, Any]:
        form = ExploreForm(self.request.GET)
        period = period_of(form, self.organization.calendar, self.now)
        query = self.usage_query(form.filters, period.span)
        trail = CursorTrail.of(self.request.GET)
        explored = explorer_query(form, query, after=trail.cursor, limit=ROWS_PER_PAGE)
        page = explore(explored)
        order = period_order(explored.sort_period) if explored.sort is SortBy.PERIOD else explored.sort.value
        sorting = Sorting(self.request, order, SortBy.COST.value, is_ascending=explored.is_ascending, anchor=_ROWS)
        table = ExploreTable(query, explored, page, self.request, form.measure_shown, form.unit)
        return {
            "form": form,
            "period": period,
            "visible": query.visible,
            "filters": self._filters(query),
            "figures": _figures(page, period),
            "unpriced": page.total.figures.unpriced_events,
            "chart": _chart(page, explored, query, form.unit, form.measure_shown),
            "table": table.table(sorting, empty=self._no_rows(form)),
            "rows_total": formatting.count(page.count),
            "search": form.search_text,
            "other_parameters": [
                (name, value)
                for name, values in self.request.GET.lists()
                for value in values
                if name not in ("search", "after")
            ],
            "trail": trail,
            "older": trail.older(page.next_cursor) + _ROWS if page.next_cursor is not None else "",
            "empty": self._empty_state(query, page),
            "saved": saved_views_of(self.views, self.request, may_share=self.role.may_change),
            "files": file_links(self, "explore_file"),
        }

    def _filters(self, query: UsageQuery) -> list[tuple[str, str, str]]:
        """Return the label, the value, and the URL without it, of each filter."""
        return [
            (dimension.label, value, url_with(self.request, **{dimension.parameter: ""}))
            for dimension in DIMENSIONS
            if (value := getattr(query.filters, dimension.parameter))
        ]

    def _no_rows(self, form: ExploreForm) -> object:
        if form.search_text:
            return formatting.link(url_with(self.request, search=""), "No row matches. Show all rows")
        return "No usage."

    def _empty_state(self, query: UsageQuery, page: ExplorerPage) -> EmptyState | None:
        if page.total.figures != Figures():
            return None
        if query.filters != UsageFilter():
            return EmptyState(
                "filter_alt_off",
                "No usage with these filters in this period",
                links=[("Clear filters", self.request.path)],
            )
        links = [
            ("Show the last 90 days", url_with(self.request, range="90d", start_date="", end_date="")),
            ("Send events", admin_url("getting_started")),
        ]
        return EmptyState("query_stats", "No usage in this period", "Choose a longer period, or send events.", links)


def explorer_query(
    form: ExploreForm, query: UsageQuery, *, after: str = "", limit: int = ROWS_PER_PAGE
) -> ExplorerQuery:
    """Build the query of a form. Raises InvalidError if it has too many periods."""
    periods = split_into_periods(query.calendar, query.window, form.unit, param="columns") if form.unit else []
    if len(periods) > _MAX_COLUMNS:
        raise InvalidError(
            f"More than {_MAX_COLUMNS} columns. Choose a shorter period or longer columns.", param="columns"
        )
    sort, sort_period, is_ascending = form.sorting(len(periods))
    return ExplorerQuery(
        organization=query.organization,
        filters=query.filters,
        window=query.window,
        by=form.by,
        periods=periods,
        before=query.before if form.compares else None,
        search=form.search_text,
        sort=sort,
        sort_period=sort_period,
        is_ascending=is_ascending,
        with_users=form.counts_users or sort in (SortBy.USERS, SortBy.COST_PER_USER),
        after=after,
        limit=limit,
    )


def _figures(page: ExplorerPage, period: Period) -> list[Figure]:
    total, before = page.total.figures, page.total.before
    notes = (
        [period.name]
        if total.unpriced_events and not total.cost_usd
        else [f"{period.name}, exactly {formatting.exact(total.cost_usd)}"]
    )
    if before is not None:
        notes.append(f"{usd(before.cost_usd)} in the time before")
    per_request = usd(total.cost_usd / total.requests) if total.requests > 0 else formatting.NOTHING
    figures = [
        Figure("Cost", formatting.cost(total.cost_usd, total.unpriced_events), notes),
        Figure("Requests", formatting.count(total.requests), (f"{formatting.count(total.errors)} failed",)),
        Figure("Cost per request", per_request, ("On average",)),
    ]
    if page.total.users is not None:
        users = page.total.users
        per_user = usd(total.cost_usd / users) if users else formatting.NOTHING
        figures.append(Figure("Cost per user", per_user, (f"{formatting.count(users)} users",)))
    return figures


def _chart(
    page: ExplorerPage, explored: ExplorerQuery, query: UsageQuery, unit: Unit | None, measure: SortBy
) -> Chart | None:
    """Return a chart of the first rows by period, and of all others, if they add up."""
    if unit is None or not page.rows or len(explored.periods) < 2:  # noqa: PLR2004 - a single bar shows nothing
        return None
    adds_up = GroupBy.TAG not in explored.by and measure is not SortBy.COST_PER_REQUEST
    shown = page.rows[:_MAX_LINES]
    lines = [_line(_name(explored, row), row.periods, measure) for row in shown]
    remaining = others(page, shown)
    if adds_up and any(figures != ZERO_FIGURES for figures in remaining):
        lines.append(_line("Others", remaining, measure))
    return Chart(
        title=f"{dict(MEASURES)[measure.value]} by {unit}",
        labels=[period_label(query.calendar, unit, period) for period in explored.periods],
        lines=lines,
        unit="usd" if measure in (SortBy.COST, SortBy.COST_PER_REQUEST) else "count",
        kind="bar" if adds_up else "line",
        is_stacked=adds_up,
    )


def _line(name: str, periods: Sequence[Figures], measure: SortBy) -> Line:
    if measure is SortBy.COST:
        return Line.of_costs(name, [figures.cost_usd for figures in periods])
    if measure is SortBy.COST_PER_REQUEST:
        return Line.of_costs(
            name, [figures.cost_usd / figures.requests if figures.requests > 0 else ZERO for figures in periods]
        )
    return Line.of_counts(name, [getattr(figures, measure.value) for figures in periods])


def _name(explored: ExplorerQuery, row: ExplorerRow) -> str:
    names = zip(explored.by, row.names, row.keys, strict=True)
    return ", ".join(name or key or DIMENSION_OF[by].without for by, name, key in names)


class ExploreFile(FileView):
    def file_query(self) -> FileQuery:
        form = ExploreForm(self.request.GET)
        query = self.usage_query(form.filters, period_of(form, self.organization.calendar, self.now).span)
        return BreakdownFile.of(explorer_query(form, query))


class _Redirect(OrganizationPage):
    """The former page of tags. Its filters are those of the explorer."""

    title: ClassVar[str] = "Tags"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        given = {name: request.GET.get(name, "") for name in ("range", "start_date", "end_date", "search", "tag")}
        kind = request.GET.get("kind", "")
        given["search"] = given["search"] or (f"{kind}:" if kind else "")
        given["range"] = given["range"] or ("" if given["start_date"] or given["end_date"] else "30d")
        return HttpResponseRedirect(admin_url("explore", group_by=GroupBy.TAG.value, columns=Unit.DAY.value, **given))


register_page("explore/", ExplorePage.as_view(), name="explore")
register_page("explore/file/", ExploreFile.as_view(), name="explore_file")
register_page("tags/", _Redirect.as_view(), name="tags")
