"""The admin of repricings: start a dry run, review it, and apply it."""

from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import chosen_time, local_time
from billing.admin.components.form_fields import reason_field
from billing.admin.components.model_admins import (
    OrganizationFilter,
    SingleOrganizationAdmin,
    shown_organization,
)
from billing.admin.components.table_files import TableFiles
from billing.admin.components.tables import Column, Table, column
from billing.admin.components.urls import admin_url
from billing.ledger.reprice import ModelFigures, Selection
from billing.ledger.repricings import figures_of, request_repricing
from billing.models import Repricing
from billing.types import RepricingState
from costtrack.calendar import Unit
from costtrack.clock import utc_now
from costtrack.date_fields import EndFormField, StartFormField, use_calendar
from costtrack.dates import UTC_CALENDAR
from costtrack.errors import ConflictError
from costtrack.file_columns import Kind, attributes, computed
from costtrack.text import MAX_REASON_LENGTH
from organizations.admin_actions import confirmed
from organizations.models import Organization
from organizations.permissions import PRICES

_MAX_ROWS = 200
_REFRESH_SECONDS = 2
_BADGES = {
    RepricingState.QUEUED: "warning",
    RepricingState.RUNNING: "info",
    RepricingState.DONE: "success",
    RepricingState.FAILED: "danger",
}
_HELP = {
    "service": "As named by the calls, for example openai. Empty: any.",
    "model": "As named by the calls. Empty: any. Only calls whose cost differs are changed.",
}


class RepricingForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    start = StartFormField(label="From", help_text="Includes calls at or after this time.")
    end = EndFormField(label="Until", help_text="Includes calls before this time; a date alone is included.")

    class Meta:
        model = Repricing
        fields = ("organization", "start", "end", "service", "model")
        help_texts = _HELP

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if isinstance(organization := self.initial.get("organization"), Organization):
            use_calendar(self, organization.calendar)

    def clean_organization(self) -> Organization:
        """Use the organization's time zone for the period, which is cleaned after this field."""
        organization: Organization = self.cleaned_data["organization"]
        use_calendar(self, organization.calendar)
        return organization

    def clean(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and fields["start"] >= fields["end"]:
            self.add_error("end", "The end must be after the start.")
        return fields


class ApplyForm(forms.Form):
    reason = reason_field(
        max_length=MAX_REASON_LENGTH, is_first=True, help_text="Stored with each event and in the audit log."
    )


@admin.register(Repricing)
class RepricingAdmin(SingleOrganizationAdmin):
    resource = PRICES
    changeable = False
    select_related = ("organization",)
    form = RepricingForm
    list_display = ("requested", "what", "period", "calls", "state_shown", "changed_calls", "difference")
    list_filter = (OrganizationFilter,)
    ordering = ("-id",)
    actions_detail = ("apply",)  # type: ignore[assignment]  # unfold declares an empty tuple
    add_label = "Reprice usage"
    empty_title = "No repricings yet"
    empty_text = (
        "When a past price is changed, calls keep their cost until their period is repriced. "
        "A dry run shows what would change."
    )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return RepricingForm.Meta.fields if obj is None else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        now = utc_now().replace(second=0, microsecond=0)
        organization = shown_organization(request)
        calendar = UTC_CALENDAR if organization is None else organization.calendar
        period = {"start": calendar.period(Unit.MONTH, now).start, "end": now}
        return {**period, **super().get_changeform_initial_data(request), "organization": organization}

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        selection = Selection(obj.start, obj.end, obj.service, obj.model)
        obj.pk = request_repricing(selection=selection, dry_run=True, reason="", **self.audited(request, obj)).pk

    def response_add(self, request: HttpRequest, obj: Model, post_url_continue: str | None = None) -> HttpResponse:
        return HttpResponseRedirect(self.page_url(obj))

    def cards(self, request: HttpRequest, row: Repricing) -> list[Card]:
        return [
            Card(
                amount=formatting.difference(row.difference_usd),
                text=_sentence(row),
                badges=self.state_shown(row),
                table=_figures(row, TableFiles(request, row.organization)),
            ),
            Card("Which calls", details=without_empty(_details(row))),
        ]

    def page_context(self, request: HttpRequest, row: Repricing) -> dict[str, Any]:
        may_apply = _can_be_applied(row) and self.has_manage_permission(request, row)
        return {
            "refresh_seconds": 0 if row.is_finished else _REFRESH_SECONDS,
            "total": row.total,
            "processed": row.processed,
            "apply_url": admin_url("billing_repricing_apply", row.pk) if may_apply else "",
        }

    # --- Applying ----------------------------------------------------------------------------------------------

    def available_actions(self, request: HttpRequest, row: Repricing) -> Collection[str]:
        """The page itself has the button, below the figures."""
        return ()

    def check_action(self, request: HttpRequest, row: Repricing, name: str) -> None:
        if not _can_be_applied(row):
            raise ConflictError("There is nothing to apply.")

    @confirmed("Apply", icon="check", title="Apply current prices", verb="Apply", form=ApplyForm)
    def apply(self, request: HttpRequest, dry_run: Repricing, *, reason: str) -> HttpResponse:
        """Apply a dry run as a new repricing; the dry run is unchanged."""
        selection = Selection(dry_run.start, dry_run.end, dry_run.service, dry_run.model)
        repricing = request_repricing(
            selection=selection, dry_run=False, reason=reason, **self.audited(request, dry_run)
        )
        return HttpResponseRedirect(self.page_url(repricing))

    def confirmation_context(self, request: HttpRequest, row: Repricing, name: str) -> dict[str, Any]:
        return {
            "subject": _sentence(row),
            "amount": formatting.difference(row.difference_usd),
            "table": _figures(row),
            "footer": "Applying adds an adjustment for each call whose cost changes; existing rows do not change. "
            "Repricing uses the prices at the time of processing, so the result may differ from this table if usage "
            "or prices change in the meantime.",
        }

    # --- Columns -----------------------------------------------------------------------------------------------

    requested = column(Repricing, "Requested", lambda row: formatting.two_lines(local_time(row.created_at), row.actor))
    what = column(Repricing, "What", lambda row: "Dry run" if row.dry_run else "Applied")
    period = column(
        Repricing, "From, until", lambda row: format_html("{}<br>{}", chosen_time(row.start), chosen_time(row.end))
    )
    calls = column(Repricing, "Calls", lambda row: formatting.two_lines(row.model or "All models", row.service))

    state_shown = column(Repricing, "State", lambda row: formatting.choice_badge(RepricingState(row.state), _BADGES))
    changed_calls = column(Repricing, "Changed", lambda row: formatting.count_or_nothing(row.changed))

    @admin.display(description="Difference")
    def difference(self, repricing: Repricing) -> str:
        return formatting.difference(repricing.difference_usd) if repricing.changed else formatting.NOTHING


def _can_be_applied(repricing: Repricing) -> bool:
    return repricing.dry_run and repricing.is_finished and repricing.changed > 0


_FIGURES = (
    Column[ModelFigures]("Model", lambda row: formatting.two_lines(row.model or "No model", row.service)),
    Column[ModelFigures]("Calls", lambda row: formatting.count(row.events), is_number=True),
    Column[ModelFigures]("Changed", lambda row: formatting.count_or_nothing(row.changed), is_number=True),
    Column[ModelFigures]("Skipped", lambda row: formatting.count_or_nothing(row.left_alone), is_number=True),
    Column[ModelFigures]("Cost before", lambda row: formatting.exact(row.old_usd), is_number=True),
    Column[ModelFigures]("Cost after", lambda row: formatting.exact(row.new_usd), is_number=True),
    Column[ModelFigures](
        "Difference",
        lambda row: formatting.difference(row.difference_usd) if row.difference_usd else formatting.NOTHING,
        is_number=True,
    ),
)


_FILE_COLUMNS = (
    *attributes(Kind.TEXT, "service", "model"),
    *attributes(Kind.COUNT, "events", "changed"),
    *computed(Kind.COUNT, skipped=lambda row: row.left_alone),
    *attributes(Kind.AMOUNT, "old_usd", "new_usd", "difference_usd"),
)


def _figures(repricing: Repricing, files: TableFiles | None = None) -> Table[ModelFigures]:
    """Return what each model's calls cost before and after, with the totals."""
    names = ("events", "changed", "left_alone", "old_usd", "new_usd")
    total = ModelFigures("", "All", **{name: getattr(repricing, name) for name in names})
    rows = figures_of(repricing)
    return Table(
        "Costs by model, before and after",
        _FIGURES,
        rows[:_MAX_ROWS],
        empty="No call in the period has a cost computed by costtrack." if repricing.is_finished else "",
        foot=[("All", *(column.cell(total) for column in _FIGURES[1:]))],
        note="Skipped calls were corrected manually, have no price yet, belong to a session closed by a summary, or "
        "have no current price."
        if repricing.left_alone
        else "",
        file=files.file("costs-by-model", _FILE_COLUMNS, lambda: rows) if files is not None else None,
    )


def _sentence(repricing: Repricing) -> str:
    if repricing.state == RepricingState.FAILED.value:
        return "The repricing failed. The adjustments that it has written are correct. Start it again for the rest."
    if not repricing.is_finished:
        return "This page refreshes automatically."
    if not repricing.changed:
        return "All calls already have the cost at current prices."
    changed, calls = formatting.count(repricing.changed), formatting.counted(repricing.events, "call")
    if repricing.dry_run:
        return f"{changed} of {calls} would cost a different amount at current prices."
    return f"{changed} of {calls} {'was' if repricing.changed == 1 else 'were'} repriced."


def _details(repricing: Repricing) -> list[tuple[str, str]]:
    return [
        ("Organization", repricing.organization.name),
        ("What", "Dry run: nothing is changed" if repricing.dry_run else "Applied: calls have the costs below"),
        ("From", chosen_time(repricing.start)),
        ("Until", chosen_time(repricing.end)),
        ("Service", repricing.service or "Any"),
        ("Model", repricing.model or "Any"),
        ("Reason", repricing.reason),
        ("Requested by", repricing.actor),
        ("Requested", local_time(repricing.created_at)),
        ("Finished", local_time(repricing.finished_at)),
    ]
