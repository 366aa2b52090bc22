"""Admin actions on a limit: raise until a date, pause, resume, request an increase, remove. Each has a confirmation
page that shows the limit's status and usually requires a reason."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from billing.admin.components import formatting
from billing.admin.components.form_fields import add_service_error
from billing.admin.components.model_admins import SingleOrganizationAdmin
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_forms import (
    AllowForm,
    IncreaseRequestForm,
    OverrideForm,
    PauseForm,
    RaiseForm,
    ResumeForm,
)
from billing.admin.limits.limit_page import status_of
from billing.limits.evaluate import window_span
from billing.limits.increases import request_increase
from billing.limits.selectors import active_exceptions, stored_value
from billing.limits.services import end_exception, end_pause, open_limit, pause_limit, raise_limit, remove_limit
from billing.limits.validation import plan_maximum
from billing.models import LimitOverride, SpendLimit
from billing.types import LimitState, LimitWindow, OverrideKind
from costtrack.clock import utc_now
from costtrack.errors import DomainError
from organizations.admin_base import Row, button, show_domain_errors
from organizations.admin_request import request_user
from organizations.types import Principal

_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ActionText:
    """The texts of an action: title, explanation, button, and success message."""

    title: str
    text: str
    verb: str
    done: str


RAISE = ActionText(
    "Raise until",
    "Raises the amount until a date. This takes effect immediately and resumes access paused by the amount.",
    "Raise",
    "Limit raised.",
)
PAUSE = ActionText(
    "Pause",
    "Calls are refused immediately, whatever has been spent. Usage is still recorded.",
    "Pause access",
    "Access paused.",
)
RESUME = ActionText(
    "Resume",
    "Ends the pause immediately. The limit's own amount applies again.",
    "Resume access",
    "Access resumed.",
)
ALLOW = ActionText(
    "Resume",
    "Allows access until a date although the amount is spent. Spend still counts.",
    "Resume access",
    "Access resumed.",
)
REQUEST_INCREASE = ActionText(
    "Request increase",
    "Owners are notified and approve or decline the request. You get their answer by e-mail.",
    "Send request",
    "Request sent to the owners.",
)
END = ActionText("End override", "The limit's own amount applies again immediately.", "End override", "Override ended.")
REMOVE = ActionText(
    "Remove limit",
    "The limit no longer warns or pauses. Its history is kept.",
    "Remove limit",
    "Limit removed.",
)


class LimitActionsAdmin(SingleOrganizationAdmin):
    """Adds the action buttons to the limit page."""

    actions_detail = ("raise_until", "pause", "resume", "ask", "remove", "end_exception")  # type: ignore[assignment]

    def has_ask_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """Allow everyone who can view the limit."""
        return self.has_view_permission(request, obj)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Return the actions that apply to the limit's current state."""
        limit: SpendLimit | None = self.get_object(request, str(object_id))
        if limit is None or limit.removed_at is not None:
            return []
        offered = {f"billing_spendlimit_{name}" for name in self._offered(request, limit)}
        actions: list[Any] = super().get_actions_detail(request, object_id)
        return [action for action in actions if action.action_name in offered]

    def _offered(self, request: HttpRequest, limit: SpendLimit) -> set[str]:
        is_operator = request_user(request).is_superuser
        maximum = plan_maximum(limit.organization.plan, limit.window)
        may_raise = self.has_manage_permission(request, limit) and (
            is_operator or maximum is None or limit.amount_usd < maximum
        )
        offered = {"raise_until" if may_raise else "ask"}
        if not limit.is_plan:
            offered.add("remove")
        status = status_of(limit, utc_now())
        if status is None:
            return offered | ({"pause", "resume"} if limit.is_per_value else set())
        if not status.rule.is_paused_manually:
            offered.add("pause")
        is_openable = is_operator or not limit.is_plan
        if status.rule.is_paused_manually or (status.evaluation.state is LimitState.PAUSED and is_openable):
            offered.add("resume")
        return offered

    @button("Raise until", icon="trending_up")
    @show_domain_errors
    def raise_until(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, self._limit(request, object_id), RaiseForm, raise_limit, RAISE)

    @button("Pause", icon="pause_circle")
    @show_domain_errors
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, self._limit(request, object_id), PauseForm, pause_limit, PAUSE)

    @button("Resume", icon="play_circle")
    @show_domain_errors
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End a manual pause; without one, allow access although the amount is spent."""
        limit = self._limit(request, object_id)
        if _is_paused_manually(limit, request.GET.get("value", ""), utc_now()):
            return self._act(request, limit, ResumeForm, end_pause, RESUME)
        return self._act(request, limit, AllowForm, open_limit, ALLOW)

    @button("Request increase", icon="request_quote", permission="ask")
    @show_domain_errors
    def ask(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(
            request, self._limit(request, object_id), IncreaseRequestForm, request_increase, REQUEST_INCREASE
        )

    @button("Remove", icon="delete")
    @show_domain_errors
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        limit = self._limit(request, object_id)
        if request.method != "POST":
            return self._page(request, limit, REMOVE, forms.Form())
        remove_limit(organization=limit.organization, limit=limit, actor=_actor(request), now=utc_now())
        messages.success(request, REMOVE.done)
        return HttpResponseRedirect(
            f"{reverse('admin:billing_spendlimit_changelist')}?organization={limit.organization_id}"
        )

    @button("End", icon="event_busy")
    @show_domain_errors
    def end_exception(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End the override that the URL names."""
        limit, now = self._limit(request, object_id), utc_now()
        named = request.GET.get("exception", "")
        limit_exception = next((row for row in active_exceptions(limit, now) if str(row.pk) == named), None)
        if limit_exception is None:
            messages.info(request, "This override has already ended.")
            return HttpResponseRedirect(formatting.change_url("billing_spendlimit", id=limit.pk))
        if request.method != "POST":
            return self._page(request, limit, END, forms.Form(), exception=limit_exception)
        end_exception(organization=limit.organization, exception=limit_exception, actor=_actor(request), now=now)
        messages.success(request, END.done)
        return HttpResponseRedirect(formatting.change_url("billing_spendlimit", id=limit.pk))

    def _limit(self, request: HttpRequest, object_id: str) -> SpendLimit:
        """Return the limit; the permission check has verified that it is in the user's organizations."""
        limit: SpendLimit = self.get_queryset(request).get(pk=object_id)
        return limit

    def _act(
        self,
        request: HttpRequest,
        limit: SpendLimit,
        form_class: type[OverrideForm],
        service: Callable[..., object],
        action_text: ActionText,
    ) -> HttpResponse:
        form = form_class(request.POST or None, limit=limit, initial=_initial(request, limit, form_class))
        if request.method == "POST" and form.is_valid():
            try:
                service(
                    organization=limit.organization, limit=limit, **form.given(), actor=_actor(request), now=utc_now()
                )
            except DomainError as error:
                add_service_error(form, error)
            else:
                messages.success(request, action_text.done)
                return HttpResponseRedirect(formatting.change_url("billing_spendlimit", id=limit.pk))
        return self._page(request, limit, action_text, form)

    def _page(
        self,
        request: HttpRequest,
        limit: SpendLimit,
        action_text: ActionText,
        form: forms.Form,
        exception: LimitOverride | None = None,
    ) -> TemplateResponse:
        now = utc_now()
        value = _stored_value(limit, request.GET.get("value", "")) or ""
        status = status_of(limit, now, value=value)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": action_text.title,
            "action_text": action_text,
            "name": limit_text.name(limit, status.rule.display_value if status is not None else ""),
            "form": form,
            "exception": exception,
            "media": self.media + form.media,
            "back": formatting.change_url("billing_spendlimit", id=limit.pk),
        }
        if status is not None:
            calendar = limit.organization.calendar
            sentence = limit_text.status_sentence(status, calendar=calendar, now=now)
            context |= {"gauge": progress_bar.labelled(status), "badge": limit_text.badge(status), "sentence": sentence}
        return TemplateResponse(request, "admin/billing/spendlimit/act.html", context)


def _actor(request: HttpRequest) -> Principal:
    return Principal(user=request_user(request))


def _initial(request: HttpRequest, limit: SpendLimit, form_class: type[OverrideForm]) -> dict[str, Any]:
    """Return the initial data: the value from the URL and, if an end is required, the end of the window, or this hour
    tomorrow for a window without an end."""
    given: dict[str, Any] = {"value": request.GET.get("value", "")}
    ends_at = form_class.base_fields.get("ends_at")
    if ends_at is not None and ends_at.required:
        now = utc_now()
        span = window_span(LimitWindow(limit.window), limit.organization.calendar, now)
        given["ends_at"] = span.end or (now + _A_DAY).replace(minute=0, second=0, microsecond=0)
    return given


def _is_paused_manually(limit: SpendLimit, value: str, now: datetime) -> bool:
    return active_exceptions(limit, now).filter(kind=OverrideKind.PAUSE, value=_stored_value(limit, value)).exists()


def _stored_value(limit: SpendLimit, value: str) -> str | None:
    """Return the stored form of a value from the URL; None if it is invalid."""
    try:
        return stored_value(limit, value)
    except DomainError:
        return None
