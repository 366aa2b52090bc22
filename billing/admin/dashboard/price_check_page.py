"""The price check: how far the costs of calls can be relied on, and which reported and computed costs differ.

Its numbers are those of `GET /usage/price-check` for the same parameters. Days are in the organization's time zone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, Card, EmptyState, Figure
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.date_range import PeriodForm, period_of
from billing.admin.components.files import FileView, file_links
from billing.admin.components.form_fields import text_filter
from billing.admin.components.pagination import Paging, paging, requested_page
from billing.admin.components.percent_bar import share_of
from billing.admin.components.table_files import TableFilesPage
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url, event_url, url_with
from billing.admin.components.usage_form import UsageQueryPage
from billing.exports.price_check_file import PriceCheckFile
from billing.exports.table_files import FileQuery
from billing.pricing.quote import QuoteLine
from billing.reports.cursors import cursor_of, position_of
from billing.reports.price_check.differences import (
    CallDifference,
    ComparedLine,
    ModelDifference,
    call_differences,
    model_differences,
)
from billing.reports.price_check.exactness import ModelExactness, exactness_by_model, total_exactness
from billing.reports.price_check.selection import DEFAULT_PERCENT, MAX_CALLS, CallSelection, require_readable
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.query import UsageQuery
from billing.types import CostBasis, Exactness
from costtrack.admin_site import register_page
from costtrack.errors import InvalidError
from costtrack.file_columns import ComputedColumn, Kind, attributes
from costtrack.money import ZERO, plain, usd

_MODELS_PER_PAGE = 25
_CALLS_PER_PAGE = 20
_MAX_PERCENT = 999_999
_SHOWN_EXACTNESS = (Exactness.REPORTED, Exactness.COMPUTED, Exactness.ESTIMATED, Exactness.FLAGGED)
_BASIS_LABELS = {
    CostBasis.PROVIDER: "provider's bill",
    CostBasis.SENDER: "stated by the sender",
    CostBasis.COMPUTED: "computed",
    CostBasis.GATEWAY: "gateway's estimate",
    CostBasis.UNKNOWN: "unknown",
}
_TOO_MANY_CALLS = EmptyState(
    "hourglass_disabled",
    "Too many calls in this period",
    f"The price check reads every call of the period, up to {MAX_CALLS:,}. Choose a shorter period.",
)
_NOTES = {
    Exactness.REPORTED: "Billed or stated",
    Exactness.COMPUTED: "All usage read and priced",
    Exactness.ESTIMATED: "An estimated unit price, or a gateway's estimate",
    Exactness.FLAGGED: "Not everything was read",
    Exactness.UNKNOWN: "Without a cost",
}


class PriceCheckForm(PeriodForm):
    service = text_filter("Service")
    model = text_filter("Model")
    percent = forms.DecimalField(
        required=False,
        min_value=0,
        max_value=_MAX_PERCENT,
        decimal_places=3,
        label="Differences above (%)",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "placeholder": plain(DEFAULT_PERCENT)}),
    )

    @property
    def filters(self) -> UsageFilter:
        return UsageFilter(model=self.cleaned_data["model"])

    def selection(self, query: UsageQuery) -> CallSelection:
        """Return the calls that a valid form selects in the window of a query."""
        cleaned = self.cleaned_data
        percent = DEFAULT_PERCENT if cleaned["percent"] is None else cleaned["percent"]
        return CallSelection(query.window, percent, cleaned["service"], query.filters.model)


@dataclass(frozen=True, slots=True)
class ShownDifference:
    """A call whose costs differ; `amounts` are both of them, and `table` compares their lines."""

    url: str
    time: str
    name: str
    amounts: str
    difference: str
    cause: str
    detail: str
    table: Table[ComparedLine]


class PriceCheckPage(TableFilesPage, UsageQueryPage):
    title: ClassVar[str] = "Price check"
    template_name: ClassVar[str] = "admin/dashboard/price_check.html"
    stylesheets = ("costtrack/breakdowns.css", "costtrack/price_check.css")
    refresh_seconds: ClassVar[int] = 0  # it reads every call of the period

    def page_context(self) -> dict[str, Any]:
        form, trail = PriceCheckForm(self.request.GET), CursorTrail.of(self.request.GET)
        period = period_of(form, self.organization.calendar, self.now)
        if not form.is_valid():
            return {"form": form, "period": period, "empty": INVALID_FILTERS}
        query = self.usage_query(form.filters, period.span)
        selection = form.selection(query)
        try:
            require_readable(self.organization, selection)
        except InvalidError:
            return {"form": form, "period": period, "empty": _TOO_MANY_CALLS}
        models = exactness_by_model(self.organization, selection)
        page = call_differences(
            organization=self.organization,
            selection=selection,
            after=position_of(trail.cursor, param="after"),
            limit=_CALLS_PER_PAGE,
        )
        return {
            "form": form,
            "period": period,
            "visible": query.visible,
            "percent": f"{plain(selection.percent)}%",
            "files": file_links(self, "price_check_file") if page.rows else None,
            "figures": _figures(models),
            "trail": trail,
            "older": trail.older(cursor_of(page.last)) if page.last is not None else "",
            "empty": self._empty_state(form) if not models else None,
            "differing": Card(
                "Differences by model", table=self._differing(model_differences(self.organization, selection))
            ),
            "calls": [self._shown(difference) for difference in page.rows],
            **self._models(models),
        }

    def _models(self, models: Sequence[ModelExactness]) -> dict[str, Any]:
        number = requested_page(self.request)
        pages = paging(self.request, number=number, size=_MODELS_PER_PAGE, total=len(models))
        shown = models[(number - 1) * _MODELS_PER_PAGE : number * _MODELS_PER_PAGE]
        columns = (
            Column[ModelExactness]("Model", lambda row: self._model_link(row.model, row.service), css="ct-names"),
            Column[ModelExactness]("Cost", lambda row: formatting.strong(usd(row.cost_usd)), is_number=True),
            Column[ModelExactness]("Calls", lambda row: formatting.count(row.events), is_number=True),
            *(_spend_column(exactness) for exactness in _SHOWN_EXACTNESS),
            Column[ModelExactness]("Unknown", _unknown, is_number=True),
        )
        return {
            "models": Table(
                "Spend by model",
                columns,
                shown,
                empty=_no_models(pages),
                file=self.table_file("spend-by-model", _MODEL_COLUMNS, lambda: models),
            ),
            "models_total": formatting.count(len(models)),
            "paging": pages,
        }

    def _differing(self, differences: Sequence[ModelDifference]) -> Table[ModelDifference]:
        columns = (
            Column[ModelDifference]("Model", lambda row: self._model_link(row.model, row.service), css="ct-names"),
            Column[ModelDifference](
                "Calls that differ",
                lambda row: f"{formatting.count(row.events)} of {formatting.count(row.compared)}",
                is_number=True,
            ),
            Column[ModelDifference]("Reported", lambda row: usd(row.reported_usd), is_number=True),
            Column[ModelDifference]("Computed", lambda row: usd(row.computed_usd), is_number=True),
            Column[ModelDifference]("Difference", lambda row: _signed(row.difference_usd), is_number=True),
        )
        file = self.table_file("differences-by-model", _DIFFERENCE_COLUMNS, lambda: differences)
        return Table("Differences by model", columns, differences, file=file)

    def _model_link(self, model: str, service: str) -> SafeString:
        """Return a link to the page about one model only."""
        link = formatting.link(url_with(self.request, model=model, service=service), model or "No model")
        return formatting.two_lines(link, service)

    def _shown(self, difference: CallDifference) -> ShownDifference:
        event, percent = difference.event, difference.percent
        relative = f" ({float(percent):+,.1f}%)" if percent is not None else ""
        reported = f"{usd(difference.reported_usd)} {_BASIS_LABELS[difference.reported_basis]}"
        return ShownDifference(
            url=event_url(event.pk),
            time=self.times.recorded(event.occurred_at),
            name=" ".join(filter(None, (event.service, event.model))),
            amounts=f"{reported}, {usd(difference.computed_usd)} computed",
            difference=f"{_signed(difference.difference_usd)}{relative}",
            cause=difference.cause.code.label,
            detail=difference.cause.detail,
            table=_side_by_side(difference),
        )

    def _empty_state(self, form: PriceCheckForm) -> EmptyState:
        if form.cleaned_data["model"] or form.cleaned_data["service"]:
            text = "Names must match exactly. Choose a longer period or fewer filters."
            return EmptyState("search_off", "No matching calls", text, [("Clear filters", self.request.path)])
        text = "Choose a longer period, or send calls with their usage. Their costs are checked as they arrive."
        start = [("Send the first event", admin_url("getting_started"))]
        return EmptyState("price_check", "No calls in this period", text, start, is_first_use=True)


class PriceCheckDownload(FileView):
    """The calls that differ."""

    def file_query(self) -> FileQuery:
        form = PriceCheckForm(self.request.GET)
        if not form.is_valid():
            raise InvalidError("These filters are invalid.")
        query = self.usage_query(form.filters, period_of(form, self.organization.calendar, self.now).span)
        selection = form.selection(query)
        require_readable(self.organization, selection)
        return PriceCheckFile(selection=selection)


def _cost_of(row: ModelExactness, *, exactness: Exactness) -> Decimal:
    return row.spend(exactness).cost_usd


def _calls_of(row: ModelExactness, *, exactness: Exactness) -> int:
    return row.spend(exactness).events


_MODEL_COLUMNS = (
    *attributes(Kind.TEXT, "service", "model"),
    *attributes(Kind.COUNT, "events"),
    *attributes(Kind.AMOUNT, "cost_usd"),
    *(
        column
        for exactness in Exactness
        for column in (
            ComputedColumn(f"{exactness.value}_calls", Kind.COUNT, partial(_calls_of, exactness=exactness)),
            ComputedColumn(f"{exactness.value}_usd", Kind.AMOUNT, partial(_cost_of, exactness=exactness)),
        )
    ),
)
_DIFFERENCE_COLUMNS = (
    *attributes(Kind.TEXT, "service", "model"),
    *attributes(Kind.COUNT, "compared", "events"),
    *attributes(Kind.AMOUNT, "reported_usd", "computed_usd", "difference_usd"),
)


def _spend_column(exactness: Exactness) -> Column[ModelExactness]:
    def cell(row: ModelExactness) -> SafeString | str:
        spend = row.spend(exactness)
        if not spend.events and not spend.cost_usd:
            return formatting.NOTHING
        calls: SafeString | str = f"{formatting.count(spend.events)} call{'' if spend.events == 1 else 's'}"
        if exactness is Exactness.FLAGGED:
            calls = formatting.link(admin_url("billing_usageevent_changelist", model=row.model, flag="any"), calls)
        return formatting.two_lines(usd(spend.cost_usd), calls)

    return Column[ModelExactness](exactness.label, cell, is_number=True)


def _unknown(row: ModelExactness) -> SafeString | str:
    """Return the number of calls without a cost, as a link to what to do about them."""
    calls = row.spend(Exactness.UNKNOWN).events
    if not calls:
        return formatting.NOTHING
    url = admin_url("billing_unpricedevent_changelist", model=row.model)
    return formatting.link(url, f"{formatting.count(calls)} call{'' if calls == 1 else 's'}")


def _figures(models: Sequence[ModelExactness]) -> list[Figure]:
    totals = total_exactness(models)
    cost = sum((spend.cost_usd for spend in totals.values()), ZERO)
    figures = []
    for exactness, spend in totals.items():
        if not spend.events and not spend.cost_usd:
            continue
        calls = f"{formatting.count(spend.events)} call{'' if spend.events == 1 else 's'}"
        if exactness is Exactness.UNKNOWN:
            figures.append(Figure(exactness.label, calls, (_NOTES[exactness],)))
        else:
            share = f"{share_of(spend.cost_usd, cost).text} of spend, {calls}" if cost else calls
            figures.append(Figure(exactness.label, usd(spend.cost_usd), (share, _NOTES[exactness])))
    return figures


def _no_models(pages: Paging) -> SafeString | str:
    if not pages.is_beyond:
        return ""
    return format_html("This page does not exist. {}", formatting.link(pages.last_url, "Go to the last page"))


def _signed(amount: Decimal) -> str:
    return f"+{usd(amount)}" if amount > 0 else usd(amount)


def _side_by_side(difference: CallDifference) -> Table[ComparedLine]:
    """Return the lines of both costs. Without lines, the reported cost is only a total."""
    is_explained = any(line.reported is not None for line in difference.lines)
    columns = (
        Column[ComparedLine]("Charged for", lambda line: formatting.KIND_LABELS[line.kind]),
        Column[ComparedLine]("Computed", lambda line: _charge(line.computed), is_number=True),
        Column[ComparedLine]("Amount", lambda line: _amount(line.computed), is_number=True),
        Column[ComparedLine](
            "Reported, explained", lambda line: _charge(line.reported) if is_explained else "", is_number=True
        ),
        Column[ComparedLine]("Amount", lambda line: _amount(line.reported) if is_explained else "", is_number=True),
    )
    foot = (("Total", formatting.exact(difference.computed_usd), "", formatting.exact(difference.reported_usd)),)
    title = f"Lines of {difference.event.pk}"
    return Table(title, columns, difference.lines, foot=foot)


def _charge(line: QuoteLine | None) -> str:
    if line is None:
        return "not charged"
    return f"{formatting.quantity(line.quantity)} at {formatting.unit_price(line.kind, line.unit_price_usd)}"


def _amount(line: QuoteLine | None) -> str:
    return formatting.NOTHING if line is None else formatting.exact(line.amount_usd)


register_page("price-check/", PriceCheckPage.as_view(), name="price_check")
register_page("files/price-check/", PriceCheckDownload.as_view(), name="price_check_file")
