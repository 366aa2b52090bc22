"""The page of commitments: fixed fees, what of them is used and idle, what a token actually costs, and covered usage.

Owners and admins add and end commitments.

Its numbers are those of `GET /usage/commitments/report`.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminDateWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, Card, EmptyState, Figure
from billing.admin.components.form_fields import MoneyField
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.percent_bar import percent_bar
from billing.admin.components.source_fields import add_source_fields, source_in, source_text
from billing.admin.components.table_files import TableFilesPage
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url
from billing.commitments import MAX_NAME_LENGTH, NewCommitment, create_commitment, end_commitment
from billing.models import Commitment
from billing.reports.commitments import CommitmentReport, CommitmentUse, commitment_report, list_commitments
from billing.reports.months import last_months, month_choices, this_month, visible_months
from billing.types import CommitmentKind, FeePeriod
from costtrack.admin_site import register_page
from costtrack.date_text import day_text
from costtrack.dates import parse_month
from costtrack.errors import DomainError, ForbiddenError, InvalidError
from costtrack.file_columns import Kind, computed
from costtrack.money import usd
from organizations.admin_actions import add_service_error

_MONTHS_OFFERED = 24


class MonthForm(forms.Form):
    month = forms.ChoiceField(required=False, label="Month")

    def __init__(self, data: Any, *, months: Sequence[date]) -> None:
        super().__init__(data)
        self.fields["month"].choices = month_choices(months)  # type: ignore[attr-defined] # typed as the base class


class CommitmentsPage(TableFilesPage):
    title: ClassVar[str] = "Commitments"
    template_name: ClassVar[str] = "admin/dashboard/commitments.html"
    stylesheets = ("costtrack/breakdowns.css",)
    refresh_seconds: ClassVar[int] = 0

    def page_context(self) -> dict[str, Any]:
        current = this_month(self.organization, self.now)
        months = visible_months(
            self.organization, last_months(current, _MONTHS_OFFERED), rights=self.plan_rights, now=self.now
        )
        form = MonthForm(self.request.GET, months=[month.month for month in months])
        context = {"form": form}
        if not form.is_valid():
            return {**context, "empty": INVALID_FILTERS}
        commitments = list_commitments(self.organization)
        if not commitments:
            return {**context, "empty": self._first_use()}
        chosen = form.cleaned_data["month"]
        month = next(month for month in months if month.month == (parse_month(chosen) if chosen else current))
        try:
            report = commitment_report(organization=self.organization, month=month, now=self.now)
        except InvalidError as error:
            return {**context, "empty": EmptyState("hourglass_disabled", "Too many events", error.message)}
        return {
            **context,
            "figures": _figures(report),
            "cards": [self._uses_card(report), self._list_card(commitments)],
        }

    def _first_use(self) -> EmptyState:
        text = (
            "Record what you pay as a fixed fee, such as a subscription or provisioned capacity, and the usage that it "
            "covers. This page then shows the used and the idle part of the fee, what a token actually costs, and the "
            "covered usage apart from what is billed by use."
        )
        links = [("New commitment", admin_url("commitment"))] if self.role.may_change else []
        return EmptyState("payments", "No commitments yet", text, links, is_first_use=True)

    def _list_card(self, commitments: Sequence[Commitment]) -> Card:
        columns = (
            Column[Commitment]("Name", self._name),
            Column[Commitment]("Kind", lambda row: CommitmentKind(row.kind).label),
            Column[Commitment]("Fee", _fee, is_number=True),
            Column[Commitment]("Covers", lambda row: source_text(row.covers)),
            Column[Commitment]("From", lambda row: day_text(row.starts), is_number=True),
            Column[Commitment](
                "Until", lambda row: day_text(row.ends) if row.ends is not None else formatting.NOTHING, is_number=True
            ),
            Column[Commitment]("Added", lambda row: formatting.two_lines(row.actor, self.times.inline(row.created_at))),
        )
        text = "Terms cannot be changed: end a commitment and add a new one. If several cover a call, the first counts."
        link = ("New commitment", admin_url("commitment")) if self.role.may_change else None
        file = self.table_file("commitments", _COMMITMENT_COLUMNS, lambda: commitments)
        table = Table("All commitments", columns, commitments, file=file)
        return Card("All commitments", text=text, table=table, link=link)

    def _name(self, row: Commitment) -> SafeString | str:
        if not self.role.may_change:
            return row.name
        return formatting.link(admin_url("commitment", id=row.pk), row.name)

    def _uses_card(self, report: CommitmentReport) -> Card:
        columns = (
            Column[CommitmentUse]("Commitment", lambda use: use.commitment.name),
            Column[CommitmentUse](
                "Fee until now",
                lambda use: formatting.two_lines(usd(use.accrued_usd), f"of {usd(use.committed_usd)}"),
                is_number=True,
            ),
            Column[CommitmentUse]("Used", lambda use: percent_bar(use.used_usd, use.accrued_usd)),
            Column[CommitmentUse]("Idle", lambda use: usd(use.idle_usd), is_number=True),
            Column[CommitmentUse]("Tokens", lambda use: formatting.compact(use.usage.tokens), is_number=True),
            Column[CommitmentUse]("Per million tokens", _price, is_number=True),
            Column[CommitmentUse]("Notional cost", lambda use: usd(use.usage.cost_usd), is_number=True),
        )
        text = (
            "Used: the tokens compared with the capacity or, without one, the notional cost compared with the fee. "
            "Other pages show covered usage at its notional cost."
        )
        file = self.table_file("use-of-commitments", _USE_COLUMNS, lambda: report.uses)
        empty = "No commitment in this month."
        table = Table("Use of commitments", columns, report.uses, empty=empty, file=file)
        return Card(f"{report.month.month:%B %Y}", text=text, table=table)


_COMMITMENT_COLUMNS = (
    *computed(Kind.TEXT, name=lambda row: row.name, kind=lambda row: row.kind),
    *computed(Kind.AMOUNT, amount_usd=lambda row: row.amount_usd),
    *computed(Kind.TEXT, period=lambda row: row.period, covers=lambda row: source_text(row.covers)),
    *computed(Kind.TEXT, starts=lambda row: row.starts.isoformat(), ends=lambda row: row.ends and row.ends.isoformat()),
    *computed(Kind.COUNT, tokens_per_minute=lambda row: row.tokens_per_minute),
    *computed(Kind.TEXT, actor=lambda row: row.actor),
    *computed(Kind.TIME, created_at=lambda row: row.created_at),
)
_USE_COLUMNS = (
    *computed(Kind.TEXT, name=lambda use: use.commitment.name),
    *computed(Kind.AMOUNT, committed_usd=lambda use: use.committed_usd, accrued_usd=lambda use: use.accrued_usd),
    *computed(Kind.AMOUNT, used_usd=lambda use: use.used_usd, idle_usd=lambda use: use.idle_usd),
    *computed(Kind.COUNT, requests=lambda use: use.usage.requests, tokens=lambda use: use.usage.tokens),
    *computed(Kind.AMOUNT, usd_per_million_tokens=lambda use: use.usd_per_million_tokens),
    *computed(Kind.AMOUNT, notional_usd=lambda use: use.usage.cost_usd),
)


def _figures(report: CommitmentReport) -> list[Figure]:
    month = f"{report.month.month:%B %Y}"
    return [
        Figure("Spend", usd(report.spend_usd), (f"{month}, fees and metered usage",)),
        Figure("Fees", usd(report.fees_usd), (f"{usd(report.idle_usd)} idle",)),
        Figure("Metered usage", usd(report.metered.cost_usd), ("Not covered by a commitment",)),
        Figure("Covered usage", usd(report.notional_usd), ("Notional: its cost at metered prices",)),
    ]


def _price(use: CommitmentUse) -> str:
    price = use.usd_per_million_tokens
    return usd(price) if price is not None else formatting.NOTHING


def _fee(row: Commitment) -> str:
    return f"{formatting.exact(row.amount_usd)} per {FeePeriod(row.period).label.lower()}"


class CommitmentForm(forms.Form):
    """The terms of a new commitment. The service validates them."""

    name = forms.CharField(max_length=MAX_NAME_LENGTH, widget=UnfoldAdminTextInputWidget())
    kind = forms.ChoiceField(choices=CommitmentKind.choices, widget=UnfoldAdminSelectWidget())
    amount_usd = MoneyField(label="Fee (US dollars)")
    period = forms.ChoiceField(
        choices=FeePeriod.choices, initial=FeePeriod.MONTH, label="For each", widget=UnfoldAdminSelectWidget()
    )
    starts = forms.DateField(label="First day", widget=UnfoldAdminDateWidget)
    ends = forms.DateField(label="Last day", required=False, widget=UnfoldAdminDateWidget, help_text="Empty: no end.")
    tokens_per_minute = forms.IntegerField(
        required=False,
        min_value=1,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        help_text="What provisioned capacity can process. Empty: the notional cost is compared with the fee.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        add_source_fields(self)

    def commitment(self) -> NewCommitment:
        given = self.cleaned_data
        return NewCommitment(
            name=given["name"],
            kind=CommitmentKind(given["kind"]),
            amount_usd=given["amount_usd"],
            period=FeePeriod(given["period"]),
            starts=given["starts"],
            ends=given["ends"],
            covers=source_in(given),
            tokens_per_minute=given["tokens_per_minute"],
        )


class EndCommitmentForm(forms.Form):
    ends = forms.DateField(label="Last day", widget=UnfoldAdminDateWidget)


class CommitmentPage(OrganizationPage):
    """A new commitment, or the end of the one with the `id` of the query."""

    title: ClassVar[str] = "Commitment"
    template_name: ClassVar[str] = "admin/confirm_action.html"
    refresh_seconds: ClassVar[int] = 0

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self._show(self._form(), self._row())

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form, row = self._form(), self._row()
        if form.is_valid():
            try:
                if row is None and isinstance(form, CommitmentForm):
                    commitment = form.commitment()
                    create_commitment(
                        organization=self.organization, commitment=commitment, actor=self.user.email, now=self.now
                    )
                    messages.success(request, "Commitment added.")
                elif row is not None:
                    ends = form.cleaned_data["ends"]
                    end_commitment(
                        organization=self.organization, commitment_id=row.pk, ends=ends, actor=self.user.email
                    )
                    messages.success(request, f"The commitment ends on {day_text(ends)}.")
                return HttpResponseRedirect(admin_url("commitments"))
            except DomainError as error:
                add_service_error(form, error)
        return self._show(form, row)

    def _form(self) -> CommitmentForm | EndCommitmentForm:
        if not self.role.may_change:
            raise ForbiddenError("Your role may not change commitments.", code="missing_scope")
        data = self.request.POST if self.request.method == "POST" else None
        return CommitmentForm(data) if self._row() is None else EndCommitmentForm(data)

    def _row(self) -> Commitment | None:
        text = self.request.GET.get("id", "")
        if not text:
            return None
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0  # noqa: PLR2004 - digits of a bigint
        return Commitment.objects.of(self.organization).get_or_not_found("commitment", pk=number)

    def _show(self, form: forms.Form, row: Commitment | None) -> HttpResponseBase:
        text = (
            "A commitment changes no event and no limit. Name the usage that the fee covers."
            if row is None
            else f"{row.name}: {_fee(row)}, from {day_text(row.starts)} on. Later usage is metered again."
        )
        context = {
            "title": "New commitment" if row is None else "End commitment",
            "subject": "" if row is None else source_text(row.covers),
            "text": text,
            "form": form,
            "media": forms.Media(js=["admin/js/core.js"]) + form.media,
            "verb": "Add commitment" if row is None else "End commitment",
            "back": admin_url("commitments"),
        }
        return self._respond(self.template_name, context)


register_page("commitments/", CommitmentsPage.as_view(), name="commitments")
register_page("commitments/commitment/", CommitmentPage.as_view(), name="commitment")
