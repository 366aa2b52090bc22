"""The admin of increase requests, which an owner approves until a date or declines."""

from datetime import datetime
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.form_fields import (
    MoneyField,
    TimestampField,
    add_service_error,
    reason_field,
    use_time_zone_of,
)
from billing.admin.components.list_filters import ChoiceFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, SingleOrganizationList
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_page import status_of
from billing.limits.increases import MAX_TEXT_LENGTH, decline, grant
from billing.limits.selectors import display_values
from billing.models import IncreaseRequest
from billing.types import IncreaseState
from costtrack.clock import utc_now
from costtrack.errors import DomainError
from costtrack.money import usd
from organizations.admin_base import Row, button, show_domain_errors
from organizations.admin_request import request_user
from organizations.types import Principal, Role

_BADGES = {IncreaseState.OPEN: "warning", IncreaseState.GRANTED: "success", IncreaseState.DECLINED: "danger"}


class StateFilter(ChoiceFilter):
    title = "state"
    parameter_name = "state"
    options = IncreaseState


class ApproveForm(forms.Form):
    amount_usd = MoneyField(label="Amount until then (US dollars)", help_text="The requested amount or another one.")
    until = TimestampField(label="Until", help_text="After this date the limit's own amount applies again.")
    answer = reason_field(
        label="Answer", max_length=MAX_TEXT_LENGTH, required=False, help_text="Sent to the requester. Optional."
    )


class DeclineForm(forms.Form):
    answer = reason_field(label="Answer", max_length=MAX_TEXT_LENGTH, help_text="The reason. Sent to the requester.")


class IncreaseList(SingleOrganizationList):
    """Adds the display values of limits to its rows."""

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
    list_display = ("requester", "for_limit", "requested_amount", "why", "state_shown", "answered")
    list_filter = (OrganizationFilter, StateFilter)
    ordering = ("-id",)
    fields = ()
    actions_detail = ("grant", "decline")  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "No requests"
    empty_text = (
        "Members can request an increase on a limit's page, and programs by the API. Owners are notified and approve "
        "it until a date or decline it."
    )

    def narrow(self, request: HttpRequest, queryset: QuerySet[IncreaseRequest]) -> QuerySet[IncreaseRequest]:
        return queryset.select_related("limit", "granted", "organization__plan")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return IncreaseList

    def has_answer_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """Allow owners, and operators, who act as owners."""
        return obj is not None and self._role(request, obj) is Role.OWNER

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Return no actions for an answered request."""
        increase_request: IncreaseRequest | None = self.get_object(request, str(object_id))
        if increase_request is None or increase_request.state != IncreaseState.OPEN.value:
            return []
        actions: list[Any] = super().get_actions_detail(request, object_id)
        return actions

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        increase_request: IncreaseRequest = context["original"]
        context |= {
            **_shown(increase_request, utc_now()),
            "details": formatting.without_empty(_details(increase_request, utc_now())),
        }
        context["is_open"] = increase_request.state == IncreaseState.OPEN.value
        context["may_answer"] = self.has_answer_permission(request, increase_request)
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Answers -----------------------------------------------------------------------------------------------

    @button("Approve", icon="check_circle", permission="answer")
    @show_domain_errors
    def grant(self, request: HttpRequest, object_id: str) -> HttpResponse:
        increase_request = self._get_request(request, object_id)
        form = ApproveForm(
            request.POST or None, initial={"amount_usd": increase_request.amount_usd, "until": increase_request.until}
        )
        use_time_zone_of(increase_request.organization, form)
        return self._answer(request, increase_request, form, grant, "Approve")

    @button("Decline", icon="block", permission="answer")
    @show_domain_errors
    def decline(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._answer(
            request, self._get_request(request, object_id), DeclineForm(request.POST or None), decline, "Decline"
        )

    def _get_request(self, request: HttpRequest, object_id: str) -> IncreaseRequest:
        """Return the request; the permission check has verified that it is in the user's organizations."""
        increase_request: IncreaseRequest = self.get_queryset(request).get(pk=object_id)
        return increase_request

    def _answer(
        self, request: HttpRequest, increase_request: IncreaseRequest, form: forms.Form, service: Any, verb: str
    ) -> HttpResponse:
        role = self._role(request, increase_request)
        if request.method == "POST" and form.is_valid() and role is not None:
            actor = Principal(user=request_user(request))
            try:
                done = service(
                    organization=increase_request.organization,
                    request=increase_request,
                    **form.cleaned_data,
                    acting_as=role,
                    actor=actor,
                    now=utc_now(),
                )
            except DomainError as error:
                add_service_error(form, error)
            else:
                messages.success(request, f"Request {done.get_state_display().lower()}.")
                return HttpResponseRedirect(formatting.change_url("billing_increaserequest", id=increase_request.pk))
        context = {
            **self.admin_site.each_context(request),
            **_shown(increase_request, utc_now()),
            "opts": self.opts,
            "title": f"{verb} the request",
            "verb": verb,
            "increase_request": increase_request,
            "form": form,
            "media": self.media + form.media,
            "back": formatting.change_url("billing_increaserequest", id=increase_request.pk),
        }
        return TemplateResponse(request, "admin/billing/increaserequest/respond.html", context)

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Requested by")
    def requester(self, increase_request: IncreaseRequest) -> SafeString:
        when = datetimes.relative(increase_request.requested_at, utc_now())
        return formatting.two_lines(increase_request.requested_by, when)

    @admin.display(description="Limit")
    def for_limit(self, increase_request: IncreaseRequest) -> SafeString:
        name = limit_text.name(increase_request.limit, getattr(increase_request, "display_value", ""))
        return formatting.link(formatting.change_url("billing_spendlimit", id=increase_request.limit_id), name)

    @admin.display(description="Requested")
    def requested_amount(self, increase_request: IncreaseRequest) -> SafeString:
        until = (
            datetimes.exact(increase_request.until, increase_request.organization.calendar)
            if increase_request.until is not None
            else "no end date"
        )
        return formatting.two_lines(
            usd(increase_request.amount_usd), f"until {until}" if increase_request.until is not None else until
        )

    @admin.display(description="Reason")
    def why(self, increase_request: IncreaseRequest) -> str:
        return increase_request.reason

    @admin.display(description="State")
    def state_shown(self, increase_request: IncreaseRequest) -> SafeString:
        return _badge(increase_request)

    @admin.display(description="Answered by")
    def answered(self, increase_request: IncreaseRequest) -> SafeString | str:
        if increase_request.answered_at is None:
            return formatting.NOTHING
        return formatting.two_lines(
            increase_request.answered_by, datetimes.relative(increase_request.answered_at, utc_now())
        )


def _badge(increase_request: IncreaseRequest) -> SafeString:
    state = IncreaseState(increase_request.state)
    return formatting.badge(state.label, _BADGES[state])


def _shown(increase_request: IncreaseRequest, now: datetime) -> dict[str, Any]:
    """Return the context of the request's page and of the answer's page: the request and the limit's status."""
    value = display_values(increase_request.organization, [(increase_request.limit.scope, increase_request.value)])[
        increase_request.limit.scope, increase_request.value
    ]
    increase_request.limit.organization = increase_request.organization
    status = status_of(increase_request.limit, now, value=increase_request.value)
    calendar = increase_request.organization.calendar
    return {
        "name": limit_text.name(increase_request.limit, value),
        "limit_url": formatting.change_url("billing_spendlimit", id=increase_request.limit_id),
        "amount": usd(increase_request.amount_usd),
        "now_holds": usd(status.rule.amount_usd if status is not None else increase_request.limit.amount_usd),
        "until": f"until {datetimes.exact(increase_request.until, calendar)}"
        if increase_request.until is not None
        else "",
        "badge": _badge(increase_request),
        "gauge": progress_bar.labelled(status) if status is not None else "",
    }


def _details(increase_request: IncreaseRequest, now: datetime) -> list[tuple[str, SafeString | str]]:
    calendar, granted = increase_request.organization.calendar, increase_request.granted
    answered = increase_request.answered_at
    return [
        ("Requested by", increase_request.requested_by),
        ("When", datetimes.inline(increase_request.requested_at, calendar=calendar, now=now)),
        ("Reason", increase_request.reason),
        ("Granted", usd(granted.amount_usd) if granted is not None and granted.amount_usd is not None else ""),
        ("Until", datetimes.exact(granted.ends_at, calendar) if granted is not None and granted.ends_at else ""),
        ("Answered by", increase_request.answered_by),
        ("Answered", datetimes.inline(answered, calendar=calendar, now=now) if answered is not None else ""),
        ("Answer", increase_request.answer),
        ("Organization", increase_request.organization.name),
    ]
