"""The admin of increase requests, which an owner approves until a date or declines."""

from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.form_fields import MoneyField, reason_field
from billing.admin.components.list_filters import ChoiceFilter, NumberFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin
from billing.admin.components.tables import column
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_statuses import status_of
from billing.admin.limits.threshold_event_admin import ListOfLimitValues, limit_link, name_values
from billing.limits.increases import MAX_TEXT_LENGTH, decline, grant
from billing.models import IncreaseRequest
from billing.types import IncreaseState
from costtrack.clock import utc_now
from costtrack.date_fields import EndFormField, use_calendar
from costtrack.file_columns import ComputedColumn, Kind
from costtrack.money import usd
from organizations.admin_actions import confirmed
from organizations.admin_base import Row
from organizations.admin_request import request_user
from organizations.permissions import INCREASE_REQUESTS
from organizations.principals import Principal


class ApproveForm(forms.Form):
    amount_usd = MoneyField(label="Temporary amount (US dollars)", help_text="You can grant a different amount.")
    until = EndFormField(label="Until", help_text="After this date the limit's own amount applies again.")
    answer = reason_field(
        label="Answer", max_length=MAX_TEXT_LENGTH, required=False, help_text="Sent to the requester. Optional."
    )


class DeclineForm(forms.Form):
    answer = reason_field(label="Answer", max_length=MAX_TEXT_LENGTH, help_text="The reason. Sent to the requester.")


@admin.register(IncreaseRequest)
class IncreaseRequestAdmin(SingleOrganizationAdmin):
    row_names = ("limit request", "limit requests")
    resource = INCREASE_REQUESTS
    read_only = True
    select_related = ("limit", "granted", "organization__plan")
    changelist_class = ListOfLimitValues
    file_columns = (ComputedColumn("limit", Kind.TEXT, lambda row: limit_text.name(row.limit, row.display_value)),)
    list_display = ("requester", "for_limit", "requested_amount", "why", "state_shown", "answered")
    list_filter = (
        OrganizationFilter,
        ChoiceFilter.of("state", "state", options=IncreaseState),
        NumberFilter.of("limit id", "limit", column="limit"),  # the limit's page links here
    )
    ordering = ("-id",)
    actions_detail = ("grant", "decline")  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "No requests"
    empty_text = (
        "Members can request an increase on a limit's page or by the API. Owners and admins are notified, and "
        "approve it until a date or decline it."
    )

    def has_answer_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """Allow those who may raise the limit itself: owners, admins, and operators, who act as owners."""
        return obj is not None and self.has_manage_permission(request, obj)

    def available_actions(self, request: HttpRequest, row: IncreaseRequest) -> Collection[str]:
        return self.actions_detail if row.state == IncreaseState.OPEN.value else ()

    def cards(self, request: HttpRequest, row: IncreaseRequest) -> list[Card]:
        name_values(row.organization, [row])
        granted, times = row.granted, LocalTimes.of(row.organization)
        is_answered = row.state != IncreaseState.OPEN.value
        details = (
            ("Limit", self.for_limit(row)),
            ("Now", _gauge(row)),
            ("Requested by", row.requested_by),
            ("When", times.inline(row.requested_at)),
            ("Reason", row.reason),
            ("Approved", usd(granted.amount_usd) if granted is not None and granted.amount_usd is not None else ""),
            ("Until", times.exact(granted.ends_at) if granted is not None else ""),
            ("Answered by", row.answered_by),
            ("Answered", times.inline(row.answered_at)),
            ("Answer", row.answer),
            ("Organization", row.organization.name),
        )
        return [
            Card(
                amount=usd(row.amount_usd),
                text=_instead(row),
                badges=self.state_shown(row),
                details=without_empty(details),
                footer=""
                if is_answered or self.has_answer_permission(request, row)
                else "Only an owner or admin of the organization can answer this request.",
            )
        ]

    # --- Answers -----------------------------------------------------------------------------------------------

    @confirmed(
        "Approve",
        icon="check_circle",
        title="Approve the request",
        verb="Approve",
        form=ApproveForm,
        permission="answer",
    )
    def grant(self, request: HttpRequest, increase_request: IncreaseRequest, **given: Any) -> str:
        return self._answer(request, increase_request, grant, given)

    @confirmed(
        "Decline", icon="block", title="Decline the request", verb="Decline", form=DeclineForm, permission="answer"
    )
    def decline(self, request: HttpRequest, increase_request: IncreaseRequest, **given: Any) -> str:
        return self._answer(request, increase_request, decline, given)

    def _answer(self, request: HttpRequest, increase_request: IncreaseRequest, service: Any, given: Any) -> str:
        done = service(
            organization=increase_request.organization,
            request=increase_request,
            **given,
            acting_as=self._role(request, increase_request),
            actor=Principal(user=request_user(request)),
            now=utc_now(),
        )
        return f"Request {done.get_state_display().lower()}."

    def confirmation_form(self, request: HttpRequest, row: IncreaseRequest, form_class: type[forms.Form]) -> forms.Form:
        initial = {"amount_usd": row.amount_usd, "until": row.until}
        form = form_class(request.POST if request.method == "POST" else None, initial=initial)
        use_calendar(form, row.organization.calendar)
        return form

    def confirmation_context(self, request: HttpRequest, row: IncreaseRequest, name: str) -> dict[str, Any]:
        name_values(row.organization, [row])
        return {
            "subject": self.for_limit(row),
            "amount": usd(row.amount_usd),
            "badge": self.state_shown(row),
            "gauge": _gauge(row),
            "summary": [_instead(row), f"{row.requested_by}: {row.reason}"],
        }

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Requested by")
    def requester(self, increase_request: IncreaseRequest) -> SafeString:
        when = LocalTimes.of(increase_request.organization).relative(increase_request.requested_at)
        return formatting.two_lines(increase_request.requested_by, when)

    for_limit = column(IncreaseRequest, "Limit", limit_link)

    @admin.display(description="Requested")
    def requested_amount(self, increase_request: IncreaseRequest) -> SafeString:
        return formatting.two_lines(usd(increase_request.amount_usd), _until(increase_request) or "no end date")

    why = column(IncreaseRequest, "Reason", lambda row: row.reason)

    state_shown = column(IncreaseRequest, "State", limit_text.increase_badge)

    @admin.display(description="Answered by")
    def answered(self, increase_request: IncreaseRequest) -> SafeString | str:
        if increase_request.answered_at is None:
            return formatting.NOTHING
        when = LocalTimes.of(increase_request.organization).relative(increase_request.answered_at)
        return formatting.two_lines(increase_request.answered_by, when)


def _until(increase_request: IncreaseRequest) -> str:
    if increase_request.until is None:
        return ""
    return f"until {LocalTimes.of(increase_request.organization).exact(increase_request.until)}"


def _instead(increase_request: IncreaseRequest) -> str:
    """Return `until 2026-11-30 00:00 Europe/Berlin, instead of $10.00`."""
    status = status_of(increase_request.limit, utc_now(), value=increase_request.value)
    amount = usd(status.rule.amount_usd if status is not None else increase_request.limit.amount_usd)
    return ", ".join(filter(None, (_until(increase_request), f"instead of {amount}")))


def _gauge(increase_request: IncreaseRequest) -> SafeString | str:
    status = status_of(increase_request.limit, utc_now(), value=increase_request.value)
    return progress_bar.labeled(status) if status is not None else ""
