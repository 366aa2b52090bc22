"""Admin actions on a limit: raise until a date, pause, resume, request an increase, remove. Their pages show its
status, and most require a reason."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.forms import Form
from django.http import HttpRequest, HttpResponse

from billing.admin.components.datetimes import LocalTimes
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
from billing.admin.limits.limit_statuses import status_of
from billing.limits.increases import request_increase
from billing.limits.limit_windows import window_span
from billing.limits.selectors import active_overrides, stored_value
from billing.limits.services import end_override, end_pause, open_limit, pause_limit, raise_limit, remove_limit
from billing.limits.validation import plan_maximum
from billing.models import LimitOverride, SpendLimit
from billing.types import LimitState, LimitWindow, OverrideKind
from costtrack.clock import utc_now
from costtrack.errors import ConflictError, DomainError
from organizations.admin_actions import button, confirmed
from organizations.admin_base import Row
from organizations.admin_request import request_user
from organizations.permissions import LIMITS
from organizations.principals import Principal

_A_DAY = timedelta(days=1)


class LimitActionsAdmin(SingleOrganizationAdmin):
    """Adds the action buttons to the limit page."""

    resource = LIMITS

    actions_detail = ("raise_until", "pause", "resume", "ask", "remove", "end_override")  # type: ignore[assignment]

    def has_ask_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """Allow everyone who can view the limit."""
        return self.has_view_permission(request, obj)

    def available_actions(self, request: HttpRequest, row: SpendLimit) -> set[str]:
        if row.removed_at is not None:
            return set()
        is_operator = request_user(request).is_superuser
        maximum = plan_maximum(row.organization.plan, row.window)
        may_raise = self.has_manage_permission(request, row) and (
            is_operator or maximum is None or row.amount_usd < maximum
        )
        offered = {"raise_until" if may_raise else "ask"}
        if not row.is_plan:
            offered.add("remove")
        status = status_of(row, utc_now())
        if status is None:
            return offered | ({"pause", "resume"} if row.is_per_value else set())
        if not status.rule.is_paused_manually:
            offered.add("pause")
        is_openable = is_operator or not row.is_plan
        if status.rule.is_paused_manually or (status.evaluation.state is LimitState.PAUSED and is_openable):
            offered.add("resume")
        return offered

    @confirmed(
        "Raise until",
        icon="trending_up",
        verb="Raise",
        text="Raises the amount until a date. This takes effect immediately and resumes access paused by the amount.",
        form=RaiseForm,
    )
    def raise_until(self, request: HttpRequest, limit: SpendLimit, **given: Any) -> str:
        return _call(raise_limit, request, limit, given, "Limit raised.")

    @confirmed(
        "Pause",
        icon="pause_circle",
        verb="Pause access",
        text="Calls are refused immediately, regardless of spend. Usage is still recorded.",
        form=PauseForm,
    )
    def pause(self, request: HttpRequest, limit: SpendLimit, **given: Any) -> str:
        return _call(pause_limit, request, limit, given, "Access paused.")

    @button("Resume", icon="play_circle")
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End a manual pause; without one, allow access even if the amount is spent."""
        limit: SpendLimit = self.get_queryset(request).get(pk=object_id)
        is_paused_manually = _is_paused_manually(limit, request.GET.get("value", ""), utc_now())
        action = self.end_pause if is_paused_manually else self.allow
        response: HttpResponse = action(request, object_id=object_id)
        return response

    @confirmed(
        "Resume",
        icon="play_circle",
        verb="Resume access",
        text="Ends the pause immediately. The limit's own amount applies again.",
        form=ResumeForm,
    )
    def end_pause(self, request: HttpRequest, limit: SpendLimit, **given: Any) -> str:
        return _call(end_pause, request, limit, given, "Access resumed.")

    @confirmed(
        "Resume",
        icon="play_circle",
        verb="Resume access",
        text="Allows access until a date even if the amount is spent. Spend still counts.",
        form=AllowForm,
    )
    def allow(self, request: HttpRequest, limit: SpendLimit, **given: Any) -> str:
        return _call(open_limit, request, limit, given, "Access resumed.")

    @confirmed(
        "Request increase",
        icon="request_quote",
        verb="Send request",
        text="Owners are notified and approve or decline the request. You get their answer by email.",
        form=IncreaseRequestForm,
        permission="ask",
    )
    def ask(self, request: HttpRequest, limit: SpendLimit, **given: Any) -> str:
        return _call(request_increase, request, limit, given, "Request sent to the owners and admins.")

    @confirmed(
        "Remove",
        icon="delete",
        title="Remove limit",
        text="The limit no longer warns or pauses. Its history is kept.",
        leads_to_list=True,
    )
    def remove(self, request: HttpRequest, limit: SpendLimit) -> str:
        remove_limit(organization=limit.organization, limit=limit, actor=_actor(request), now=utc_now())
        return "Limit removed."

    @confirmed(
        "End",
        icon="event_busy",
        title="End override",
        text="The limit's own amount applies again immediately.",
    )
    def end_override(self, request: HttpRequest, limit: SpendLimit) -> str:
        """End the override that the URL names."""
        end_override(
            organization=limit.organization,
            override=_named_override(request, limit),
            actor=_actor(request),
            now=utc_now(),
        )
        return "Override ended."

    def check_action(self, request: HttpRequest, row: SpendLimit, name: str) -> None:
        if name == "end_override":
            _named_override(request, row)

    def confirmation_form(self, request: HttpRequest, row: SpendLimit, form_class: type[Form]) -> Form:
        sent = request.POST if request.method == "POST" else None
        if issubclass(form_class, OverrideForm):
            return form_class(sent, limit=row, initial=_initial(request, row, form_class))
        return form_class(sent)

    def confirmation_context(self, request: HttpRequest, row: SpendLimit, name: str) -> dict[str, Any]:
        now = utc_now()
        status = status_of(row, now, value=_stored_value(row, request.GET.get("value", ""), now) or "")
        context: dict[str, Any] = {"summary": []}
        if status is not None:
            sentence = limit_text.status_sentence(status, LocalTimes(row.organization.calendar, now))
            context |= {
                "gauge": progress_bar.labeled(status),
                "badge": limit_text.badge(status),
                "summary": [sentence],
            }
        if name == "end_override":
            override = _named_override(request, row)
            context["summary"].append(f"{override.get_kind_display()} by {override.actor}: {override.reason}")
        display_value = status.rule.display_value if status is not None else ""
        return {**context, "subject": limit_text.name(row, display_value)}


def _call(
    service: Callable[..., object], request: HttpRequest, limit: SpendLimit, given: dict[str, Any], done: str
) -> str:
    """Call a service with the data of an override form; return the success message."""
    data = {"value": "", **given}
    service(organization=limit.organization, limit=limit, **data, actor=_actor(request), now=utc_now())
    return done


def _actor(request: HttpRequest) -> Principal:
    return Principal(user=request_user(request))


def _named_override(request: HttpRequest, limit: SpendLimit) -> LimitOverride:
    named = request.GET.get("override", "")
    for override in active_overrides(limit, utc_now()):
        if str(override.pk) == named:
            return override
    raise ConflictError("This override has already ended.")


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
    stored = _stored_value(limit, value, now)
    return active_overrides(limit, now).filter(kind=OverrideKind.PAUSE, value=stored).exists()


def _stored_value(limit: SpendLimit, value: str, now: datetime) -> str | None:
    """Return the stored form of a value from the URL; None if it is invalid."""
    try:
        return stored_value(limit, value, now=now)
    except DomainError:
        return None
