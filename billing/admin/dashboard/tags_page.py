"""Document 004's tags as a page: what was spent under each.

Its numbers are those of `GET /spend/tags`; days are UTC there, so they are here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar

from django import forms
from django.http import HttpRequest, QueryDict

from billing.admin.components import formatting
from billing.admin.components.chart_axis import axis, utc_calendar
from billing.admin.components.charts import Chart, Line
from billing.admin.components.date_range import Period, PeriodForm, period_of, with_range
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.pagination import paging, requested_page
from billing.admin.components.percent_bar import Share, share_of
from billing.admin.components.sortable_columns import Column, headings
from billing.admin.components.urls import url_for_dates, url_of_page, url_with
from billing.reports.spend.tags import TagSpend, days_of_tags, tag_spend
from billing.reports.spend.totals import Named
from billing.reports.types import Window
from costtrack.admin_site import register_page
from costtrack.calendar import Unit
from costtrack.money import usd

TAGS_PER_PAGE = 50
_MAX_LINES = 8
_MAX_KINDS = 50
_MAX_LENGTH = 255
_SEPARATOR = ":"
_COLUMNS = (
    Column("Tag", "name"),
    Column("Requests", "calls", is_number=True),
    Column("Cost", "spend", is_number=True),
    Column("Share of all spend"),
)
_SORTED_BY = {column.order: attrgetter(column.order) for column in _COLUMNS if column.order}


class TagsForm(PeriodForm):
    """`kind` is what stands before a tag's colon; `tag` is one whole tag."""

    kind = forms.CharField(required=False, max_length=_MAX_LENGTH, label="Kind of tag", widget=forms.Select)
    search = forms.CharField(
        required=False, max_length=_MAX_LENGTH, label="Tag", widget=forms.TextInput(attrs={"type": "search"})
    )
    tag = forms.Field(required=False, widget=forms.HiddenInput)
    sort_by = forms.Field(required=False, widget=forms.HiddenInput)
    sort_order = forms.Field(required=False, widget=forms.HiddenInput)

    def __init__(self, data: QueryDict) -> None:
        super().__init__(with_range(data, self.default_range))

    def offer(self, tags: Iterable[Named]) -> None:
        """The kinds that there are; the one that is chosen in any case."""
        kinds = dict.fromkeys(tag.name.partition(_SEPARATOR)[0] for tag in tags if _SEPARATOR in tag.name)
        offered = {*list(kinds)[:_MAX_KINDS], self["kind"].value() or ""} - {""}
        select = self.fields["kind"].widget
        if isinstance(select, forms.Select):
            select.choices = [("", "All kinds"), *((kind, f"{kind}{_SEPARATOR}") for kind in sorted(offered))]

    def hide_choice(self) -> None:
        """What narrows a list, on a page about one tag: kept for the way back."""
        for name in ("kind", "search"):
            self.fields[name].widget = forms.HiddenInput()


@dataclass(frozen=True, slots=True)
class TagRow:
    name: str
    url: str
    calls: str
    cost: str
    share: Share


class TagsPage(OrganizationPage):
    title: ClassVar[str] = "Tags"
    template_name: ClassVar[str] = "admin/dashboard/tags.html"
    refresh_seconds: ClassVar[int] = 30

    def page_context(self) -> dict[str, Any]:
        form = TagsForm(self.request.GET)
        period = period_of(form, utc_calendar(self.organization.week_start), self.now)
        asked = form.cleaned_data if form.is_valid() else {}
        found = tag_spend(organization=self.organization, window=Window(*period.span))
        tag = asked.get("tag") or ""
        if tag:
            form.hide_choice()
        else:
            form.offer(found.tags)
        chosen = _chosen(found.tags, asked)
        return {
            "form": form,
            "period": period,
            "found": found,
            "tag": tag,
            "whole_url": url_with(self.request, tag=""),
            "log_url": url_of_page("request_log", self.request, tag=tag),
            "figures": _figures_of_tag(chosen, found) if tag else _figures(found, period),
            "chart": self._chart(chosen, period),
            "unpriced": formatting.count(found.unpriced) if found.unpriced else "",
            **self._list(chosen, found, asked),
        }

    def _list(self, chosen: Sequence[Named], found: TagSpend, asked: dict[str, Any]) -> dict[str, Any]:
        sort_by = asked.get("sort_by")
        order = sort_by if sort_by in _SORTED_BY else "spend"
        ascending = asked.get("sort_order") == "asc"
        rows = sorted(chosen, key=_SORTED_BY[order], reverse=not ascending)
        number = requested_page(self.request)
        shown = rows[(number - 1) * TAGS_PER_PAGE : number * TAGS_PER_PAGE]
        return {
            "rows": [_row(one, found, self.request) for one in shown],
            "rows_total": formatting.count(len(rows)),
            "headings": headings(self.request, _COLUMNS, order, default="spend", ascending=ascending),
            "paging": paging(self.request, number=number, size=TAGS_PER_PAGE, total=len(rows)),
        }

    def _chart(self, chosen: Sequence[Named], period: Period) -> Chart | None:
        """The dearest of the tags that were asked for. They are not stacked: they have calls in common."""
        names = [one.name for one in chosen[:_MAX_LINES]]
        days = days_of_tags(organization=self.organization, window=Window(*period.span), tags=names)
        along = axis(period.span, {day for of_tag in days.values() for day, _ in of_tag})
        if not names or not along.bars:
            return None
        lines = []
        for name in names:
            sums = along.sums(days[name])
            urls = [url_for_dates(self.request, bar.first, bar.last, tag=name) for bar in along.bars]
            lines.append(Line(name, [float(amount) for amount in sums], [usd(amount) for amount in sums], urls))
        what = "Cost per tag" if len(lines) > 1 else f"Cost of {names[0]}"
        unit = "month" if along.unit is Unit.MONTH else "day"
        return Chart(
            title=f"{what} and {unit} (UTC)" if len(lines) > 1 else f"{what} per {unit} (UTC)",
            labels=[bar.label for bar in along.bars],
            lines=lines,
            unit="usd",
            kind="line" if len(along.bars) > 1 and len(lines) > 1 else "bar",
            is_stacked=False,
        )


def _chosen(tags: Sequence[Named], asked: dict[str, Any]) -> list[Named]:
    """In their order, the dearest first."""
    if tag := asked.get("tag"):
        return [one for one in tags if one.name == tag]
    search, kind = (asked.get("search") or "").lower(), asked.get("kind")
    beginning = f"{kind}{_SEPARATOR}" if kind else ""
    return [one for one in tags if one.name.startswith(beginning) and search in one.name.lower()]


def _row(one: Named, found: TagSpend, request: HttpRequest) -> TagRow:
    return TagRow(
        name=one.name,
        url=url_with(request, tag=one.name),
        calls=formatting.count(one.calls),
        cost=usd(one.spend),
        share=share_of(one.spend, found.spend),
    )


Figure = tuple[str, str, str]
"""A heading, a value, and what it is of."""


def _figures(found: TagSpend, period: Period) -> list[Figure]:
    whole = ("All spend", usd(found.spend), f"{period.name}, {formatting.count(found.calls)} requests")
    if not found.tags:
        return [whole]
    dearest, untagged = found.tags[0], found.least_untagged
    figures = [
        whole,
        ("Tags", formatting.count(len(found.tags)), "Used in this period"),
        ("Dearest tag", usd(dearest.spend), dearest.name),
    ]
    if untagged:
        share = share_of(untagged, found.spend).text
        figures.append(("Without a tag", f"at least {usd(untagged)}", f"{share}; more, if calls bear several tags"))
    return figures


def _figures_of_tag(chosen: Sequence[Named], found: TagSpend) -> list[Figure]:
    if not chosen:
        return []
    (one,) = chosen
    return [
        ("Cost", usd(one.spend), f"of {usd(found.spend)} in all"),
        ("Share of all spend", share_of(one.spend, found.spend).text, "in this period"),
        ("Requests", formatting.count(one.calls), f"of {formatting.count(found.calls)} in all"),
        ("Cost per request", usd(one.spend / one.calls) if one.calls else formatting.NOTHING, "On average"),
    ]


register_page("tags/", TagsPage.as_view(), name="tags")
