"""Admin actions that correct an event: a confirmation page with the counts and cost before and after, and a reason."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.model_admins import SingleOrganizationAdmin
from billing.ledger.corrections import MAX_REASON_LENGTH, adjust, void, why_not_correctable
from billing.ledger.net_cost import AdjustedEvent, load_adjusted_event
from billing.models import UsageEvent
from costtrack.clock import utc_now
from costtrack.money import DECIMALS, DIGITS, ZERO, usd
from organizations.admin_base import button, show_domain_errors
from organizations.admin_request import request_user

_UNKNOWN = "Not known"

Change = tuple[str, str, str]
"""A label, the value now, and the value after the correction."""


class VoidForm(forms.Form):
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True}),
        help_text="Stored with the event and in the audit log.",
    )


class AdjustForm(forms.Form):
    cost_usd = forms.DecimalField(
        label="Total cost (US dollars)",
        min_value=ZERO,
        max_digits=DIGITS,
        decimal_places=DECIMALS,
        # No number input, because browsers restrict its decimals.
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True, "inputmode": "decimal"}),
        help_text="The event's total cost, for example 1.25. Tokens and other counts do not change.",
    )
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Stored with the event and in the audit log.",
    )


class CorrectingAdmin(SingleOrganizationAdmin):
    """Adds the two correction buttons to the event page."""

    actions_detail = ("adjust_cost", "void")  # type: ignore[assignment]  # unfold declares an empty tuple

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Return no actions for an event that cannot be corrected."""
        event: UsageEvent | None = self.get_object(request, str(object_id))
        if event is None or why_not_correctable(load_adjusted_event(event)) is not None:
            return []
        actions: list[Any] = super().get_actions_detail(request, object_id)
        return actions

    @button("Adjust cost", icon="edit")
    @show_domain_errors
    def adjust_cost(self, request: HttpRequest, object_id: str) -> HttpResponse:
        adjusted_event = load_adjusted_event(self.get_queryset(request).get(pk=object_id))
        if (refused := self._refused(request, adjusted_event)) is not None:
            return refused
        form = AdjustForm(request.POST or None)
        if request.method != "POST" or not form.is_valid():
            return self._confirm(request, adjusted_event, title="Adjust cost", verb="Continue", form=form)
        if "confirmed" not in request.POST:
            changes = [("Cost", _cost(adjusted_event), formatting.exact(form.cleaned_data["cost_usd"]))]
            return self._confirm(
                request,
                adjusted_event,
                title="Adjust cost",
                verb="Adjust cost",
                form=_hidden(form),
                changes=changes,
            )
        return self._do(request, adjusted_event.event, adjust, form)

    @button("Void", icon="block")
    @show_domain_errors
    def void(self, request: HttpRequest, object_id: str) -> HttpResponse:
        adjusted_event = load_adjusted_event(self.get_queryset(request).get(pk=object_id))
        if (refused := self._refused(request, adjusted_event)) is not None:
            return refused
        form = VoidForm(request.POST or None)
        if request.method != "POST" or not form.is_valid():
            changes = list(_taken_back(adjusted_event))
            return self._confirm(
                request, adjusted_event, title="Void event", verb="Void event", form=form, changes=changes
            )
        return self._do(request, adjusted_event.event, void, form)

    def _refused(self, request: HttpRequest, adjusted_event: AdjustedEvent) -> HttpResponse | None:
        refusal = why_not_correctable(adjusted_event)
        if refusal is None:
            return None
        messages.error(request, refusal.message)
        return HttpResponseRedirect(formatting.change_url("billing_usageevent", id=adjusted_event.event.pk))

    def _confirm(
        self,
        request: HttpRequest,
        adjusted_event: AdjustedEvent,
        *,
        title: str,
        verb: str,
        form: forms.Form,
        changes: list[Change] | None = None,
    ) -> TemplateResponse:
        event = adjusted_event.event
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "event": event,
            "called": event.model or event.tool or event.get_kind_display(),
            "occurred": formatting.instant(event.occurred_at),
            "cost": _cost(adjusted_event),
            "verb": verb,
            "form": form,
            "changes": changes,
            "is_last_step": changes is not None,
            "back": formatting.change_url("billing_usageevent", id=event.pk),
        }
        return TemplateResponse(request, "admin/billing/usageevent/correct.html", context)

    def _do(
        self, request: HttpRequest, event: UsageEvent, correct: Callable[..., Any], form: forms.Form
    ) -> HttpResponse:
        done = correct(
            organization=event.organization,
            event_id=event.pk,
            **form.cleaned_data,
            actor=request_user(request).email,
            now=utc_now(),
        )
        sentence = "Event voided." if correct is void else f"Cost adjusted to {usd(done.cost_now_usd)}."
        messages.success(request, sentence)
        return HttpResponseRedirect(formatting.change_url("billing_usageevent", id=event.pk))


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
    return [("Cost", _cost(adjusted_event), formatting.exact(Decimal(0))), *rows]
