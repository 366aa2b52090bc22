"""Forms of spend limits: a new one, a change, and what holds instead for a while. The services have the last word."""

from dataclasses import replace
from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.admin.components.form_fields import MoneyField, TimestampField, add_refusal, reason_field, use_clocks_of
from billing.limits.increases import MAX_TEXT_LENGTH
from billing.limits.scope_values import credential_number
from billing.limits.validation import (
    MAX_REASON_LENGTH,
    MAX_VALUE_LENGTH,
    LimitInput,
    check_end,
    check_plan_allows,
    limit_input_of,
    validate_limit_input,
)
from billing.models import SpendLimit
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.clock import utc_now
from costtrack.errors import DomainError
from organizations.models import Organization

ABOUT = ("organization", "scope", "scope_value", "window")
"""What a limit is about: it is said once."""
PLAN_TERMS = ("amount_usd", "thresholds", "soft_amount_usd", "fallback_price")
"""What an organization may change of the limit that its plan brings along."""
TERMS = ("amount_usd", "action", "thresholds", "soft_amount_usd", "fallback_price", "starts_at", "ends_at")

_REASON_HELP = "For those who look at it later. It stays with the limit and in the audit log."
_VALUE_HELP = "Empty: all of them."


class LimitForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    """Checks a limit; the services write it. Of one that is there the page offers only some of the fields."""

    amount_usd = MoneyField(label="Amount (US dollars)", help_text="What may be spent in each window.")
    thresholds = SimpleArrayField(
        forms.IntegerField(),
        label="Warn at",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Percents of the amount, the lowest first, for example 50, 80, 95. At 100 you are told anyway.",
    )
    soft_amount_usd = MoneyField(
        label="Soft amount (US dollars)",
        required=False,
        help_text="One more warning, at an amount. Nothing is paused by it. Empty: none.",
    )
    fallback_price = MoneyField(
        label="Fallback price (US dollars)",
        required=False,
        help_text="For a million tokens of a model that has no price. Empty: where this limit pauses, calls of such "
        "models are not authorized.",
    )
    starts_at = TimestampField(label="Begins", required=False, help_text="Empty: it holds at once.")
    ends_at = TimestampField(label="Ends", required=False, help_text="Empty: it holds for good.")

    class Meta:
        model = SpendLimit
        fields = (*ABOUT, *TERMS)
        labels = {"scope": "Of", "scope_value": "Which one", "action": "When it is reached"}
        help_texts = {
            "scope": "Whose spend counts.",
            "scope_value": "A Client ID, a user, a tag, a model, a workflow, a run or a session, as the calls name it. "
            "Empty: each of them has the limit for itself.",
            "window": "Days, weeks and months follow the organization's time zone and week start. In a rolling window "
            "what was spent leaves seven days later.",
            "action": "Paused access is refused before a call is made. Usage that has happened is always recorded.",
        }
        widgets = {"scope_value": UnfoldAdminTextInputWidget()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.is_plan:
            for name in set(TERMS) - set(PLAN_TERMS):
                self.fields.pop(name, None)
        if self.instance.pk is not None:
            use_clocks_of(self.instance.organization, self)

    def clean_organization(self) -> Organization:
        """The first field: the times after it are the chosen organization's."""
        organization: Organization = self.cleaned_data["organization"]
        use_clocks_of(organization, self)
        return organization

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                self._check(self.terms())
            except DomainError as error:
                add_refusal(self, error)
        return given

    def changes(self) -> dict[str, Any]:
        """What the form offers of the terms, as the services take them."""
        return {name: self.cleaned_data[name] for name in TERMS if name in self.cleaned_data}

    def terms(self) -> LimitInput:
        if self.instance.pk is not None:
            # The instance has the new values already; what the form does not offer is as it was.
            return replace(limit_input_of(self.instance), **self.changes())
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
            credential_number(organization, terms.scope_value, param="scope_value")


class HoldForm(forms.Form):
    """What the forms of a limit's exceptions have in common: which value, until when, and why."""

    value = forms.CharField(
        label="Which one", max_length=MAX_VALUE_LENGTH, required=False, widget=UnfoldAdminTextInputWidget()
    )

    def __init__(self, *args: Any, limit: SpendLimit, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if limit.is_of_each:
            self.fields["value"].help_text = f"{limit.get_scope_display()}, as the calls name it. {_VALUE_HELP}"
        else:
            del self.fields["value"]
        use_clocks_of(limit.organization, self)

    def given(self) -> dict[str, Any]:
        """As the services take it."""
        return {"value": "", **self.cleaned_data}


class RaiseForm(HoldForm):
    amount_usd = MoneyField(label="Amount until then (US dollars)", is_first=True)
    ends_at = TimestampField(label="Until", help_text="Then the limit's own amount holds again by itself.")
    reason = reason_field(longest=MAX_REASON_LENGTH, help_text=_REASON_HELP)


class PauseForm(HoldForm):
    ends_at = TimestampField(label="Until", required=False, help_text="Empty: until somebody resumes it.")
    reason = reason_field(longest=MAX_REASON_LENGTH, help_text=_REASON_HELP)


class OpenForm(HoldForm):
    ends_at = TimestampField(label="Until", help_text="Until then nothing is refused, however much is spent.")
    reason = reason_field(longest=MAX_REASON_LENGTH, help_text=_REASON_HELP)


class ResumeForm(HoldForm):
    reason = reason_field(longest=MAX_REASON_LENGTH, help_text=_REASON_HELP)


class AskForm(HoldForm):
    amount_usd = MoneyField(label="Amount you need (US dollars)", is_first=True)
    until = TimestampField(label="Until", required=False, help_text="How long you need it. The owner decides.")
    reason = reason_field(label="What for", longest=MAX_TEXT_LENGTH, help_text="The owners read it.")
