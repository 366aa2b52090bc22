"""The page of shared cost: each team, end user or tag before and after the rules, and the share of spend that has one.

Its numbers are those of `GET /usage/allocation` and `/usage/allocation/months`.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, Card, EmptyState, Figure
from billing.admin.components.charts import Chart, Line
from billing.admin.components.files import FileView
from billing.admin.components.form_fields import text_filter
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.source_fields import source_text
from billing.admin.components.table_files import TableFiles, TableFilesPage
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url
from billing.exports.allocation_files import AllocationFile
from billing.exports.focus import FOCUS_FORMATS, VERSIONS
from billing.exports.table_files import FileQuery
from billing.models import AllocationRule
from billing.reports.allocation.allocation import Allocation, RuleResult, TargetCost, allocations
from billing.reports.allocation.rules import AllocationBasis, SplitRule, applicable, list_rules
from billing.reports.months import last_months, month_choices, this_month, visible_months
from billing.types import AllocationTarget, SplitMethod
from costtrack.admin_site import register_page
from costtrack.dates import parse_month
from costtrack.errors import InvalidError
from costtrack.file_columns import FileLinks, Kind, attributes, computed
from costtrack.money import plain, usd

_MONTHS_OFFERED = 24
_MONTHS_SHOWN = 6
_TARGETS_SHOWN = 500
BY_CHOICES = AllocationTarget.choices


class AllocationForm(forms.Form):
    month = forms.ChoiceField(required=False, label="Month")
    by = forms.ChoiceField(required=False, choices=BY_CHOICES, label="By")
    tag_prefix = text_filter("Tags that begin with", type="search", placeholder="All tags")

    def __init__(self, data: Any, *, months: Sequence[date]) -> None:
        super().__init__(data)
        self.fields["month"].choices = month_choices(months)  # type: ignore[attr-defined] # django-stubs types fields as the base class

    @property
    def basis(self) -> AllocationBasis:
        target = AllocationTarget(self.cleaned_data["by"] or AllocationTarget.TEAM)
        prefix = self.cleaned_data["tag_prefix"] if target is AllocationTarget.TAG else ""
        return AllocationBasis(target, prefix)

    def month_or(self, default: date) -> date:
        chosen = self.cleaned_data["month"]
        return parse_month(chosen) if chosen else default


_RULE_COLUMNS = (
    *attributes(Kind.TEXT, "name", "starts"),
    *computed(
        Kind.TEXT,
        splits=lambda row: rule_source_text(SplitRule.of(row)),
        how=lambda row: _ended_or(row, how_text(SplitRule.of(row))),
    ),
    *attributes(Kind.COUNT, "position"),
    *attributes(Kind.TEXT, "actor"),
    *attributes(Kind.TIME, "created_at"),
)


class AllocationQueryPage(OrganizationPage):
    """The form of a month and a basis, and the months that the plan shows."""

    @property
    def months(self) -> list[date]:
        months = last_months(this_month(self.organization, self.now), _MONTHS_OFFERED)
        return [month.month for month in self._visible(months)]

    def _visible(self, months: list[date]) -> list[Any]:
        return visible_months(self.organization, months, rights=self.plan_rights, now=self.now)

    def read(self, basis: AllocationBasis, months: list[date]) -> list[Allocation]:
        return allocations(organization=self.organization, basis=basis, months=self._visible(months))


class AllocationPage(TableFilesPage, AllocationQueryPage):
    title: ClassVar[str] = "Shared cost"
    template_name: ClassVar[str] = "admin/dashboard/allocation.html"
    stylesheets = ("costtrack/breakdowns.css",)
    refresh_seconds: ClassVar[int] = 0  # by tag, it reads every event of the months

    def page_context(self) -> dict[str, Any]:
        form = AllocationForm(self.request.GET, months=self.months)
        if not form.is_valid():
            return {"form": form, "empty": INVALID_FILTERS}
        current, basis = this_month(self.organization, self.now), form.basis
        month = form.month_or(current)
        parameters = {"by": basis.target.value, "tag_prefix": basis.tag_prefix}
        context = {
            "form": form,
            "versions": self._versions_card(basis, current, parameters),
        }
        try:
            shown = self.read(basis, last_months(month, _MONTHS_SHOWN))
        except InvalidError:
            try:
                shown = self.read(basis, [month])
            except InvalidError as error:
                empty = EmptyState("hourglass_disabled", "Too many events", error.message)
                return {**context, "empty": empty}
        if not shown or not shown[-1].cost_usd:
            return {**context, "empty": self._empty_state(month)}
        allocation = shown[-1]
        return {
            **context,
            "figures": allocation_figures(allocation),
            "chart": _chart(shown) if len(shown) > 1 else None,
            "cards": [
                targets_card(allocation, self._files(month, parameters)),
                *rule_cards(allocation, self.files_of_tables),
            ],
            "focus_files": self._focus_files(month, parameters),
            "month": f"{month:%B %Y}",
            "note": self._note(allocation),
        }

    def _note(self, allocation: Allocation) -> str:
        """Return how the month relates to its statement; empty if no month is closed."""
        if allocation.closed_at is not None:
            return f"The month was closed {self.times.inline(allocation.closed_at)} and no longer changes."
        if allocation.is_booked:
            return "By time of booking, as in the statement: with corrections of closed months."
        return ""

    def _files(self, month: date, parameters: dict[str, str]) -> FileLinks:
        refusal = self.plan_rights.exports_refusal()
        if refusal is not None:
            return FileLinks(refused=refusal.message)
        return FileLinks.of(admin_url("allocation_file"), urlencode({**parameters, "month": f"{month:%Y-%m}"}))

    def _focus_files(self, month: date, parameters: dict[str, str]) -> list[tuple[str, str]]:
        if self.plan_rights.exports_refusal() is not None:
            return []
        given = {**parameters, "month": f"{month:%Y-%m}"}
        return [
            (f"FOCUS {version} {label}", f"{admin_url('statement_focus')}?{urlencode({**given, **chosen})}")
            for version in VERSIONS
            for file_format, label in FOCUS_FORMATS
            for chosen in ({"version": version, "format": file_format.value},)
        ]

    def _versions_card(self, basis: AllocationBasis, current: date, parameters: dict[str, str]) -> Card:
        rows = list_rules(self.organization, basis)
        applying = {rule.version for rule in applicable(rows, current)}
        columns = (
            Column[AllocationRule]("Rule", self._rule_name),
            Column[AllocationRule]("From", lambda row: f"{row.starts:%b %Y}", is_number=True),
            Column[AllocationRule]("Splits", lambda row: rule_source_text(SplitRule.of(row))),
            Column[AllocationRule]("How", lambda row: _ended_or(row, how_text(SplitRule.of(row)))),
            Column[AllocationRule]("Order", lambda row: formatting.count(row.position), is_number=True),
            Column[AllocationRule](
                "State",
                lambda row: formatting.badge("Applies", "success") if row.pk in applying else formatting.NOTHING,
            ),
            Column[AllocationRule](
                "Added", lambda row: formatting.two_lines(row.actor, self.times.inline(row.created_at))
            ),
        )
        empty = "No rules yet. A rule splits costs without a target, or the costs of a shared key or model."
        file = self.table_file("rules", _RULE_COLUMNS, lambda: rows)
        table = Table("Rules", columns, rows, empty=empty, file=file)
        text = "Versions never change. A new one applies from its month on, so earlier months stay as they are."
        link = ("New rule", admin_url("allocation_rule", **parameters)) if self.role.may_change else None
        return Card("Rules", text=text, table=table, link=link)

    def _rule_name(self, row: AllocationRule) -> SafeString | str:
        if not self.role.may_change:
            return row.name
        return formatting.link(admin_url("allocation_rule", version=row.pk), row.name)

    def _empty_state(self, month: date) -> EmptyState:
        links = [("Send events", admin_url("getting_started")), ("View usage", admin_url("usage"))]
        return EmptyState("payments", f"No cost in {month:%B %Y}", "Choose another month.", links)


class AllocationFilePage(FileView, AllocationQueryPage):
    """The targets of a month as a file."""

    def file_query(self) -> FileQuery:
        form = AllocationForm(self.request.GET, months=self.months)
        if not form.is_valid():
            raise InvalidError("These filters are invalid.")
        months = self._visible([form.month_or(this_month(self.organization, self.now))])
        return AllocationFile(basis=form.basis, months=tuple(months))


def allocation_figures(allocation: Allocation) -> list[Figure]:
    label = AllocationTarget(allocation.basis.target).label.lower()
    unallocated, cost = allocation.unallocated, allocation.cost_usd
    return [
        Figure("Cost", usd(cost), (f"{allocation.month:%B %Y}, exactly {formatting.exact(cost)}",)),
        Figure(
            f"With a {label}" if label[0] not in "aeiou" else f"With an {label}",
            _percent(allocation.direct_share),
            ("By its usage",),
        ),
        Figure(
            "With shared cost",
            _percent(allocation.allocated_share),
            (f"{usd(unallocated.direct_usd - unallocated.total_usd)} allocated by rules",),
        ),
        Figure("Unallocated", usd(unallocated.total_usd), (f"{usd(unallocated.direct_usd)} before the rules",)),
    ]


def targets_card(allocation: Allocation, files: FileLinks | None = None) -> Card:
    """Return each target before and after, all of which add up to the cost."""
    label = str(AllocationTarget(allocation.basis.target).label)
    cost = allocation.cost_usd
    columns = (
        Column[TargetCost](
            label, lambda row: formatting.name(row.target) if row.target else formatting.strong("Unallocated")
        ),
        Column[TargetCost]("Before", lambda row: _rounded(row.direct_usd), is_number=True),
        Column[TargetCost]("Split by rules", lambda row: _difference(-row.taken_usd), is_number=True),
        Column[TargetCost]("Shares", lambda row: _difference(row.given_usd), is_number=True),
        Column[TargetCost]("After", lambda row: formatting.strong(_rounded(row.total_usd)), is_number=True),
    )
    rows = [*allocation.targets[:_TARGETS_SHOWN], allocation.unallocated]
    hidden = len(allocation.targets) - _TARGETS_SHOWN
    note = f"{formatting.count(hidden)} more are in the file." if hidden > 0 else ""
    foot = (("Total", _rounded(cost), "", "", _rounded(cost)),)
    table = Table("Cost before and after", columns, rows, foot=foot, note=note, file=files)
    return Card("Before and after", table=table)


def rule_cards(allocation: Allocation, files: TableFiles | None = None) -> list[Card]:
    """Return what each rule has split, by target; without `files` for a preview."""
    return [_rule_card(result, files) for result in allocation.rules]


def _rule_card(result: RuleResult, files: TableFiles | None) -> Card:
    total = sum(result.weights.values())
    columns = (
        Column[tuple[str, Any]]("Target", lambda row: formatting.name(row[0])),
        Column[tuple[str, Any]](
            "Share", lambda row: f"{float(result.weights[row[0]] / total * 100):.4g}%", is_number=True
        ),
        Column[tuple[str, Any]]("Amount", lambda row: _rounded(row[1]), is_number=True),
    )
    rows = sorted(result.given.items(), key=lambda row: (-row[1], row[0]))
    file_columns = (
        *computed(Kind.TEXT, target=lambda row: row[0]),
        *computed(Kind.DECIMAL, share=lambda row: result.weights[row[0]] / total),
        *computed(Kind.AMOUNT, amount_usd=lambda row: row[1]),
    )
    file = files.file(f"rule-{result.rule.version}", file_columns, lambda: rows) if files is not None else None
    title = f"Shares of {result.rule.name}"
    empty = "No target has usage to divide by, so this cost stays where it is."
    text = f"{rule_source_text(result.rule)}. {how_text(result.rule)}."
    return Card(
        result.rule.name,
        amount=_rounded(result.source_usd),
        text=text,
        table=Table(title, columns, rows[:_TARGETS_SHOWN], empty=empty, file=file),
    )


def rule_source_text(rule: SplitRule) -> str:
    """Return which usage a rule splits, in words."""
    named = source_text(rule.source.values)
    usage = f"Usage with {named}" if named else "Usage"
    return f"{usage} without a target" if rule.without_target_only else usage


def how_text(rule: SplitRule) -> str:
    """Return how a rule divides, in words."""
    names = ", ".join(
        f"{name} {plain(share)}%" if share is not None else name for name, share in sorted(rule.targets.items())
    )
    among = names or "all with usage"
    if rule.method is SplitMethod.FIXED:
        return names
    if rule.method is SplitMethod.EVEN:
        return f"Evenly: {among}"
    measure = str(rule.measure.label).lower() if rule.measure is not None else ""
    of = " of this usage" if rule.measures_source else ""
    return f"In proportion to {measure}{of}: {among}"


def _month_label(row: Allocation) -> str:
    share = f" ({_percent(row.allocated_share)})" if row.allocated_share is not None else ""
    return f"{row.month:%b %Y}{share}"


def _chart(shown: Sequence[Allocation]) -> Chart:
    direct = [row.cost_usd - row.unallocated.direct_usd for row in shown]
    by_rules = [row.unallocated.direct_usd - row.unallocated.total_usd for row in shown]
    unallocated = [row.unallocated.total_usd for row in shown]
    label = str(AllocationTarget(shown[0].basis.target).label).lower()
    return Chart(
        title="Cost by month (share with a target)",
        labels=[_month_label(row) for row in shown],
        lines=[
            Line.of_costs(f"By {label}", direct),
            Line.of_costs("By rules", by_rules),
            Line.of_costs("Unallocated", unallocated),
        ],
        unit="usd",
    )


def _ended_or(row: AllocationRule, text: str) -> SafeString | str:
    return formatting.badge("Ended") if row.is_ended else text


def _percent(share: float | None) -> str:
    return f"{share:.1%}" if share is not None else formatting.NOTHING


def _rounded(amount: Decimal) -> SafeString:
    """Render an amount with all its digits in the tooltip: a third of a cost has 24 of them."""
    return format_html('<span title="{}">{}</span>', formatting.exact(amount), usd(amount))


def _difference(amount: Decimal) -> SafeString | str:
    if not amount:
        return formatting.NOTHING
    return format_html('<span title="{}">{}{}</span>', formatting.difference(amount), "+" * (amount > 0), usd(amount))


register_page("allocation/", AllocationPage.as_view(), name="allocation")
register_page("allocation/file/", AllocationFilePage.as_view(), name="allocation_file")
