"""The admin of credits: what providers have credited. A credit never changes; it can be voided."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.postgres.forms import SimpleArrayField
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import chosen_time, local_time
from billing.admin.components.form_fields import MoneyField, reason_field
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, shown_organization
from billing.admin.components.tables import column
from billing.ledger.credits import NewCredit, create_credit, validate_credit, void_credit
from billing.models import Credit
from costtrack.clock import utc_now
from costtrack.date_fields import EndFormField, StartFormField, use_calendar
from costtrack.errors import ConflictError, DomainError
from costtrack.text import MAX_REASON_LENGTH
from organizations.admin_actions import add_service_error, confirmed
from organizations.admin_request import request_user
from organizations.models import Organization
from organizations.permissions import USAGE

_LABELS = {
    "service": "Provider",
    "model": "Model",
    "capability": "Capability",
    "user_id": "User",
    "team": "Team",
    "end_user": "End user",
    "agent_id": "Agent",
    "workflow_id": "Workflow",
    "run_id": "Run",
    "client_id": "Client ID",
}


class _DimensionField(forms.CharField):
    def __init__(self, label: str) -> None:
        super().__init__(label=label, max_length=255, required=False, widget=UnfoldAdminTextInputWidget())


class CreditForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    """Validates a new credit; the service writes it."""

    amount_usd = MoneyField(label="Amount (US dollars)", help_text="What the provider has credited.")
    reason = reason_field(max_length=MAX_REASON_LENGTH, help_text="Stored with the credit and in the audit log.")
    start_date = StartFormField(label="From", required=False, help_text="Empty: this hour.")
    end_date = EndFormField(
        label="Until", required=False, help_text="Each day of the period gets the same share of the amount."
    )
    service = _DimensionField(_LABELS["service"])
    model = _DimensionField(_LABELS["model"])
    capability = _DimensionField(_LABELS["capability"])
    user_id = _DimensionField(_LABELS["user_id"])
    team = _DimensionField(_LABELS["team"])
    end_user = _DimensionField(_LABELS["end_user"])
    agent_id = _DimensionField(_LABELS["agent_id"])
    workflow_id = _DimensionField(_LABELS["workflow_id"])
    run_id = _DimensionField(_LABELS["run_id"])
    client_id = _DimensionField(_LABELS["client_id"])
    tags = SimpleArrayField(
        forms.CharField(max_length=255),
        label="Tags",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Separated by commas.",
    )

    class Meta:
        model = Credit
        fields = ("organization", "amount_usd", "reason")

    def clean_organization(self) -> Organization:
        """Use the organization's time zone for the time fields, which are cleaned after this one."""
        organization: Organization = self.cleaned_data["organization"]
        use_calendar(self, organization.calendar)
        return organization

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                validate_credit(organization=given["organization"], credit=self.credit(), now=utc_now())
            except DomainError as error:
                add_service_error(self, error)
        return given

    def credit(self) -> NewCredit:
        given = self.cleaned_data
        return NewCredit(
            amount_usd=given["amount_usd"],
            reason=given["reason"],
            start=given["start_date"],
            end=given["end_date"],
            dimensions={name: given[name] for name in (*_LABELS, "tags")},
        )


class VoidForm(forms.Form):
    reason = reason_field(max_length=MAX_REASON_LENGTH, help_text="Stored with the credit and in the audit log.")


def _about(credit: Credit) -> str:
    """Return the dimensions in words, or that the credit is about the organization as a whole."""
    texts = [f"{label} {credit.dimensions[name]}" for name, label in _LABELS.items() if name in credit.dimensions]
    tags = credit.dimensions.get("tags", [])
    return ", ".join([*texts, *(f"Tag {tag}" for tag in tags)]) or "The organization"


def _state(credit: Credit) -> Any:
    return formatting.badge("Voided", "danger") if credit.voided_at is not None else formatting.NOTHING


@admin.register(Credit)
class CreditAdmin(SingleOrganizationAdmin):
    resource = USAGE
    form = CreditForm
    list_display = ("created", "amount", "about", "reason", "added_by", "state")
    list_filter = (OrganizationFilter,)
    ordering = ("-id",)
    change_heading = "Credit"
    actions_detail = ("void",)  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "No credits yet"
    empty_text = (
        "A credit is an amount that a provider has refunded, and that belongs to no single call. It reduces spend, and "
        "the spend of limits, in its period."
    )

    created = column(Credit, "Added", lambda row: local_time(row.created_at))
    amount = column(Credit, "Amount", lambda row: formatting.exact(row.amount_usd))
    about = column(Credit, "About", _about)
    added_by = column(Credit, "Added by", lambda row: row.actor)
    state = column(Credit, "State", _state)

    def get_fields(self, request: HttpRequest, obj: Credit | None = None) -> tuple[str, ...]:
        if obj is not None:
            return ()
        return ("organization", "amount_usd", "reason", "start_date", "end_date", *_LABELS, "tags")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"organization": shown_organization(request), **super().get_changeform_initial_data(request)}

    def cards(self, request: HttpRequest, row: Credit) -> list[Card]:
        details = [
            ("Amount", formatting.exact(row.amount_usd)),
            ("Reason", row.reason),
            ("About", _about(row)),
            ("From", chosen_time(row.start)),
            ("Until", chosen_time(row.end)),
            ("Added by", row.actor),
            ("Added", local_time(row.created_at)),
            ("Voided", local_time(row.voided_at)),
            ("Voided by", row.voided_by),
            ("Why it was voided", row.void_reason),
        ]
        return [Card("Credit", details=without_empty(details), badges=_state(row) if row.voided_at else "")]

    def check_action(self, request: HttpRequest, row: Any, name: str) -> None:
        if row.voided_at is not None:
            raise ConflictError("The credit is already voided.", code="already_voided")

    @confirmed(
        "Void",
        icon="undo",
        verb="Void credit",
        text="Takes the credit back: its amount counts as spent again. This appends rows to the ledger.",
        form=VoidForm,
    )
    def void(self, request: HttpRequest, credit: Credit, *, reason: str) -> str:
        void_credit(
            organization=credit.organization,
            credit_id=credit.pk,
            reason=reason,
            actor=request_user(request).email,
            now=utc_now(),
        )
        return "Credit voided."

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        if not change:
            actor = request_user(request).email
            obj.pk = create_credit(organization=obj.organization, credit=form.credit(), actor=actor, now=utc_now()).pk
