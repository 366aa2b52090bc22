"""The table of the explorer: a row for each combination of values, with figures or with a column for each period."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.datetimes import period_label
from billing.admin.components.percent_bar import percent_bar, share_of
from billing.admin.components.tables import Column, Sorting, Table
from billing.admin.components.urls import run_url, session_url, url_with
from billing.admin.dashboard.explore.explore_form import MEASURES, period_order
from billing.admin.dashboard.usage.call_urls import calls_url, filters_for
from billing.admin.dashboard.usage.usage_tables import cost_cell
from billing.reports.usage.explorer import ExplorerPage, ExplorerQuery, ExplorerRow, SortBy
from billing.reports.usage.figures import DIMENSION_OF, DIMENSIONS, ZERO_FIGURES, Figures, GroupBy
from billing.reports.usage.query import UsageQuery
from costtrack.calendar import Unit
from costtrack.money import ZERO, usd

_MAX_NAME = 48
_MANY_TIMES = 9
_NEXT_DIMENSIONS = (GroupBy.MODEL, GroupBy.USER, GroupBy.TEAM, GroupBy.WORKFLOW, GroupBy.TAG, GroupBy.CAPABILITY)
_LABELS = dict(MEASURES)


@dataclass(frozen=True, slots=True)
class ExploreTable:
    """Builds the table of a page of the explorer."""

    query: UsageQuery
    explored: ExplorerQuery
    page: ExplorerPage
    request: HttpRequest
    measure: SortBy
    unit: Unit | None

    def table(self, sorting: Sorting, *, empty: object) -> Table[ExplorerRow]:
        columns = [*self._names(), *(self._figures() if self.unit is None else self._periods(self.unit))]
        values = [column.cell(self.page.total) for column in columns[len(self.explored.by) :]]
        return Table(
            "Usage",
            columns,
            self.page.rows,
            foot=[("Total", *values)],
            sorting=sorting,
            empty=empty,
            css="ct-explore",
            note="An event with several tags counts in full under each of them; the total counts it once."
            if GroupBy.TAG in self.explored.by
            else "",
        )

    def _names(self) -> list[Column[ExplorerRow]]:
        def column(index: int, by: GroupBy) -> Column[ExplorerRow]:
            order = SortBy.NAME.value if index == 0 else ""
            return Column(
                DIMENSION_OF[by].label, lambda row: self._name(row, index), order=order, css="ct-explore-name"
            )

        return [column(index, by) for index, by in enumerate(self.explored.by)]

    def _figures(self) -> list[Column[ExplorerRow]]:
        total = max(self.page.total.figures.cost_usd, ZERO)
        columns = [
            _column("Cost", SortBy.COST, lambda row: cost_cell(row.figures)),
            Column[ExplorerRow](
                "Share of cost", lambda row: percent_bar(row.figures.cost_usd, total), css="ct-explore-share"
            ),
        ]
        if self.explored.before is not None:
            columns.append(_column("Change", SortBy.CHANGE, _change))
        columns += [
            _column("Requests", SortBy.REQUESTS, self._requests),
            _column("Cost per request", SortBy.COST_PER_REQUEST, lambda row: _per(row.figures, row.figures.requests)),
        ]
        if self.explored.with_users:
            columns += [
                _column("Users", SortBy.USERS, lambda row: formatting.count(row.users or 0)),
                _column("Cost per user", SortBy.COST_PER_USER, lambda row: _per(row.figures, row.users or 0)),
            ]
        return [
            *columns,
            _counts("Tokens", SortBy.TOTAL_TOKENS),
            _counts("Input", SortBy.PROMPT_TOKENS),
            _counts("Cached", SortBy.CACHED_TOKENS),
            _counts("Cache writes", SortBy.CACHE_CREATION_TOKENS),
            _counts("Output", SortBy.COMPLETION_TOKENS),
            _counts("Errors", SortBy.ERRORS),
        ]

    def _periods(self, unit: Unit) -> list[Column[ExplorerRow]]:
        def column(index: int) -> Column[ExplorerRow]:
            name = period_label(self.query.calendar, unit, self.explored.periods[index])
            order = period_order(index) if self.measure is SortBy.COST else ""
            return Column(name, lambda row: self._measured(row.periods[index]), order=order, is_number=True)

        total = _column(f"Total {_LABELS[self.measure].lower()}", self.measure, lambda row: self._measured(row.figures))
        return [total, *(column(index) for index, _ in enumerate(self.explored.periods))]

    def _measured(self, figures: Figures) -> SafeString | str:
        if self.measure is SortBy.COST:
            return cost_cell(figures) if figures != ZERO_FIGURES else formatting.NOTHING
        if self.measure is SortBy.COST_PER_REQUEST:
            return _per(figures, figures.requests)
        return formatting.count_or_nothing(getattr(figures, self.measure.value))

    def _requests(self, row: ExplorerRow) -> SafeString | str:
        number = formatting.count(row.figures.requests)
        filters = self._filters(row)
        if not filters or not row.figures.requests:
            return number
        name = ", ".join(row.names)
        return format_html(
            '<a class="ct-link" href="{}" aria-label="{}">{}</a>',
            calls_url(self.query, self.request, **filters),
            f"{formatting.counted(row.figures.requests, 'request')} of {name}",
            number,
        )

    def _filters(self, row: ExplorerRow) -> dict[str, str]:
        """Return the filters of a row's calls; empty if one of its values cannot be filtered by."""
        filters: dict[str, str] = {}
        for by, key in zip(self.explored.by, row.keys, strict=False):
            only = filters_for(by, key)
            if not only:
                return {}
            filters |= only
        return filters

    def _name(self, row: ExplorerRow, index: int) -> SafeString | str:
        """Return the name of a value, which links to its page, or to its usage by another dimension."""
        by, key = self.explored.by[index], row.keys[index]
        if not key and by is not GroupBy.CREDENTIAL:
            return DIMENSION_OF[by].without
        name = row.names[index] or key or DIMENSION_OF[by].without
        text = formatting.name(name, _MAX_NAME)
        url = self._url(by, key)
        return formatting.two_lines(
            formatting.link_or_text(url, text), key if name != key and by is GroupBy.CREDENTIAL else ""
        )

    def _url(self, by: GroupBy, key: str) -> str:
        if by is GroupBy.RUN:
            return run_url(key)
        if by is GroupBy.SESSION:
            return session_url(key)
        taken = {*self.explored.by, *_filtered(self.query)}
        then = next((other for other in _NEXT_DIMENSIONS if other not in taken), GroupBy.USER)
        return url_with(self.request, **filters_for(by, key), group_by=then.value, then_by="", search="", sort_by="")


def _filtered(query: UsageQuery) -> set[GroupBy]:
    return {dimension.by for dimension in DIMENSIONS if getattr(query.filters, dimension.parameter)}


def _column(heading: str, sort: SortBy, cell: Callable[[ExplorerRow], object]) -> Column[ExplorerRow]:
    return Column(heading, cell, order=sort.value, is_number=True)


def _counts(heading: str, sort: SortBy) -> Column[ExplorerRow]:
    return _column(heading, sort, lambda row: formatting.count_or_nothing(getattr(row.figures, sort.value)))


def _per(figures: Figures, number: int) -> str:
    has_no_price = figures.unpriced_events and not figures.cost_usd
    return usd(figures.cost_usd / number) if number > 0 and not has_no_price else formatting.NOTHING


def _change(row: ExplorerRow) -> SafeString | str:
    """Return the change of the cost since the time before, and in percent of it."""
    if row.before is None:
        return formatting.NOTHING
    change, earlier = row.figures.cost_usd - row.before.cost_usd, row.before.cost_usd
    sign = "+" if change > 0 else ""
    if earlier <= 0:
        note = "new"
    elif change > _MANY_TIMES * earlier:
        note = f"{row.figures.cost_usd / earlier:,.0f}x"
    else:
        note = f"{sign}{share_of(change, earlier).text}"
    return formatting.two_lines(f"{sign}{usd(change)}", note if change else "")


def others(page: ExplorerPage, shown: Sequence[ExplorerRow]) -> list[Figures]:
    """Return what the shown rows do not have of each period."""
    sums = [sum((row.periods[index] for row in shown), ZERO_FIGURES) for index, _ in enumerate(page.total.periods)]
    return [period - of_shown for period, of_shown in zip(page.total.periods, sums, strict=True)]
