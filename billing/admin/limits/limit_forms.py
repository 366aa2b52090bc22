"""Forms of spend limits: creation, changes, and overrides. The services validate again."""

from dataclasses import replace
from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.admin.components.form_fields import (
    MoneyField,
    reason_field,
)
from billing.limits.increases import MAX_TEXT_LENGTH
from billing.limits.selectors import credential_pk
from billing.limits.validation import (
    MAX_VALUE_LENGTH,
    LimitInput,
    check_end,
    check_plan_allows,
    to_limit_input,
    validate_limit_input,
)
from billing.models import SpendLimit
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.clock import utc_now
from costtrack.date_fields import EndFormField, StartFormField, use_calendar
from costtrack.errors import DomainError
from costtrack.text import MAX_REASON_LENGTH
from organizations.admin_actions import add_service_error
from organizations.models import Organization

ABOUT = ("organization", "scope", "scope_value", "window")
"""The fields that cannot be changed later."""
PLAN_TERMS = ("amount_usd", "thresholds", "soft_amount_usd", "fallback_price", "cheaper_models")
"""The fields of a plan's limit that an organization may change."""
TERMS = (
    *("amount_usd", "action", "thresholds", "soft_amount_usd", "fallback_price", "cheaper_models"),
    *("starts_at", "ends_at"),
)

_REASON_HELP = "Stored with the limit and in the audit log."
_VALUE_HELP = "Empty: all values."


class LimitForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    """Validates a limit; the services write it. For an existing limit only some fields are editable."""

    amount_usd = MoneyField(label="Amount (US dollars)", help_text="The amount that may be spent in each window.")
    thresholds = SimpleArrayField(
        forms.IntegerField(),
        label="Warn at",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Percentages of the amount in ascending order, for example 50, 80, 95. 100 always notifies.",
    )
    soft_amount_usd = MoneyField(
        label="Soft amount (US dollars)",
        required=False,
        help_text="An additional warning at an amount. It does not pause access. Optional.",
    )
    fallback_price = MoneyField(
        label="Fallback price (US dollars)",
        required=False,
        help_text="Per million tokens of a model without a price. If empty and this limit pauses access, calls of such "
        "models are not authorized.",
    )
    cheaper_models = SimpleArrayField(
        forms.CharField(),
        label="Cheaper models",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Models to offer, in this order, when a call does not fit and its client accepts another model. "
        "Separated by commas. Optional.",
    )
    starts_at = StartFormField(label="Begins", required=False, help_text="Empty: immediately.")
    ends_at = EndFormField(label="Ends", required=False, help_text="Empty: no end.")

    class Meta:
        model = SpendLimit
        fields = (*ABOUT, *TERMS)
        labels = {"scope": "Scope", "scope_value": "Value", "action": "When reached"}
        help_texts = {
            "scope": "Whose spend counts toward the limit.",
            "scope_value": "A Client ID, a user, a tag, a model, a workflow, a run or a session, as in your events. "
            "Empty: the limit applies to each value separately.",
            "window": "Days, weeks and months follow the organization's time zone and week start. In a rolling window, "
            "spend stops counting after 7 days.",
            "action": "While access is paused, calls are refused before they are made. Usage is always recorded.",
        }
        widgets = {"scope_value": UnfoldAdminTextInputWidget()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.is_plan:
            for name in set(TERMS) - set(PLAN_TERMS):
                self.fields.pop(name, None)
        if self.instance.pk is not None:
            use_calendar(self, self.instance.organization.calendar)

    def clean_organization(self) -> Organization:
        """Use the organization's time zone for the time fields, which are cleaned after this one."""
        organization: Organization = self.cleaned_data["organization"]
        use_calendar(self, organization.calendar)
        return organization

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                self._check(self.terms())
            except DomainError as error:
                add_service_error(self, error)
        return given

    def changes(self) -> dict[str, Any]:
        """Return the editable fields as the services expect them."""
        return {name: self.cleaned_data[name] for name in TERMS if name in self.cleaned_data}

    def terms(self) -> LimitInput:
        if self.instance.pk is not None:
            # The instance already has the new values; fields that are not in the form are unchanged.
            return replace(to_limit_input(self.instance), **self.changes())
        given = {**self.changes(), "action": LimitAction(self.cleaned_data["action"])}
        return LimitInput(
            scope=LimitScope(self.cleaned_data["scope"]),
            scope_value=self.cleaned_data["scope_value"],
            window=LimitWindow(self.cleaned_data["window"]),
            **given,
        )

    def _check(self, terms: LimitInput) -> None:
        organization = self.cleaned_data.get("organization") or self.instance.organization
        validate_limit_input(terms)
        if terms.ends_at is not None and "ends_at" in self.changed_data:
            check_end(terms.ends_at, now=utc_now())
        if "amount_usd" in self.changed_data:
            check_plan_allows(organization.plan, terms.window, terms.amount_usd)
        if self.instance.pk is None and terms.scope is LimitScope.CREDENTIAL and terms.scope_value:
            credential_pk(organization, terms.scope_value, param="scope_value")


class OverrideForm(forms.Form):
    """The base of the override forms: value, end, and reason."""

    value = forms.CharField(
        label="Value", max_length=MAX_VALUE_LENGTH, required=False, widget=UnfoldAdminTextInputWidget()
    )

    def __init__(self, *args: Any, limit: SpendLimit, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if limit.is_per_value:
            self.fields["value"].help_text = f"{limit.get_scope_display()}, as in your events. {_VALUE_HELP}"
        else:
            del self.fields["value"]
        use_calendar(self, limit.organization.calendar)


class RaiseForm(OverrideForm):
    amount_usd = MoneyField(label="Temporary amount (US dollars)", is_first=True)
    ends_at = EndFormField(label="Until", help_text="After this date the limit's own amount applies again.")
    reason = reason_field(max_length=MAX_REASON_LENGTH, help_text=_REASON_HELP)


class PauseForm(OverrideForm):
    ends_at = EndFormField(label="Until", required=False, help_text="Empty: until access is resumed.")
    reason = reason_field(max_length=MAX_REASON_LENGTH, help_text=_REASON_HELP)


class AllowForm(OverrideForm):
    ends_at = EndFormField(label="Until", help_text="Until then, calls are allowed regardless of spend.")
    reason = reason_field(max_length=MAX_REASON_LENGTH, help_text=_REASON_HELP)


class ResumeForm(OverrideForm):
    reason = reason_field(max_length=MAX_REASON_LENGTH, help_text=_REASON_HELP)


class IncreaseRequestForm(OverrideForm):
    amount_usd = MoneyField(label="Requested amount (US dollars)", is_first=True)
    until = EndFormField(label="Until", required=False, help_text="How long you need the higher limit.")
    reason = reason_field(label="Reason", max_length=MAX_TEXT_LENGTH, help_text="Sent to the owners.")
