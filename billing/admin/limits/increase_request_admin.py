"""Requests for more: who asks and why, to be granted until a date or declined by an owner."""

from datetime import datetime
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.form_fields import MoneyField, TimestampField, add_refusal, reason_field, use_clocks_of
from billing.admin.components.list_filters import ChoiceFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, SingleOrganizationList
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_page import status_of
from billing.limits.increases import MAX_TEXT_LENGTH, decline, grant
from billing.limits.scope_values import display_values
from billing.models import IncreaseRequest
from billing.types import IncreaseState
from costtrack.clock import utc_now
from costtrack.errors import DomainError
from costtrack.money import usd
from organizations.admin_base import Row, button, showing_refusals
from organizations.admin_request import person_of
from organizations.types import Principal, Role

_BADGES = {IncreaseState.OPEN: "warning", IncreaseState.GRANTED: "success", IncreaseState.DECLINED: "danger"}


class StateFilter(ChoiceFilter):
    title = "state"
    parameter_name = "state"
    options = IncreaseState


class GrantForm(forms.Form):
    amount_usd = MoneyField(label="Amount until then (US dollars)", help_text="As asked for, or another one.")
    until = TimestampField(label="Until", help_text="Then the limit's own amount holds again by itself.")
    answer = reason_field(
        label="Answer", longest=MAX_TEXT_LENGTH, required=False, help_text="Whoever asked reads it. It may be empty."
    )


class DeclineForm(forms.Form):
    answer = reason_field(label="Answer", longest=MAX_TEXT_LENGTH, help_text="Say why. Whoever asked reads it.")


class IncreaseList(SingleOrganizationList):
    """Knows what people call the values of its rows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.organization is None:
            return
        rows = list(cast("QuerySet[IncreaseRequest]", self.result_list))
        shown = display_values(self.organization, [(row.limit.scope, row.value) for row in rows])
        for row in rows:
            row.organization = self.organization
            row.display_value = shown[row.limit.scope, row.value]  # type: ignore[attr-defined]  # for the columns
        self.result_list = rows


@admin.register(IncreaseRequest)
class IncreaseRequestAdmin(SingleOrganizationAdmin):
    read_only = True
    list_display = ("asked", "for_limit", "wanted", "why", "state_shown", "answered")
    list_filter = (OrganizationFilter, StateFilter)
    ordering = ("-id",)
    fields = ()
    actions_detail = ("grant", "decline")  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "Nobody has asked for more"
    empty_text = (
        "Whoever sees a limit can ask for more on its page, and programs by the API. Owners are told, and grant it "
        "until a date or decline."
    )

    def narrow(self, request: HttpRequest, queryset: QuerySet[IncreaseRequest]) -> QuerySet[IncreaseRequest]:
        return queryset.select_related("limit", "granted", "organization__plan")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return IncreaseList

    def has_answer_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """For owners, and operators, who act as owners."""
        return obj is not None and self._role(request, obj) is Role.OWNER

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """None for a request that has its answer."""
        asked: IncreaseRequest | None = self.get_object(request, str(object_id))
        if asked is None or asked.state != IncreaseState.OPEN.value:
            return []
        actions: list[Any] = super().get_actions_detail(request, object_id)
        return actions

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        asked: IncreaseRequest = context["original"]
        context |= {**_shown(asked, utc_now()), "facts": formatting.present(_facts(asked, utc_now()))}
        context["is_open"] = asked.state == IncreaseState.OPEN.value
        context["may_answer"] = self.has_answer_permission(request, asked)
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Answers -----------------------------------------------------------------------------------------------

    @button("Grant", icon="check_circle", permission="answer")
    @showing_refusals
    def grant(self, request: HttpRequest, object_id: str) -> HttpResponse:
        asked = self._asked(request, object_id)
        form = GrantForm(request.POST or None, initial={"amount_usd": asked.amount_usd, "until": asked.until})
        use_clocks_of(asked.organization, form)
        return self._answer(request, asked, form, grant, "Grant")

    @button("Decline", icon="block", permission="answer")
    @showing_refusals
    def decline(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._answer(
            request, self._asked(request, object_id), DeclineForm(request.POST or None), decline, "Decline"
        )

    def _asked(self, request: HttpRequest, object_id: str) -> IncreaseRequest:
        """The permission check before has found the row, in the person's own organizations."""
        asked: IncreaseRequest = self.get_queryset(request).get(pk=object_id)
        return asked

    def _answer(
        self, request: HttpRequest, asked: IncreaseRequest, form: forms.Form, service: Any, verb: str
    ) -> HttpResponse:
        role = self._role(request, asked)
        if request.method == "POST" and form.is_valid() and role is not None:
            actor = Principal(user=person_of(request))
            try:
                done = service(
                    organization=asked.organization,
                    request=asked,
                    **form.cleaned_data,
                    acting_as=role,
                    actor=actor,
                    now=utc_now(),
                )
            except DomainError as error:
                add_refusal(form, error)
            else:
                messages.success(request, f"The request is {done.get_state_display().lower()}.")
                return HttpResponseRedirect(formatting.page("billing_increaserequest", id=asked.pk))
        context = {
            **self.admin_site.each_context(request),
            **_shown(asked, utc_now()),
            "opts": self.opts,
            "title": f"{verb} the request",
            "verb": verb,
            "asked": asked,
            "form": form,
            "media": self.media + form.media,
            "back": formatting.page("billing_increaserequest", id=asked.pk),
        }
        return TemplateResponse(request, "admin/billing/increaserequest/answer.html", context)

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Asked by")
    def asked(self, asked: IncreaseRequest) -> SafeString:
        when = datetimes.relative(asked.requested_at, utc_now())
        return formatting.two_lines(asked.requested_by, when)

    @admin.display(description="Limit")
    def for_limit(self, asked: IncreaseRequest) -> SafeString:
        name = limit_text.name(asked.limit, getattr(asked, "display_value", ""))
        return formatting.link(formatting.page("billing_spendlimit", id=asked.limit_id), name)

    @admin.display(description="Wanted")
    def wanted(self, asked: IncreaseRequest) -> SafeString:
        until = (
            datetimes.exact(asked.until, asked.organization.calendar) if asked.until is not None else "no date named"
        )
        return formatting.two_lines(usd(asked.amount_usd), f"until {until}" if asked.until is not None else until)

    @admin.display(description="What for")
    def why(self, asked: IncreaseRequest) -> str:
        return asked.reason

    @admin.display(description="State")
    def state_shown(self, asked: IncreaseRequest) -> SafeString:
        return _badge(asked)

    @admin.display(description="Answered by")
    def answered(self, asked: IncreaseRequest) -> SafeString | str:
        if asked.answered_at is None:
            return formatting.NOTHING
        return formatting.two_lines(asked.answered_by, datetimes.relative(asked.answered_at, utc_now()))


def _badge(asked: IncreaseRequest) -> SafeString:
    state = IncreaseState(asked.state)
    return formatting.badge(state.label, _BADGES[state])


def _shown(asked: IncreaseRequest, now: datetime) -> dict[str, Any]:
    """What both the request's page and the answer's show: what is asked for, and how the limit stands."""
    value = display_values(asked.organization, [(asked.limit.scope, asked.value)])[asked.limit.scope, asked.value]
    asked.limit.organization = asked.organization
    status = status_of(asked.limit, now, value=asked.value)
    calendar = asked.organization.calendar
    return {
        "name": limit_text.name(asked.limit, value),
        "limit_url": formatting.page("billing_spendlimit", id=asked.limit_id),
        "amount": usd(asked.amount_usd),
        "now_holds": usd(status.rule.amount_usd if status is not None else asked.limit.amount_usd),
        "until": f"until {datetimes.exact(asked.until, calendar)}" if asked.until is not None else "",
        "badge": _badge(asked),
        "gauge": progress_bar.labelled(status) if status is not None else "",
    }


def _facts(asked: IncreaseRequest, now: datetime) -> list[tuple[str, SafeString | str]]:
    calendar, granted = asked.organization.calendar, asked.granted
    answered = asked.answered_at
    return [
        ("Asked by", asked.requested_by),
        ("When", datetimes.inline(asked.requested_at, calendar=calendar, now=now)),
        ("What for", asked.reason),
        ("Granted", usd(granted.amount_usd) if granted is not None and granted.amount_usd is not None else ""),
        ("Until", datetimes.exact(granted.ends_at, calendar) if granted is not None and granted.ends_at else ""),
        ("Answered by", asked.answered_by),
        ("Answered", datetimes.inline(answered, calendar=calendar, now=now) if answered is not None else ""),
        ("Answer", asked.answer),
        ("Organization", asked.organization.name),
    ]
