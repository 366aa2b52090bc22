"""The pricing page: the cost of model calls by day, model, workflow and period, and the history of generation groups.

Its numbers are those of `POST /system/pricing` and `POST /system/groups` (document 000), in the organization's days.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from django import forms
from django.utils.html import format_html

from billing.admin.components import formatting
from billing.admin.components.cards import Card, EmptyState, Figure, Link
from billing.admin.components.chart_axis import unit_of_bars
from billing.admin.components.date_range import Period, PeriodForm, period_of
from billing.admin.components.multi_select import MultiSelectField, Option
from billing.admin.components.pagination import Paging, paging, requested_page
from billing.admin.components.table_files import TableFilesPage, all_pages
from billing.admin.components.tables import Sorting
from billing.admin.components.urls import admin_url, url_of_page
from billing.admin.dashboard.pricing.breakdown_tables import (
    breakdown_columns,
    period_rows,
    period_table,
    unit_of_rows,
    workflow_rows,
    workflow_table,
)
from billing.admin.dashboard.pricing.group_history_tab import GROUP_COLUMNS, group_table
from billing.admin.dashboard.pricing.model_costs_tab import (
    MODEL_COLUMNS,
    chart_of,
    model_of,
    model_rows,
    model_table,
    name_of,
    text_of,
)
from billing.reports.pricing.daily import Pricing, pricing
from billing.reports.pricing.groups import ORDERS, Group, GroupQuery, groups
from billing.reports.pricing.run_filter import ModelKey, RunFilter
from billing.reports.pricing.workflows import workflow_sums
from billing.reports.rollup_reader import RollupReader
from costtrack.admin_site import register_page
from costtrack.calendar import Span, Window
from costtrack.date_text import day_text
from costtrack.money import ZERO, usd

GROUPS_PER_PAGE = 25
_GROUPS_READ = 1_000
"""At a time, for a file."""
MAX_SEARCH_LENGTH = 255
_GROUPS = "#groups"


class PricingForm(PeriodForm):
    """A model is given as provider and name: `openai/gpt-5`."""

    model = MultiSelectField(label="Models", empty_label="All models")
    agent = MultiSelectField(label="Agents", empty_label="All agents")
    search = forms.Field(required=False, widget=forms.HiddenInput)
    sort_by = forms.Field(required=False, widget=forms.HiddenInput)
    sort_order = forms.Field(required=False, widget=forms.HiddenInput)

    def clean_model(self) -> tuple[ModelKey, ...]:
        return tuple(model_of(text) for text in self.cleaned_data["model"])

    def clean_search(self) -> str:
        """Accept any text, so that an odd search does not hide the costs."""
        return str(self.cleaned_data["search"] or "").replace("\0", "").strip()[:MAX_SEARCH_LENGTH]

    def clean_sort_by(self) -> str:
        cleaned = self.cleaned_data["sort_by"]
        return cleaned if cleaned in ORDERS else "date"

    def clean_sort_order(self) -> str:
        return "asc" if self.cleaned_data["sort_order"] == "asc" else "desc"

    def offer(self, report: Pricing) -> None:
        """Offer the models and agents that were used in the period."""
        models, agents = self.fields["model"], self.fields["agent"]
        if isinstance(models, MultiSelectField) and isinstance(agents, MultiSelectField):
            names = name_of(used.model for used in report.models)
            models.offer(_option(text_of(used.model), names[used.model], used.runs) for used in report.models)
            agents.offer(_option(used.agent_id, used.name, used.runs) for used in report.agents)


class PricingPage(TableFilesPage):
    title: ClassVar[str] = "Pricing"
    template_name: ClassVar[str] = "admin/dashboard/pricing.html"
    stylesheets = ("costtrack/breakdowns.css",)
    scripts = ("costtrack/multi_select.js",)
    refresh_seconds: ClassVar[int] = 30
    reader: RollupReader

    def page_context(self) -> dict[str, Any]:
        form = PricingForm(self.request.GET)
        chosen_period = period_of(form, self.organization.calendar, self.now)
        visible = self.visible(chosen_period.span)
        period = replace(chosen_period, span=visible.window)
        cleaned = form.cleaned_data if form.is_valid() else {}
        runs = RunFilter(
            window=Window(*period.span),
            models=cleaned.get("model") or None,
            agents=tuple(cleaned.get("agent") or ()) or None,
        )
        self.reader = RollupReader(self.organization)
        report = self._report(runs, period.span)
        form.offer(report)
        is_narrowed = runs.models is not None or runs.agents is not None
        return {
            "form": form,
            "period": period,
            "visible": visible,
            "export_url": self._export_url(runs),
            **self._costs(report, period, is_narrowed=is_narrowed),
            "breakdowns": self._breakdowns(report, period, is_narrowed=is_narrowed),
            **self._groups(runs, cleaned),
        }

    def _report(self, runs: RunFilter, span: Span) -> Pricing:
        """Return the report by days of the organization, or by its months for a long span."""
        calendar = self.organization.calendar
        windows = [Window(*part) for part in calendar.periods(unit_of_bars(span), span)]
        return pricing(reader=self.reader, filters=runs, calendar=calendar, windows=windows)

    def _export_url(self, runs: RunFilter) -> str:
        """Return the URL of the exports page for the same period and, if only one is chosen, the same model."""
        model = {"model": runs.models[0].model} if runs.models is not None and len(runs.models) == 1 else {}
        return url_of_page("exports", self.request, **model)

    def _costs(self, report: Pricing, period: Period, *, is_narrowed: bool) -> dict[str, Any]:
        cost = sum((bucket.cost_usd for bucket in report.daily), ZERO)
        models = model_rows(report, self.request)
        used = [row for row in models if row.url]
        return {
            "report": report,
            "figures": (
                Figure("Cost", usd(cost), (period.name,)),
                Figure("Requests", formatting.count(report.runs), ("Model calls",)),
                Figure(
                    "Cost per request",
                    usd(cost / report.runs) if report.runs else formatting.NOTHING,
                    ("On average",),
                ),
                Figure("Models", formatting.count(len(used)), (f"Most for {used[0].name}" if used else "",)),
            ),
            "chart": chart_of(report, period.span, self.organization.calendar, self.request),
            "models": Card(
                "Model breakdown",
                table=model_table(models, self.table_file("cost-by-model", MODEL_COLUMNS, lambda: models)),
                link=self._explore(group_by="model"),
            ),
            "unpriced": report.unpriced_events,
            "empty": self._empty_state(report, is_narrowed=is_narrowed),
        }

    def _breakdowns(self, report: Pricing, period: Period, *, is_narrowed: bool) -> list[Card]:
        sums = None if is_narrowed else workflow_sums(reader=self.reader, window=Window(*period.span))
        calendar = self.organization.calendar
        workflows = workflow_rows(report, sums) if sums is not None else []
        periods = period_rows(report, period.span, calendar, self.request)
        unit = unit_of_rows(period.span)
        tables = (
            workflow_table(
                None if sums is None else workflows,
                self.table_file("cost-by-workflow", breakdown_columns("workflow_id"), lambda: workflows),
            ),
            period_table(
                unit, periods, self.table_file(f"cost-by-{unit}", breakdown_columns(unit.value), lambda: periods)
            ),
        )
        links = (
            self._explore(group_by="workflow"),
            self._explore(group_by="model", columns=unit.value),
        )
        return [Card(table.title, table=table, link=link) for table, link in zip(tables, links, strict=True)]

    def _explore(self, **parameters: str) -> Link:
        """Return the link to the same breakdown with every row. The explorer has no filter by several models."""
        period = {} if self.request.GET.get("range") or self.request.GET.get("start_date") else {"range": "30d"}
        return "Explore", url_of_page("explore", self.request, **period, **parameters)

    def _groups(self, runs: RunFilter, cleaned: dict[str, Any]) -> dict[str, Any]:
        number, sort_by = requested_page(self.request), cleaned.get("sort_by", "date")
        ascending = cleaned.get("sort_order") == "asc"
        query = GroupQuery(
            runs=runs,
            search=cleaned.get("search", ""),
            matches_id=True,
            order=ORDERS[sort_by],
            ascending=ascending,
            offset=(number - 1) * GROUPS_PER_PAGE,
            limit=GROUPS_PER_PAGE,
        )
        group_page = groups(organization=self.organization, reader=self.reader, query=query)

        def read(offset: int | None) -> tuple[Sequence[Group], int | None]:
            chosen = replace(query, offset=offset or 0, limit=_GROUPS_READ)
            rows = groups(organization=self.organization, reader=self.reader, query=chosen).groups
            return rows, chosen.offset + _GROUPS_READ if len(rows) == _GROUPS_READ else None

        pages = paging(self.request, number=number, size=GROUPS_PER_PAGE, total=group_page.total)
        sorting = Sorting(self.request, sort_by, "date", is_ascending=ascending, anchor=_GROUPS)
        empty = _no_groups(pages, total=group_page.total, search=cleaned.get("search", ""))
        return {
            "groups": group_table(
                group_page.groups,
                sorting,
                empty=empty,
                times=self.times,
                file=self.table_file("groups", GROUP_COLUMNS, lambda: all_pages(read)),
            ),
            "groups_total": formatting.count(group_page.total),
            "other_parameters": [
                (name, value)
                for name, values in self.request.GET.lists()
                for value in values
                if name not in ("search", "page")
            ],
            "paging": pages,
        }

    def _empty_state(self, report: Pricing, *, is_narrowed: bool) -> EmptyState | None:
        if not report.first_day or not report.last_day:
            text = "Costs per day and model appear here with the first event. Events with a group_id form groups."
            start = [("Send the first event", admin_url("getting_started"))]
            return EmptyState("query_stats", "No usage yet", text, start, is_first_use=True)
        if report.daily:
            return None
        days = {"start_date": f"{report.first_day}", "end_date": f"{report.last_day}"}
        all_usage = admin_url("pricing", range="custom", **days)
        return EmptyState(
            "query_stats",
            "No requests by these models and agents in this period" if is_narrowed else "No usage in this period",
            f"{self.organization.name} has usage from {day_text(report.first_day)} to {day_text(report.last_day)}.",
            [("Show all usage", all_usage)],
        )


def _no_groups(pages: Paging, *, total: int, search: str) -> object:
    """Return why the table of groups is empty."""
    if pages.is_beyond and total:
        link = formatting.link(f"{pages.last_url}{_GROUPS}", "Go to the last page")
        return format_html("This page does not exist. {}", link)
    if search:
        return "No group in this period matches. Choose a longer period or change the search."
    return (
        "No groups in this period. Events with the same group_id form a group, which is shown with its group_name and "
        "session_id."
    )


def _option(value: str, label: str, runs: int) -> Option:
    return Option(value, label, formatting.count(runs), runs)


register_page("pricing/", PricingPage.as_view(), name="pricing")
