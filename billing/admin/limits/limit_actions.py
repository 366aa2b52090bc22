"""What people do with a limit by hand: raise it until a date, pause and resume it, ask for more, remove it. Each is a
small page of its own that says how the limit stands and, mostly, asks for a reason."""

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
from billing.admin.components.form_fields import add_refusal
from billing.admin.components.model_admins import SingleOrganizationAdmin
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_forms import AskForm, HoldForm, OpenForm, PauseForm, RaiseForm, ResumeForm
from billing.admin.limits.limit_page import status_of
from billing.limits.evaluate import span_of
from billing.limits.increases import request_increase
from billing.limits.scope_values import stored_value
from billing.limits.selectors import holding
from billing.limits.services import end_exception, end_pause, open_limit, pause_limit, raise_limit, remove_limit
from billing.limits.validation import plan_maximum
from billing.models import LimitException, SpendLimit
from billing.types import ExceptionKind, LimitState, LimitWindow
from costtrack.clock import utc_now
from costtrack.errors import DomainError
from organizations.admin_base import Row, button, showing_refusals
from organizations.admin_request import person_of
from organizations.types import Principal

_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Words:
    """What a page of its own says: before, on the button, and when it is done."""

    title: str
    text: str
    verb: str
    done: str


RAISE = Words(
    "Raise until",
    "A larger amount for a while. It holds at once: who is paused by the amount can go on.",
    "Raise",
    "The limit is raised.",
)
PAUSE = Words(
    "Pause by hand",
    "Calls are refused at once, however little is spent. What is sent as usage is still recorded.",
    "Pause access",
    "Access is paused.",
)
RESUME = Words(
    "Resume by hand",
    "The pause ends at once. From then on the limit's own amount decides.",
    "Resume access",
    "Access is back.",
)
OPEN = Words(
    "Resume by hand",
    "Access is back although the amount is spent, and stays so for a while. Spend goes on counting.",
    "Resume access",
    "Access is back.",
)
ASK = Words(
    "Ask for more",
    "The owners are told, and grant it until a date or decline. You get their answer by e-mail.",
    "Ask",
    "The owners are asked.",
)
END = Words("End it now", "The limit's own amount decides again, at once.", "End it now", "It is ended.")
REMOVE = Words(
    "Remove the limit",
    "It warns and pauses no more, at once. History stays to be looked at.",
    "Remove the limit",
    "The limit is removed.",
)


class HoldingAdmin(SingleOrganizationAdmin):
    """The limits' page with its buttons."""

    actions_detail = ("raise_until", "pause", "resume", "ask", "remove", "end_exception")  # type: ignore[assignment]

    def has_ask_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """Whoever sees a limit may ask for more."""
        return self.has_view_permission(request, obj)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Those that make sense now."""
        limit: SpendLimit | None = self.get_object(request, str(object_id))
        if limit is None or limit.removed_at is not None:
            return []
        offered = {f"billing_spendlimit_{name}" for name in self._offered(request, limit)}
        actions: list[Any] = super().get_actions_detail(request, object_id)
        return [action for action in actions if action.action_name in offered]

    def _offered(self, request: HttpRequest, limit: SpendLimit) -> set[str]:
        is_operator = person_of(request).is_superuser
        maximum = plan_maximum(limit.organization.plan, limit.window)
        may_raise = self.has_manage_permission(request, limit) and (
            is_operator or maximum is None or limit.amount_usd < maximum
        )
        offered = {"raise_until" if may_raise else "ask"}
        if not limit.is_plan:
            offered.add("remove")
        status = status_of(limit, utc_now())
        if status is None:
            return offered | ({"pause", "resume"} if limit.is_of_each else set())
        if not status.rule.is_paused_by_hand:
            offered.add("pause")
        is_openable = is_operator or not limit.is_plan
        if status.rule.is_paused_by_hand or (status.evaluation.state is LimitState.PAUSED and is_openable):
            offered.add("resume")
        return offered

    @button("Raise until", icon="trending_up")
    @showing_refusals
    def raise_until(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, self._limit(request, object_id), RaiseForm, raise_limit, RAISE)

    @button("Pause by hand", icon="pause_circle")
    @showing_refusals
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, self._limit(request, object_id), PauseForm, pause_limit, PAUSE)

    @button("Resume by hand", icon="play_circle")
    @showing_refusals
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ends a pause by hand; without one, holds the limit open although its amount is spent."""
        limit = self._limit(request, object_id)
        if _is_paused_by_hand(limit, request.GET.get("value", ""), utc_now()):
            return self._act(request, limit, ResumeForm, end_pause, RESUME)
        return self._act(request, limit, OpenForm, open_limit, OPEN)

    @button("Ask for more", icon="request_quote", permission="ask")
    @showing_refusals
    def ask(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, self._limit(request, object_id), AskForm, request_increase, ASK)

    @button("Remove", icon="delete")
    @showing_refusals
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
    @showing_refusals
    def end_exception(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the address names of what holds instead of the limit."""
        limit, now = self._limit(request, object_id), utc_now()
        named = request.GET.get("exception", "")
        found = next((row for row in holding(limit, now) if str(row.pk) == named), None)
        if found is None:
            messages.info(request, "It has ended already.")
            return HttpResponseRedirect(formatting.page("billing_spendlimit", id=limit.pk))
        if request.method != "POST":
            return self._page(request, limit, END, forms.Form(), exception=found)
        end_exception(organization=limit.organization, exception=found, actor=_actor(request), now=now)
        messages.success(request, END.done)
        return HttpResponseRedirect(formatting.page("billing_spendlimit", id=limit.pk))

    def _limit(self, request: HttpRequest, object_id: str) -> SpendLimit:
        """The permission check before has found the row, in the person's own organizations."""
        limit: SpendLimit = self.get_queryset(request).get(pk=object_id)
        return limit

    def _act(
        self,
        request: HttpRequest,
        limit: SpendLimit,
        form_class: type[HoldForm],
        service: Callable[..., object],
        words: Words,
    ) -> HttpResponse:
        form = form_class(request.POST or None, limit=limit, initial=_initial(request, limit, form_class))
        if request.method == "POST" and form.is_valid():
            try:
                service(
                    organization=limit.organization, limit=limit, **form.given(), actor=_actor(request), now=utc_now()
                )
            except DomainError as error:
                add_refusal(form, error)
            else:
                messages.success(request, words.done)
                return HttpResponseRedirect(formatting.page("billing_spendlimit", id=limit.pk))
        return self._page(request, limit, words, form)

    def _page(
        self,
        request: HttpRequest,
        limit: SpendLimit,
        words: Words,
        form: forms.Form,
        exception: LimitException | None = None,
    ) -> TemplateResponse:
        now = utc_now()
        value = _kept(limit, request.GET.get("value", "")) or ""
        status = status_of(limit, now, value=value)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": words.title,
            "words": words,
            "name": limit_text.name(limit, status.rule.display_value if status is not None else ""),
            "form": form,
            "exception": exception,
            "media": self.media + form.media,
            "back": formatting.page("billing_spendlimit", id=limit.pk),
        }
        if status is not None:
            calendar = limit.organization.calendar
            sentence = limit_text.standing_sentence(status, calendar=calendar, now=now)
            context |= {"gauge": progress_bar.labelled(status), "badge": limit_text.badge(status), "sentence": sentence}
        return TemplateResponse(request, "admin/billing/spendlimit/act.html", context)


def _actor(request: HttpRequest) -> Principal:
    return Principal(user=person_of(request))


def _initial(request: HttpRequest, limit: SpendLimit, form_class: type[HoldForm]) -> dict[str, Any]:
    """The value that the address names; and where an end must be said the end of the window, or if it has none, this
    hour of tomorrow."""
    given: dict[str, Any] = {"value": request.GET.get("value", "")}
    ends_at = form_class.base_fields.get("ends_at")
    if ends_at is not None and ends_at.required:
        now = utc_now()
        span = span_of(LimitWindow(limit.window), limit.organization.calendar, now)
        given["ends_at"] = span.end or (now + _A_DAY).replace(minute=0, second=0, microsecond=0)
    return given


def _is_paused_by_hand(limit: SpendLimit, value: str, now: datetime) -> bool:
    return holding(limit, now).filter(kind=ExceptionKind.PAUSE, value=_kept(limit, value)).exists()


def _kept(limit: SpendLimit, value: str) -> str | None:
    """The value that an address names, as it is kept; None for what cannot be one."""
    try:
        return stored_value(limit, value)
    except DomainError:
        return None
