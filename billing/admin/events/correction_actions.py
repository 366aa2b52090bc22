"""Admin actions that correct an event. Their pages show the counts and the cost before and after."""

from collections.abc import Collection
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse

from billing.admin.components import formatting
from billing.admin.components.form_fields import MoneyField, reason_field
from billing.admin.components.model_admins import SingleOrganizationAdmin
from billing.admin.components.tables import Column, Table
from billing.ledger.corrections import adjust, void, why_not_correctable
from billing.ledger.net_cost import AdjustedEvent, load_adjusted_event
from billing.models import UsageEvent
from costtrack.money import ZERO, usd
from costtrack.text import MAX_REASON_LENGTH
from organizations.admin_actions import confirmed
from organizations.clock import zoned_time

_UNKNOWN = "Not known"

Change = tuple[str, str, str]
"""A label, the value now, and the value after the correction."""
_CHANGES = (
    Column[Change]("", lambda change: change[0]),
    Column[Change]("Now", lambda change: change[1], is_number=True),
    Column[Change]("After", lambda change: formatting.strong(change[2]), is_number=True),
)


_REASON_HELP = "Stored with the event and in the audit log."


class VoidForm(forms.Form):
    reason = reason_field(max_length=MAX_REASON_LENGTH, is_first=True, help_text=_REASON_HELP)


class AdjustForm(forms.Form):
    cost_usd = MoneyField(
        label="Total cost (US dollars)",
        is_first=True,
        min_value=ZERO,
        help_text="The event's total cost, for example 1.25. Tokens and other counts do not change.",
    )
    reason = reason_field(max_length=MAX_REASON_LENGTH, help_text=_REASON_HELP)


class CorrectingAdmin(SingleOrganizationAdmin):
    """Adds the two correction buttons to the event page."""

    actions_detail = ("adjust_cost", "void")  # type: ignore[assignment]  # unfold declares an empty tuple

    def available_actions(self, request: HttpRequest, row: UsageEvent) -> Collection[str]:
        return self.actions_detail if why_not_correctable(load_adjusted_event(row)) is None else ()

    def check_action(self, request: HttpRequest, row: UsageEvent, name: str) -> None:
        if (refusal := why_not_correctable(load_adjusted_event(row))) is not None:
            raise refusal

    @confirmed("Adjust cost", icon="edit", verb="Continue", form=AdjustForm)
    def adjust_cost(self, request: HttpRequest, event: UsageEvent, **given: Any) -> str | HttpResponse:
        """Show the change first, and set the cost when that is confirmed."""
        if "confirmed" not in request.POST:
            change = ("Cost", _cost(load_adjusted_event(event)), formatting.exact(given["cost_usd"]))
            context = {"title": "Adjust cost", "verb": "Adjust cost", "table": _table([change]), "is_last_step": True}
            form = _hidden(AdjustForm(request.POST))
            return self.confirmation(request, event, form, {**self._subject(event), **context})
        done = adjust(event_id=event.pk, **self.audited(request, event), **given)
        return f"Cost adjusted to {usd(done.cost_now_usd)}."

    @confirmed("Void", icon="block", title="Void event", form=VoidForm)
    def void(self, request: HttpRequest, event: UsageEvent, *, reason: str) -> str:
        void(event_id=event.pk, **self.audited(request, event), reason=reason)
        return "Event voided."

    def confirmation_context(self, request: HttpRequest, row: UsageEvent, name: str) -> dict[str, Any]:
        changes = _taken_back(load_adjusted_event(row)) if name == "void" else []
        return {**self._subject(row), "table": _table(changes)}

    def _subject(self, event: UsageEvent) -> dict[str, str]:
        called = event.model or event.tool or event.get_kind_display()
        return {
            "subject": ", ".join(filter(None, (called, f"{zoned_time(event.occurred_at)}", event.event_id))),
            "amount": _cost(load_adjusted_event(event)),
            "footer": "The ledger is append-only: this adds an adjustment with the difference, your name and the "
            "reason. All reports will include it.",
        }


def _table(changes: list[Change]) -> Table[Change]:
    return Table("Before and after", _CHANGES, changes)


def _hidden(form: forms.Form) -> forms.Form:
    """Return the form with hidden fields, to be submitted again."""
    for field in form.fields.values():
        field.widget = forms.HiddenInput()
    return form


def _cost(adjusted_event: AdjustedEvent) -> str:
    return _UNKNOWN if adjusted_event.cost_usd is None else formatting.exact(adjusted_event.cost_usd)


def _taken_back(adjusted_event: AdjustedEvent) -> list[Change]:
    """Return the cost and the counts that a void sets to zero."""
    named = (
        ("Calls", ("requests", "tool_calls")),
        ("Tokens in, with caches", ("input_tokens", "cache_read_tokens", "cache_creation_tokens")),
        ("Tokens out", ("output_tokens",)),
    )
    counts = ((label, sum(map(adjusted_event.count, columns))) for label, columns in named)
    rows = [(label, formatting.count(count), "0") for label, count in counts if count]
    return [("Cost", _cost(adjusted_event), formatting.exact(ZERO)), *rows]
