"""Forms of spend limits: creation, changes, and overrides. The services validate again."""

from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from billing.admin.components.form_fields import (
    MoneyField,
    SuggestingInput,
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
from billing.reports.name_search import recent_names
from billing.types import LimitAction, LimitScope, LimitUnit, LimitWindow, MissingValue
from costtrack.clock import utc_now
from costtrack.date_fields import EndFormField, StartFormField, use_calendar
from costtrack.errors import DomainError, field_error
from costtrack.money import plain
from costtrack.text import MAX_REASON_LENGTH
from organizations.admin_actions import add_service_error
from organizations.models import Organization, Team
from organizations.services.teams import MAX_TEAMS

ABOUT = (
    *("organization", "scope", "scope_value", "conditions", "missing", "default_value"),
    *("window", "month_day", "unit"),
)
"""The fields that cannot be changed later."""
PLAN_TERMS = ("amount_usd", "thresholds", "soft_amount_usd", "fallback_price", "cheaper_models")
"""The fields of a plan's limit that an organization may change."""
TERMS = (
    *("amount_usd", "action", "thresholds", "soft_amount_usd", "fallback_price", "cheaper_models"),
    *("member_list", "amount_list", "starts_at", "ends_at"),
)

_REASON_HELP = "Stored with the limit and in the audit log."
_VALUE_HELP = "Empty: all values."


_PER_VALUE = "scope!organization scope_value="
_SHOWN_IF = {
    "scope_value": "scope!organization",
    "missing": _PER_VALUE,
    "default_value": f"{_PER_VALUE} missing={MissingValue.DEFAULT.value}",
    "month_day": f"window={LimitWindow.CALENDAR_MONTH.value}|{LimitWindow.CALENDAR_QUARTER.value}",
    "fallback_price": f"unit={LimitUnit.USD.value}",
    "cheaper_models": f"action={LimitAction.PAUSE.value}",
    "member_list": _PER_VALUE,
    "amount_list": _PER_VALUE,
}
"""When a field applies, for `pages.js`, which hides the others. Without scripts all are shown."""
_SUGGESTED = (LimitScope.USER, LimitScope.MODEL, LimitScope.TAG, LimitScope.TEAM, LimitScope.WORKFLOW)
_MAX_SUGGESTIONS = 50
"""Of each scope."""
_LISTS = ("conditions", "member_list", "amount_list")
"""Fields with one entry per line."""


class LimitForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    """Validates a limit; the services write it. For an existing limit only some fields are editable."""

    conditions = forms.CharField(
        label="Further conditions",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="One per line, at most two: a scope and a value, for example model: gpt-4o. Without a value, as in "
        "model:, every value counts separately.",
    )
    member_list = forms.CharField(
        label="Members",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="For a limit that applies to each value: the values that it applies to, one per line, such as the "
        "users of a group. Empty: all values.",
    )
    amount_list = forms.CharField(
        label="Other amounts",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Amounts of single values, one per line, for example ada: 50.",
    )
    amount_usd = MoneyField(
        label="Amount",
        help_text="What may be spent in each window, in the limit's unit. 0 refuses every call with a cost.",
    )
    thresholds = SimpleArrayField(
        forms.IntegerField(),
        label="Warn at",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Percentages of the amount in ascending order, for example 50, 80, 95. 100 always notifies.",
    )
    soft_amount_usd = MoneyField(
        label="Soft amount",
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
        fields = tuple(name for name in (*ABOUT, *TERMS) if name not in _LISTS)
        labels = {
            "scope": "Applies to",
            "scope_value": "Value",
            "missing": "Calls without a value",
            "default_value": "Default value",
            "month_day": "Months begin on day",
            "action": "When reached",
        }
        help_texts = {
            "scope": "Whose spend counts toward the limit.",
            "scope_value": "The user, tag, model, team or Client ID, as in your events. A model can be a pattern "
            "with *. Empty: the limit applies to each value separately.",
            "missing": "For a limit that applies to each value: calls without one can be refused, or count together.",
            "default_value": "The value under which calls without one count.",
            "window": "Days, weeks, months and quarters follow the organization's time zone and week start. In a "
            "rolling window, spend stops counting after its time. A fixed period begins and ends at the times below.",
            "month_day": "For months and quarters. A shorter month begins on its last day.",
            "unit": "Tokens are input, cache reads, cache writes and output together.",
            "action": "While access is paused, calls are refused before they are made. Usage is always recorded.",
        }
        widgets = {"scope_value": SuggestingInput(), "default_value": UnfoldAdminTextInputWidget()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "scope_value" in self.fields:
            widget = cast("SuggestingInput", self.fields["scope_value"].widget)
            widget.suggestions = self._suggestions()
        if self.instance.is_plan:
            for name in set(TERMS) - set(PLAN_TERMS):
                self.fields.pop(name, None)
        if self.instance.pk is not None:
            use_calendar(self, self.instance.organization.calendar)
            self.fields.pop("conditions")
            self.initial["member_list"] = "\n".join(self.instance.members)
            amounts = self.instance.member_amounts.items()
            self.initial["amount_list"] = "\n".join(f"{value}: {amount}" for value, amount in amounts)
        for name, condition in _SHOWN_IF.items():
            if name in self.fields:
                self.fields[name].widget.attrs["data-shown-if"] = condition

    def _suggestions(self) -> list[str]:
        """Return the organization's teams, and the most recent names of its usage. With several organizations to choose
        from, none."""
        organization_id = self.instance.organization_id
        if organization_id is None and "organization" in self.fields:
            organization_id = self.fields["organization"].initial
        organization = Organization.objects.filter(pk=organization_id).first()
        if organization is None:
            return []
        teams = Team.objects.filter(organization=organization).values_list("name", flat=True)[:MAX_TEAMS]
        names = recent_names(organization=organization, scopes=_SUGGESTED, each=_MAX_SUGGESTIONS)
        return sorted({*teams, *(name.value for name in names)}, key=str.casefold)

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
        changes = {name: self.cleaned_data[name] for name in TERMS if name in self.cleaned_data}
        if "member_list" in changes:
            changes["members"] = _lines(changes.pop("member_list"))
            changes["member_amounts"] = dict(map(_named_amount, _lines(changes.pop("amount_list"))))
        return changes

    @property
    def has_changed_members(self) -> bool:
        return not {"member_list", "amount_list"}.isdisjoint(self.changed_data)

    def terms(self) -> LimitInput:
        if self.instance.pk is not None:
            # The instance already has the new values; fields that are not in the form are unchanged.
            return replace(to_limit_input(self.instance), **self.changes())
        cleaned = self.cleaned_data
        given = {**self.changes(), "action": LimitAction(cleaned["action"])}
        conditions = list(map(_condition, _lines(cleaned["conditions"])))
        return LimitInput(
            scope=LimitScope(cleaned["scope"]),
            scope_value=cleaned["scope_value"],
            further_scopes=tuple(scope for scope, _ in conditions),
            further_values=tuple(value for _, value in conditions),
            missing=MissingValue(cleaned["missing"]),
            default_value=cleaned["default_value"],
            window=LimitWindow(cleaned["window"]),
            month_day=cleaned["month_day"],
            unit=LimitUnit(cleaned["unit"]),
            **given,
        )

    def _check(self, terms: LimitInput) -> None:
        organization = self.cleaned_data.get("organization") or self.instance.organization
        validate_limit_input(terms)
        if terms.ends_at is not None and "ends_at" in self.changed_data:
            check_end(terms.ends_at, now=utc_now())
        if "amount_usd" in self.changed_data and terms.unit is LimitUnit.USD:
            check_plan_allows(organization.plan, terms.window, terms.amount_usd)
        if self.instance.pk is None and terms.scope is LimitScope.CREDENTIAL and terms.scope_value:
            credential_pk(organization, terms.scope_value, param="scope_value")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _condition(line: str) -> tuple[LimitScope, str]:
    """Parse `model: gpt-4o`."""
    scope, _, value = (part.strip() for part in line.partition(":"))
    if scope not in LimitScope.values:
        raise field_error("conditions", f"{scope} is not one of: {', '.join(LimitScope.values)}.")
    return LimitScope(scope), value


def _named_amount(line: str) -> tuple[str, str]:
    """Parse `ada: 50`. The name may contain colons."""
    value, _, amount = (part.strip() for part in line.rpartition(":"))
    try:
        return value, plain(Decimal(amount))
    except InvalidOperation:
        raise field_error("member_amounts", f"{amount} is not an amount.") from None


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


class OwnIncreaseForm(forms.Form):
    amount_usd = MoneyField(label="Requested amount (US dollars)", is_first=True)
    until = EndFormField(label="Until", required=False, help_text="How long you need the higher limit.")
    reason = reason_field(label="Reason", max_length=MAX_TEXT_LENGTH, help_text="Sent to the owners and admins.")


class IncreaseRequestForm(OwnIncreaseForm, OverrideForm):
    """A request for one value, or for all of them."""
