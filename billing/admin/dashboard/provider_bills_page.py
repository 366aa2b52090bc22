"""The page of provider bills: coverage by day, the differences from the ledger with their causes, and imported files.

Its numbers are those of `GET /usage/provider-bills`. Owners and admins import files.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_protect
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, Card, EmptyState, Figure
from billing.admin.components.charts import Chart, Line
from billing.admin.components.form_fields import text_filter
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.table_files import TableFilesPage, all_pages
from billing.admin.components.tables import Column, Table
from billing.admin.components.uploads import hold_in_memory
from billing.admin.components.urls import admin_url
from billing.admin.dashboard.bill_connections_page import connections_card
from billing.models import BillImport
from billing.provider_bills.bill_connections import list_connections
from billing.provider_bills.imports import (
    MAX_ACCOUNT_LENGTH,
    MAX_BYTES,
    MAX_PROVIDER_LENGTH,
    NewBill,
    import_bill,
)
from billing.reports.provider_bills import (
    MAX_DAYS,
    BillComparison,
    BillDayState,
    BillDifference,
    BillKeyUse,
    compare_bills,
    list_imports,
    list_key_uses,
)
from billing.types import BillCause, BillFormat
from costtrack.admin_site import register_page
from costtrack.calendar import Window
from costtrack.clock import DAY
from costtrack.date_text import day_text, days_text, short_day_text
from costtrack.dates import UTC_CALENDAR
from costtrack.errors import DomainError, ForbiddenError, InvalidError
from costtrack.file_columns import ComputedColumn, Kind, attributes
from costtrack.money import ZERO, usd
from organizations.admin_actions import add_service_error

_SHOWN_ROWS = 100
_SHOWN_IMPORTS = 25
_IMPORTS_READ = 1_000
"""At a time, for a file."""
_PERIODS = (("7", "Last 7 days"), ("30", "Last 30 days"), (str(MAX_DAYS), f"Last {MAX_DAYS} days"))
_MULTIPART_BYTES = 64 * 1024  # of the form besides the file
_HELP = (
    "Import a report of costs and a report of usage from OpenAI or Anthropic, OpenRouter's activity, or a CSV of "
    "another provider. This page then compares each day and model with your calls, and shows why amounts differ: "
    "missing calls, another price, or a bill that is not complete yet."
)


def _part_of(row: BillDifference, *, cause: BillCause) -> Decimal | None:
    return row.parts.get(cause)


_DIFFERENCE_COLUMNS = (
    *attributes(Kind.TEXT, "day", "provider", "key"),
    *attributes(Kind.BOOLEAN, "is_foreign", "is_unassigned"),
    *attributes(Kind.TEXT, "model"),
    *attributes(Kind.AMOUNT, "bill.amount_usd", "ledger.amount_usd", "difference_usd"),
    *(ComputedColumn(f"{cause.value}_usd", Kind.AMOUNT, partial(_part_of, cause=cause)) for cause in BillCause),
    *attributes(Kind.AMOUNT, "bill.total_tokens", "ledger.total_tokens"),
    *attributes(Kind.COUNT, "requests", "unpriced_events"),
)
_DAY_COLUMNS = (
    *attributes(Kind.TEXT, "day", "provider"),
    *attributes(Kind.BOOLEAN, "is_closed"),
    *attributes(Kind.AMOUNT, "bill_usd", "ledger_usd", "bill_tokens", "ledger_tokens"),
    *attributes(Kind.DECIMAL, "coverage"),
    *attributes(Kind.TIME, "fetched_at"),
)
_KEY_COLUMNS = (
    *attributes(Kind.TEXT, "provider", "key"),
    *attributes(Kind.AMOUNT, "amount_usd"),
    *attributes(Kind.TEXT, "client_id"),
)
_IMPORT_COLUMNS = (
    *attributes(Kind.TEXT, "file_name", "provider", "account", "format", "first_day", "last_day"),
    *attributes(Kind.COUNT, "row_count"),
    *attributes(Kind.AMOUNT, "amount_usd"),
    *attributes(Kind.TEXT, "actor"),
    *attributes(Kind.TIME, "created_at"),
)


class BillsForm(forms.Form):
    days = forms.ChoiceField(required=False, choices=_PERIODS, label="Period")
    provider = text_filter("Provider", type="search", placeholder="All")

    def __init__(self, data: Any) -> None:
        super().__init__({**data.dict(), "days": data.get("days") or _PERIODS[1][0]})


class ProviderBillsPage(TableFilesPage):
    title: ClassVar[str] = "Provider bills"
    template_name: ClassVar[str] = "admin/dashboard/provider_bills.html"
    stylesheets = ("costtrack/breakdowns.css",)
    refresh_seconds: ClassVar[int] = 0

    def page_context(self) -> dict[str, Any]:
        form = BillsForm(self.request.GET)
        context: dict[str, Any] = {"form": form}
        if not form.is_valid():
            return {**context, "empty": INVALID_FILTERS}
        imports = list_imports(self.organization, limit=_SHOWN_IMPORTS)
        links = [("Import bill", admin_url("import_provider_bill"))] if self.role.may_change else []
        connections = list_connections(self.organization)
        fetching = connections_card(
            connections, self, ("Connections", admin_url("bill_connections")), has_actions=False
        )
        if not imports and connections:
            return {**context, "cards": [fetching]}
        if not imports:
            links += [("Fetch bills each night", admin_url("bill_connections"))] if links else []
            empty = EmptyState("receipt", "No provider bills yet", _HELP, links, is_first_use=True)
            return {**context, "empty": empty}
        last = self.now.date()
        first = last - timedelta(days=int(form.cleaned_data["days"]) - 1)
        start = self.plan_rights.visible(
            Window(UTC_CALENDAR.start_of(first), UTC_CALENDAR.start_of(last + DAY)), now=self.now
        ).start
        if start is not None and start > UTC_CALENDAR.start_of(first):
            first = (start + DAY - timedelta(microseconds=1)).date()
        provider = form.cleaned_data["provider"].lower()
        try:
            comparison = compare_bills(organization=self.organization, first=first, last=last, provider=provider)
        except InvalidError as error:
            return {**context, "empty": EmptyState("hourglass_disabled", "Too many events", error.message)}
        return {
            **context,
            "figures": _figures(comparison),
            "chart": _coverage_chart(comparison.days),
            "cards": [
                self._differences(comparison.rows),
                self._days(comparison.days),
                *self._keys(list_key_uses(self.organization, first=first, last=last, provider=provider)),
                *([fetching] if connections else []),
                self._imports(imports, links[0] if links else None),
            ],
        }

    def _differences(self, rows: Sequence[BillDifference]) -> Card:
        differing = [row for row in rows if not row.agrees]
        columns = (
            Column[BillDifference]("Day", lambda row: formatting.two_lines(_day(row.day), row.provider)),
            Column[BillDifference](
                "Model", lambda row: formatting.two_lines(row.model or "Other charges", _key(row)), css="ct-names"
            ),
            Column[BillDifference]("Bill", lambda row: _usd(row.bill.amount_usd), is_number=True),
            Column[BillDifference]("Ledger", lambda row: usd(row.ledger.amount_usd or ZERO), is_number=True),
            Column[BillDifference]("Difference", lambda row: _signed(row.difference_usd), is_number=True),
            Column[BillDifference]("Causes", _causes),
            Column[BillDifference]("Tokens, bill and ledger", _tokens, is_number=True),
        )
        text = (
            f"The {_SHOWN_ROWS} largest of {formatting.count(len(differing))}. "
            if len(differing) > _SHOWN_ROWS
            else "The largest first. "
        )
        file = self.table_file("bill-differences", _DIFFERENCE_COLUMNS, lambda: differing)
        empty = "Bill and ledger agree in this period."
        table = Table("Differences", columns, differing[:_SHOWN_ROWS], empty=empty, file=file)
        return Card("Differences", text=f"{text}A positive difference: the bill is higher.", table=table)

    def _days(self, days: Sequence[BillDayState]) -> Card:
        columns = (
            Column[BillDayState]("Day", lambda day: formatting.two_lines(_day(day.day), day.provider)),
            Column[BillDayState]("Coverage", lambda day: _percent(day.coverage), is_number=True),
            Column[BillDayState]("Bill", lambda day: _usd(day.bill_usd), is_number=True),
            Column[BillDayState]("Ledger", lambda day: usd(day.ledger_usd), is_number=True),
            Column[BillDayState]("State", _state),
            Column[BillDayState]("Downloaded", lambda day: self.times.inline(day.fetched_at)),
        )
        text = (
            "Coverage is the share of the bill's tokens that the ledger has. A day is closed when two reports that "
            "were downloaded a day apart agree."
        )
        file = self.table_file("bill-days", _DAY_COLUMNS, lambda: days)
        table = Table("Days", columns, days, empty="No bill covers this period.", file=file)
        return Card("Days", text=text, table=table)

    def _keys(self, uses: Sequence[BillKeyUse]) -> list[Card]:
        """Return the card of keys; none if no bill has any."""
        if not uses:
            return []
        columns = [
            Column[BillKeyUse]("Key", lambda use: formatting.two_lines(use.key, use.provider)),
            Column[BillKeyUse]("Bill", lambda use: _usd(use.amount_usd), is_number=True),
            Column[BillKeyUse]("Compared with", _compared_with),
        ]
        if self.role.may_change:
            columns.append(Column[BillKeyUse]("Actions", _assign_link))
        first = f"The first {_SHOWN_ROWS} of {formatting.count(len(uses))} keys. " if len(uses) > _SHOWN_ROWS else ""
        text = "Assign each key to the credential whose calls it makes. Without assignments, all are compared together."
        file = self.table_file("bill-keys", _KEY_COLUMNS, lambda: uses)
        return [Card("Keys", text=first + text, table=Table("Keys", columns, uses[:_SHOWN_ROWS], file=file))]

    def _imports(self, imports: Sequence[BillImport], link: tuple[str, str] | None) -> Card:
        columns = (
            Column[BillImport](
                "File",
                lambda row: formatting.two_lines(row.file_name or "Without a name", _format(row)),
                css="ct-names",
            ),
            Column[BillImport]("Days", lambda row: days_text(row.first_day, row.last_day)),
            Column[BillImport]("Rows", lambda row: formatting.count(row.row_count), is_number=True),
            Column[BillImport]("Amount", lambda row: _usd(row.amount_usd), is_number=True),
            Column[BillImport](
                "Imported", lambda row: formatting.two_lines(row.actor, self.times.inline(row.created_at))
            ),
        )
        file = self.table_file("imported-bills", _IMPORT_COLUMNS, lambda: all_pages(self._read_imports))
        return Card("Imported files", table=Table("Imported files", columns, imports, file=file), link=link)

    def _read_imports(self, before: int | None) -> tuple[Sequence[BillImport], int | None]:
        rows = list_imports(self.organization, before=before, limit=_IMPORTS_READ)
        return rows, rows[-1].pk if len(rows) == _IMPORTS_READ else None


class BillImportForm(forms.Form):
    file = forms.FileField(label="File", widget=UnfoldAdminFileFieldWidget())
    provider = forms.CharField(
        required=False,
        max_length=MAX_PROVIDER_LENGTH,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Only for a CSV of another provider. Its columns are date, key, model, amount_usd, input_tokens, "
        "cache_read_tokens, cache_creation_tokens and output_tokens.",
    )
    account = forms.CharField(
        required=False,
        max_length=MAX_ACCOUNT_LENGTH,
        widget=UnfoldAdminTextInputWidget(),
        help_text="If you have several accounts of the provider.",
    )
    is_new_download = forms.BooleanField(
        required=False,
        label="Downloaded now",
        help_text="If you download a report again and it has not changed, it confirms its days.",
    )


class ImportProviderBillPage(OrganizationPage):
    title: ClassVar[str] = "Import bill"
    template_name: ClassVar[str] = "admin/dashboard/import_provider_bill.html"
    refresh_seconds: ClassVar[int] = 0

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self._check_may_import()
        return self._show(BillImportForm())

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self._check_may_import()
        form = BillImportForm(request.POST, request.FILES)
        if form.is_valid():
            given = form.cleaned_data
            bill = NewBill(
                content=given["file"].read(),
                file_name=given["file"].name,
                provider=given["provider"],
                account=given["account"],
                fetched_at=self.now if given["is_new_download"] else None,
            )
            try:
                result = import_bill(organization=self.organization, bill=bill, actor=self.user.email, now=self.now)
            except DomainError as error:
                if isinstance(error, InvalidError) and error.param == "content":
                    error = InvalidError(error.message.removeprefix("content: "), param="file")
                add_service_error(form, error)
                return self._show(form)
            days = f"{formatting.count(result.days)} day{'' if result.days == 1 else 's'}"
            text = "This file was imported before. Nothing has changed."
            messages.success(request, text if result.is_duplicate else f"Imported: {days}.")
            return HttpResponseRedirect(admin_url("provider_bills"))
        return self._show(form)

    def _check_may_import(self) -> None:
        if not self.role.may_change:
            raise ForbiddenError("Your role may not import bills.", code="missing_scope")

    def _show(self, form: forms.Form) -> HttpResponseBase:
        return self._respond(self.template_name, {"form": form, "back": admin_url("provider_bills")})


def _receive(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """Receive the file. The handler must be set before the form is read, so the token is checked here."""
    hold_in_memory(request)
    return csrf_protect(ImportProviderBillPage.as_view())(request, *args, **kwargs)


_receive.csrf_exempt = True  # type: ignore[attr-defined]
_receive.max_body_bytes = MAX_BYTES + _MULTIPART_BYTES  # type: ignore[attr-defined]


def _figures(comparison: BillComparison) -> list[Figure]:
    parts = [f"{BillCause(cause).label} {_signed(amount)}" for cause, amount in comparison.parts.items() if amount]
    return [
        Figure("Bill", usd(comparison.bill_usd), ("Days in UTC, as providers bill",)),
        Figure("Ledger", usd(comparison.ledger_usd), ("The same days",)),
        Figure("Difference", _signed(comparison.difference_usd), parts or ("No difference",)),
        Figure("Coverage", _percent(comparison.coverage), ("Of the bill's tokens",)),
    ]


def _coverage_chart(days: Sequence[BillDayState]) -> Chart | None:
    """Return the coverage of each provider over time; None if there are less than two days of it."""
    known = {(day.provider, day.day): day.coverage for day in days if day.coverage is not None}
    dates = sorted({day for _, day in known})
    if len(dates) < 2:  # noqa: PLR2004 - a line needs two points
        return None
    lines = []
    for provider in sorted({provider for provider, _ in known}):
        shares = [known.get((provider, day)) for day in dates]
        values = [None if share is None else float(share) for share in shares]
        lines.append(Line(provider, values, list(map(_percent, shares))))
    labels = list(map(short_day_text, dates))
    return Chart("Coverage by day", labels, lines, unit="percent", kind="line", is_stacked=False)


def _causes(row: BillDifference) -> SafeString | str:
    parts = [f"{BillCause(cause).label} {_signed(amount)}" for cause, amount in row.parts.items() if amount]
    return ", ".join(parts) or formatting.NOTHING


def _tokens(row: BillDifference) -> SafeString | str:
    bill = row.bill.total_tokens
    shown = formatting.count(int(bill)) if bill is not None else "unknown"
    return formatting.two_lines(shown, formatting.count(int(row.ledger.total_tokens or 0)))


def _day(day: date) -> SafeString:
    return format_html('<span class="ct-nowrap">{}</span>', day_text(day))


def _key(row: BillDifference) -> str:
    if row.is_foreign:
        return f"{row.key}, not your key"
    if row.is_unassigned:
        return f"{row.key}, not assigned"
    return row.key or "All other calls"


def _compared_with(use: BillKeyUse) -> str:
    if use.client_id is None:
        return "Not assigned"
    return use.client_id or "Nothing: not your key"


def _assign_link(use: BillKeyUse) -> SafeString:
    url = admin_url("bill_key", provider=use.provider, key=use.key)
    return formatting.link(url, "Assign" if use.client_id is None else "Change")


def _state(day: BillDayState) -> SafeString:
    return formatting.badge("Closed", "success") if day.is_closed else formatting.badge("Open", "info")


def _format(row: BillImport) -> str:
    return ", ".join(filter(None, (BillFormat(row.format).label, row.account)))


def _usd(amount: Any) -> str:
    return usd(amount) if amount is not None else formatting.NOTHING


def _signed(amount: Any) -> str:
    if amount is None:
        return formatting.NOTHING
    return f"+{usd(amount)}" if amount > 0 else usd(amount)


def _percent(share: Any) -> str:
    return f"{float(share):.1%}" if share is not None else formatting.NOTHING


register_page("provider-bills/", ProviderBillsPage.as_view(), name="provider_bills")
register_page("provider-bills/import/", _receive, name="import_provider_bill", resource=ImportProviderBillPage.resource)
