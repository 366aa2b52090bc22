"""The request log: model calls, newest or most expensive first, each linking to its cost details. For a short period it
also shows a cost breakdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, ClassVar

from django.urls import reverse
from django.utils.http import urlencode

from billing.admin.components import formatting
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.event_table import row_of_call
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.urls import url_with
from billing.admin.dashboard.request_log.cost_breakdown import MAX_LENGTH, cost_breakdown
from billing.admin.dashboard.request_log.request_log_form import BY_COST, ORDERS, RequestLogForm
from billing.reports.cursors import cursor_of, position_of
from billing.reports.usage.breakdown import list_filter_options
from billing.reports.usage.calls import MAX_SORTED, Call, count_calls, list_calls, most_expensive_calls
from billing.reports.usage.query import UsageQuery, build_query
from costtrack.admin_site import register_page
from costtrack.calendar import Span
from organizations.models import APICredential

_CALLS_SHOWN = 50
_MAX_CREDENTIALS = 500
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of calls. `position` is the cursor of the next page, or empty. `searched_back_to` is a day if the page is
    not full because the search stopped there. `too_many` is the number of calls if they are too many to sort by cost.
    """

    calls: Sequence[Call] = ()
    position: str = ""
    searched_back_to: str = ""
    is_by_cost: bool = False
    too_many: str = ""


class RequestLogPage(OrganizationPage):
    title: ClassVar[str] = "Request log"
    template_name: ClassVar[str] = "admin/dashboard/request_log.html"

    def page_context(self) -> dict[str, Any]:
        calendar, trail = self.organization.calendar, CursorTrail.of(self.request.GET)
        form = RequestLogForm(self.request.GET, calendar)
        period = form.period(calendar, self.now)
        query = self._query(form, period.span)
        self._offer(form, query)
        listed = self._listed(form, query, trail) if form.is_valid() else Listed()
        shows_breakdown = form.is_valid() and trail.is_first and not form.has_call_filters
        return {
            "form": form,
            "period": period,
            "visible": query.visible,
            "listed": listed,
            "rows": [row_of_call(call, calendar=calendar, now=self.now) for call in listed.calls],
            "trail": trail,
            "older": trail.older(listed.position) if listed.position else "",
            "orders": [(name, url_with(self.request, sort_by=order), order == form.order) for order, name in ORDERS],
            "max_sorted": formatting.count(MAX_SORTED),
            "spent": cost_breakdown(query, self.request) if shows_breakdown else None,
            "day_url": self._day_url(form, query),
            "ledger_url": _ledger_url(query.window),
            # No refresh while sorted by cost, so that rows do not move.
            "refresh_seconds": self.refresh_seconds if trail.is_first and not listed.is_by_cost else 0,
        }

    def _query(self, form: RequestLogForm, window: Span) -> UsageQuery:
        return build_query(
            organization=self.organization,
            filters=form.filters,
            window=window,
            now=self.now,
            has_full_history=self.user.is_superuser,
        )

    def _offer(self, form: RequestLogForm, query: UsageQuery) -> None:
        credentials = APICredential.objects.of(self.organization).order_by("name", "id")[:_MAX_CREDENTIALS]
        used = list_filter_options(organization=self.organization, since=query.window.start)
        form.offer(credentials=[(credential.client_id, credential.name) for credential in credentials], used=used)

    def _listed(self, form: RequestLogForm, query: UsageQuery, trail: CursorTrail) -> Listed:
        too_many = ""
        if form.order == BY_COST:
            number = count_calls(organization=self.organization, window=query.window)
            if number <= MAX_SORTED:
                return self._most_expensive(form, query, trail)
            too_many = formatting.count(number)
        return self._newest(form, query, trail, too_many)

    def _newest(self, form: RequestLogForm, query: UsageQuery, trail: CursorTrail, too_many: str) -> Listed:
        page = list_calls(
            organization=self.organization,
            filters=form.calls(query.filters, query.window),
            after=position_of(trail.cursor, param="after"),
            limit=_CALLS_SHOWN,
        )
        if page.last is None:
            return Listed(page.rows, too_many=too_many)
        is_full = len(page.rows) == _CALLS_SHOWN
        return Listed(
            calls=page.rows,
            position=cursor_of(page.last),
            searched_back_to="" if is_full else f"{query.calendar.date_of(page.last.at)}",
            too_many=too_many,
        )

    def _most_expensive(self, form: RequestLogForm, query: UsageQuery, trail: CursorTrail) -> Listed:
        page = most_expensive_calls(
            organization=self.organization,
            filters=form.calls(query.filters, query.window),
            after=position_of(trail.cursor, param="after"),
            limit=_CALLS_SHOWN,
        )
        return Listed(page.rows, cursor_of(page.last) or "", is_by_cost=True)

    def _day_url(self, form: RequestLogForm, query: UsageQuery) -> str:
        """For a part of a day, return the usage page of the full day by hour with the same filters; else empty."""
        window, calendar = query.window, query.calendar
        day = calendar.date_of(window.start)
        if window.end - window.start > MAX_LENGTH or window == calendar.days(day, day):
            return ""
        given = {
            name: value for name in ("client_id", "capability", "model", "status") if (value := form.data.get(name))
        }
        parameters = {"range": "custom", "start_date": day, "end_date": day, **given}
        return f"{reverse('admin:usage')}?{urlencode(parameters)}"


def _ledger_url(window: Span) -> str:
    """Return the ledger's URL; for a period of one hour, filtered by that hour."""
    url = reverse("admin:billing_usageevent_changelist")
    if window.end - window.start != _HOUR:
        return url
    return f"{url}?{urlencode({'hour': f'{window.start.astimezone(UTC):%Y-%m-%dT%H:%M}'})}"


register_page("requests/", RequestLogPage.as_view(), name="request_log")
