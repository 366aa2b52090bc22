"""The request log: model calls, newest or most expensive first, each linking to its cost details. For a short period it
also shows a cost breakdown."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from functools import partial
from typing import Any, ClassVar

from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, EmptyState
from billing.admin.components.cursor_trail import PARAMETER, CursorTrail
from billing.admin.components.event_table import call_table
from billing.admin.components.files import FileView, file_links
from billing.admin.components.tables import Sorting
from billing.admin.components.urls import admin_url, url_with
from billing.admin.components.usage_form import BY_COST, FILTERS, UsageQueryPage
from billing.admin.dashboard.request_log.cost_breakdown import MAX_LENGTH, cost_breakdown
from billing.admin.dashboard.request_log.request_log_form import ORDERS, RequestLogForm
from billing.archives.storage import StorageError
from billing.exports.table_files import FileQuery
from billing.exports.usage_files import RequestsFile
from billing.reports.archived_events import may_have_archive
from billing.reports.cursors import cursor_of, position_of
from billing.reports.usage.query import UsageQuery
from billing.reports.usage.request_log import MAX_SORTED, Call, count_calls, list_calls, most_expensive_calls
from costtrack.admin_site import register_page
from costtrack.calendar import Span
from costtrack.date_text import day_text
from costtrack.errors import InvalidError

logger = logging.getLogger(__name__)

_CALLS_SHOWN = 50
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of calls. `position` is the cursor of the next page, or empty. `searched_back_to` is a day if the page is
    not full because the search stopped there. `too_many` is the number of calls if they are too many to sort by cost,
    `archived` that of archived calls on the page.
    """

    calls: Sequence[Call] = ()
    position: str = ""
    searched_back_to: str = ""
    is_by_cost: bool = False
    too_many: str = ""
    archived: str = "0"
    is_archive_unreadable: bool = False


class RequestLogPage(UsageQueryPage):
    title: ClassVar[str] = "Request log"
    template_name: ClassVar[str] = "admin/dashboard/request_log.html"
    stylesheets = ("costtrack/breakdowns.css", "costtrack/runs.css", "costtrack/request_log.css")

    def page_context(self) -> dict[str, Any]:
        calendar, trail = self.organization.calendar, CursorTrail.of(self.request.GET)
        form = RequestLogForm(self.request.GET, calendar)
        period = form.period(calendar, self.now)
        query = self.usage_query(form.filters, period.span)
        self.offer(form, since=query.window.start)
        listed = self._listed(form, query, trail) if form.is_valid() else Listed()
        shows_breakdown = form.is_valid() and trail.is_first and not form.has_call_filters
        older = trail.older(listed.position) if listed.position else ""
        spent = cost_breakdown(query, self.request) if shows_breakdown else None
        day_url, ledger_url = self._day_url(form, query), _ledger_url(query.window)
        sorting = Sorting(self.request, BY_COST, BY_COST) if listed.is_by_cost else None
        return {
            "form": form,
            "period": period,
            "visible": query.visible,
            "listed": listed,
            "table": call_table(listed.calls, self.times, sorting=sorting),
            "trail": trail,
            "older": older,
            "orders": [(name, url_with(self.request, sort_by=order), order == form.order) for order, name in ORDERS],
            "files": file_links(self, "request_log_file"),
            "max_sorted": formatting.count(MAX_SORTED),
            "spent": spent,
            "day_url": day_url,
            "ledger_url": ledger_url,
            "empty": self._empty_state(
                form, listed, older=older, ledger_url=ledger_url if spent is not None else "", day_url=day_url
            ),
            # No refresh while sorted by cost, so that rows do not move.
            "refresh_seconds": self.refresh_seconds if trail.is_first and not listed.is_by_cost else 0,
        }

    def _listed(self, form: RequestLogForm, query: UsageQuery, trail: CursorTrail) -> Listed:
        is_by_cost, too_many = form.order == BY_COST, ""
        if is_by_cost:
            number = count_calls(organization=self.organization, window=query.window)
            if number > MAX_SORTED:
                is_by_cost, too_many = False, formatting.count(number)
        list_page = partial(
            most_expensive_calls if is_by_cost else list_calls,
            organization=self.organization,
            after=position_of(trail.cursor, param="after"),
            limit=_CALLS_SHOWN,
        )
        filters, is_unreadable = form.calls(query.filters, query.window), False
        with_archive = may_have_archive(self.organization, self.now)
        try:
            page = list_page(filters=replace(filters, with_archive=with_archive))
        except StorageError:
            logger.warning("the archive cannot be read", exc_info=True)
            page, is_unreadable = list_page(filters=filters), True
        stopped = page.last if not is_by_cost and len(page.rows) < _CALLS_SHOWN else None
        return Listed(
            calls=page.rows,
            position=cursor_of(page.last) or "",
            searched_back_to=day_text(query.calendar.date_of(stopped.at)) if stopped is not None else "",
            is_by_cost=is_by_cost,
            too_many=too_many,
            archived=formatting.count(sum(call.is_archived for call in page.rows)),
            is_archive_unreadable=is_unreadable,
        )

    def _day_url(self, form: RequestLogForm, query: UsageQuery) -> str:
        """For a part of a day, return the usage page of the full day by hour with the same filters; else empty."""
        window, calendar = query.window, query.calendar
        day = calendar.date_of(window.start)
        if window.end - window.start > MAX_LENGTH or window == calendar.days(day, day):
            return ""
        given = {name: value for name in FILTERS if (value := form.data.get(name))}
        return admin_url("usage", range="custom", start_date=f"{day}", end_date=f"{day}", **given)

    def _empty_state(
        self, form: RequestLogForm, listed: Listed, *, older: str, ledger_url: str, day_url: str
    ) -> EmptyState:
        """`ledger_url` is empty if the period has no spend."""
        if form.errors:
            return INVALID_FILTERS
        if older:
            further = [("Search further back", f"{self.request.path}{older}")]
            searched = f"Searched back to {listed.searched_back_to}."
            return EmptyState("search", "No matches yet", searched, further, is_first_use=True)
        if ledger_url:
            ledger = [("View in ledger", ledger_url)]
            text = "The costs in this period are from tools, compute or corrections."
            return EmptyState("construction", "No model calls", text, ledger, is_first_use=True)
        if form.is_narrowed or PARAMETER in self.request.GET:
            text = "Names and ids must match exactly. Choose a longer period or fewer filters."
            return EmptyState("search_off", "No matching calls", text, [("Clear filters", self.request.path)])
        text = "Calls appear within seconds after they were sent. Choose a longer period, or send the first call."
        start = ("View day by hour", day_url) if day_url else ("Send the first event", admin_url("getting_started"))
        return EmptyState("receipt_long", "No calls in this period", text, [start], is_first_use=True)


def _ledger_url(window: Span) -> str:
    """Return the ledger's URL; for a period of one hour, filtered by that hour."""
    is_hour = window.end - window.start == _HOUR
    hour = f"{window.start.astimezone(UTC):%Y-%m-%dT%H:%MZ}" if is_hour else ""
    return admin_url("billing_usageevent_changelist", hour=hour)


class RequestLogFile(FileView):
    """The calls of the list, in its order."""

    def file_query(self) -> FileQuery:
        form = RequestLogForm(self.request.GET, self.organization.calendar)
        query = self.usage_query(form.filters, form.period(self.organization.calendar, self.now).span)
        if not form.is_valid():
            raise InvalidError(INVALID_FILTERS.title)
        calls = form.calls(query.filters, query.window)
        return RequestsFile(
            filters=query.filters,
            window=query.window,
            received_by=self.now,
            endpoint=calls.endpoint,
            only_calls=True,
            by_cost=form.order == BY_COST
            and count_calls(organization=self.organization, window=query.window) <= MAX_SORTED,
        )


register_page("files/requests/", RequestLogFile.as_view(), name="request_log_file")
register_page("requests/", RequestLogPage.as_view(), name="request_log")
