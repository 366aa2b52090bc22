"""The tags page: spend by tag.

Its numbers are those of `GET /spend/tags` (document 004), so days are UTC.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, ClassVar

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import EmptyState, Figure
from billing.admin.components.chart_axis import axis, utc_calendar
from billing.admin.components.charts import Chart, Line
from billing.admin.components.date_range import Period, PeriodForm, period_of
from billing.admin.components.form_fields import select_filter, text_filter
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.pagination import Paging, paging, requested_page
from billing.admin.components.percent_bar import percent_bar, share_of
from billing.admin.components.tables import Column, Sorting, Table
from billing.admin.components.urls import admin_url, url_for_dates, url_of_page, url_with
from billing.reports.spend.totals import NamedSpend, TagSpend, get_tag_spend, list_tag_days
from costtrack.admin_site import register_page
from costtrack.calendar import Unit, Window
from costtrack.money import usd

TAGS_PER_PAGE = 50
_MAX_LINES = 8
_MAX_KINDS = 50
_SEPARATOR = ":"
_TAGS = "#tags"
_SORTED_BY = {name: attrgetter(name) for name in ("name", "calls", "spend")}


class TagsForm(PeriodForm):
    """`kind` is the text before a tag's colon; `tag` is a complete tag."""

    kind = select_filter("Kind of tag")
    search = text_filter("Tag", type="search")
    tag = forms.Field(required=False, widget=forms.HiddenInput)
    sort_by = forms.Field(required=False, widget=forms.HiddenInput)
    sort_order = forms.Field(required=False, widget=forms.HiddenInput)

    def offer(self, tags: Iterable[NamedSpend]) -> None:
        """Offer the kinds of the tags, and always the chosen one."""
        kinds = dict.fromkeys(tag.name.partition(_SEPARATOR)[0] for tag in tags if _SEPARATOR in tag.name)
        offered = {*list(kinds)[:_MAX_KINDS], self["kind"].value() or ""} - {""}
        select = self.fields["kind"].widget
        if isinstance(select, forms.Select):
            select.choices = [("", "All kinds"), *((kind, f"{kind}{_SEPARATOR}") for kind in sorted(offered))]

    def hide_choice(self) -> None:
        """Hide the filters of the list on a page about one tag; they are kept for the way back."""
        for name in ("kind", "search"):
            self.fields[name].widget = forms.HiddenInput()


class TagsPage(OrganizationPage):
    title: ClassVar[str] = "Tags"
    template_name: ClassVar[str] = "admin/dashboard/tags.html"
    stylesheets = ("costtrack/breakdowns.css",)
    refresh_seconds: ClassVar[int] = 30

    def page_context(self) -> dict[str, Any]:
        form = TagsForm(self.request.GET)
        chosen_period = period_of(form, utc_calendar(self.organization.week_start), self.now)
        visible = self.visible(chosen_period.span)
        period = replace(chosen_period, span=visible.window)
        cleaned = form.cleaned_data if form.is_valid() else {}
        report = get_tag_spend(organization=self.organization, window=Window(*period.span))
        tag = cleaned.get("tag") or ""
        if tag:
            form.hide_choice()
        else:
            form.offer(report.tags)
        chosen = _chosen(report.tags, cleaned)
        return {
            "form": form,
            "period": period,
            "visible": visible,
            "report": report,
            "tag": tag,
            "all_tags_url": url_with(self.request, tag=""),
            "log_url": url_of_page("request_log", self.request, tag=tag),
            "figures": _figures_of_tag(chosen, report) if tag else _figures(report, period),
            "chart": self._chart(chosen, period),
            "unpriced": report.unpriced,
            "empty": self._empty_state(report, tag, chosen),
            **self._list(chosen, report, cleaned),
        }

    def _list(self, chosen: Sequence[NamedSpend], report: TagSpend, cleaned: dict[str, Any]) -> dict[str, Any]:
        sort_by = cleaned.get("sort_by")
        order = sort_by if sort_by in _SORTED_BY else "spend"
        ascending = cleaned.get("sort_order") == "asc"
        rows = sorted(chosen, key=_SORTED_BY[order], reverse=not ascending)
        number = requested_page(self.request)
        pages = paging(self.request, number=number, size=TAGS_PER_PAGE, total=len(rows))
        sorting = Sorting(self.request, order, "spend", is_ascending=ascending, anchor=_TAGS)
        columns = (
            Column[NamedSpend]("Tag", self._link, order="name", css="ct-tag ct-names"),
            Column[NamedSpend]("Requests", lambda row: formatting.count(row.calls), order="calls", is_number=True),
            Column[NamedSpend]("Cost", lambda row: usd(row.spend), order="spend", is_number=True),
            Column[NamedSpend]("Share of all spend", lambda row: percent_bar(row.spend, report.spend)),
        )
        shown = rows[(number - 1) * TAGS_PER_PAGE : number * TAGS_PER_PAGE]
        empty = _no_tags(pages, total=len(rows), all_url=self.request.path)
        return {
            "tags": Table("Tags", columns, shown, sorting=sorting, empty=empty),
            "rows_total": formatting.count(len(rows)),
            "paging": pages,
        }

    def _link(self, entry: NamedSpend) -> SafeString:
        return formatting.link(url_with(self.request, tag=entry.name), entry.name)

    def _empty_state(self, report: TagSpend, tag: str, chosen: Sequence[NamedSpend]) -> EmptyState | None:
        if tag and not chosen:
            all_tags = [("All tags", url_with(self.request, tag=""))]
            return EmptyState("sell", "No spend with this tag in this period", tag, all_tags)
        if tag or report.tags:
            return None
        example = '["project:search", "env:staging"]'
        if report.calls:
            text = (
                f"{usd(report.spend)} was spent without tags. Send tags with your events to see the cost of each tag."
            )
            return EmptyState("sell", "No tagged usage in this period", text, example=example)
        text = "Choose a longer period, or send tags with your events."
        start = [("Send events", admin_url("getting_started"))]
        return EmptyState("sell", "No tags in this period", text, start, example=example)

    def _chart(self, chosen: Sequence[NamedSpend], period: Period) -> Chart | None:
        """Return a chart of the most expensive chosen tags. Not stacked, because tags can share calls."""
        names = [entry.name for entry in chosen[:_MAX_LINES]]
        days = list_tag_days(organization=self.organization, window=Window(*period.span), tags=names)
        x_axis = axis(period.span, {day for of_tag in days.values() for day, _ in of_tag})
        if not names or not x_axis.bars:
            return None
        lines = []
        for name in names:
            urls = [url_for_dates(self.request, bar.first, bar.last, tag=name) for bar in x_axis.bars]
            lines.append(Line.of_costs(name, x_axis.sums(days[name]), urls))
        what = "Cost per tag" if len(lines) > 1 else f"Cost of {names[0]}"
        unit = "month" if x_axis.unit is Unit.MONTH else "day"
        return Chart(
            title=f"{what} and {unit} (UTC)" if len(lines) > 1 else f"{what} per {unit} (UTC)",
            labels=[bar.label for bar in x_axis.bars],
            lines=lines,
            unit="usd",
            kind="line" if len(x_axis.bars) > 1 and len(lines) > 1 else "bar",
            is_stacked=False,
        )


def _chosen(tags: Sequence[NamedSpend], cleaned: dict[str, Any]) -> list[NamedSpend]:
    """Return the tags that match the filters, most expensive first."""
    if tag := cleaned.get("tag"):
        return [entry for entry in tags if entry.name == tag]
    search, kind = (cleaned.get("search") or "").lower(), cleaned.get("kind")
    beginning = f"{kind}{_SEPARATOR}" if kind else ""
    return [entry for entry in tags if entry.name.startswith(beginning) and search in entry.name.lower()]


def _no_tags(pages: Paging, *, total: int, all_url: str) -> SafeString:
    """Return why the table of tags is empty."""
    if pages.is_beyond and total:
        link = formatting.link(f"{pages.last_url}{_TAGS}", "Go to the last page")
        return format_html("This page does not exist. {}", link)
    return format_html("No tag in this period matches. {}", formatting.link(all_url, "Show all tags"))


def _figures(report: TagSpend, period: Period) -> list[Figure]:
    requests = f"{period.name}, {formatting.count(report.calls)} requests"
    all_spend = Figure("All spend", usd(report.spend), (requests,))
    if not report.tags:
        return [all_spend]
    top_tag, untagged = report.tags[0], report.min_untagged
    figures = [
        all_spend,
        Figure("Tags", formatting.count(len(report.tags)), ("Used in this period",)),
        Figure("Most expensive tag", usd(top_tag.spend), (top_tag.name,)),
    ]
    if untagged:
        share = share_of(untagged, report.spend).text
        note = f"{share}; more if calls have several tags"
        figures.append(Figure("Without a tag", f"at least {usd(untagged)}", (note,)))
    return figures


def _figures_of_tag(chosen: Sequence[NamedSpend], report: TagSpend) -> list[Figure]:
    if not chosen:
        return []
    (entry,) = chosen
    return [
        Figure("Cost", usd(entry.spend), (f"of {usd(report.spend)} total",)),
        Figure("Share of all spend", share_of(entry.spend, report.spend).text, ("in this period",)),
        Figure("Requests", formatting.count(entry.calls), (f"of {formatting.count(report.calls)} total",)),
        Figure(
            "Cost per request", usd(entry.spend / entry.calls) if entry.calls else formatting.NOTHING, ("On average",)
        ),
    ]


register_page("tags/", TagsPage.as_view(), name="tags")
