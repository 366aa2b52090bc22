"""The page "My usage": what carries one of the member's `user_id`s. It is the only usage that the role Member sees.

Its numbers are those of `GET /usage/own` and `GET /usage/own/requests`.
"""

from typing import Any, ClassVar

from billing.admin.components import formatting
from billing.admin.components.cards import Card, EmptyState, Figure
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.date_range import PeriodForm, period_of
from billing.admin.components.files import FileView, file_links
from billing.admin.components.percent_bar import percent_bar
from billing.admin.components.table_files import TableFilesPage
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url
from billing.admin.components.usage_form import UsageQueryPage
from billing.admin.limits import limit_text
from billing.admin.limits.limit_summary_card import limit_summary
from billing.exports.table_files import FileQuery
from billing.exports.usage_files import RequestsFile
from billing.limits.types import LimitStatus
from billing.models import IncreaseRequest
from billing.reports.cursors import cursor_of, position_of
from billing.reports.spend.totals import NamedSpend
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.own import OwnUsage, own_limits, own_usage
from billing.reports.usage.request_log import Call, CallFilter, list_calls
from billing.types import LimitUnit, amount_text
from costtrack.admin_site import register_page
from costtrack.file_columns import Kind, attributes, computed
from costtrack.money import usd
from organizations.models import Membership
from organizations.permissions import OWN_USAGE
from organizations.selectors import own_user_ids, teams_of

_CALLS_SHOWN = 50
_REQUESTS_SHOWN = 5
_REQUEST_COLUMNS = (
    *computed(Kind.TEXT, limit=lambda row: limit_text.name(row.limit)),
    *attributes(Kind.AMOUNT, "amount_usd"),
    *attributes(Kind.TEXT, "reason", "state", "answer"),
    *attributes(Kind.TIME, "created_at", "until"),
)
_MODEL_COLUMNS = (
    *computed(Kind.TEXT, model=lambda row: row.name),
    *computed(Kind.COUNT, requests=lambda row: row.calls),
    *computed(Kind.AMOUNT, cost_usd=lambda row: row.spend),
)


class OwnUsagePage(TableFilesPage, UsageQueryPage):
    title: ClassVar[str] = "My usage"
    template_name: ClassVar[str] = "admin/dashboard/own_usage.html"
    stylesheets = ("costtrack/breakdowns.css", "costtrack/usage.css")
    resource = OWN_USAGE

    def page_context(self) -> dict[str, Any]:
        members = Membership.objects.of(self.organization).accepted().with_user()
        membership = members.filter(user=self.user).first()
        if membership is None:
            text = "Operators who are not members have no usage of their own."
            return {"empty": EmptyState("person", "No usage of your own", text)}
        user_ids = own_user_ids(self.organization, membership)
        form, trail = PeriodForm(self.request.GET), CursorTrail.of(self.request.GET)
        period = period_of(form, self.organization.calendar, self.now)
        query = self.usage_query(UsageFilter(), period.span)
        usage = own_usage(organization=self.organization, user_ids=user_ids, window=query.window, now=self.now)
        page = list_calls(
            organization=self.organization,
            filters=CallFilter(query.filters, query.window, users=tuple(user_ids)),
            after=position_of(trail.cursor, param="after"),
            limit=_CALLS_SHOWN,
        )
        limits = own_limits(organization=self.organization, user_ids=user_ids, now=self.now)
        return {
            "form": form,
            "period": period,
            "visible": query.visible,
            "user_ids": user_ids,
            "teams": [str(team) for team in teams_of(membership)],
            "figures": _figures(usage, period.name),
            "limits": [(limit_summary(status, self.times), _increase_url(status)) for status in limits],
            "requests": self._requests(),
            "models": Card("By model", table=self._models(usage)),
            "calls": self._calls(page.rows),
            "files": file_links(self, "own_usage_file"),
            "trail": trail,
            "older": trail.older(cursor_of(page.last)) if page.last is not None else "",
            "refresh_seconds": self.refresh_seconds if trail.is_first else 0,
        }

    def _requests(self) -> Table[IncreaseRequest]:
        """Return the member's latest increase requests."""
        requests = IncreaseRequest.objects.of(self.organization).filter(requested_by=self.user.email)
        columns = (
            Column[IncreaseRequest]("Limit", lambda row: formatting.two_lines(limit_text.name(row.limit), row.reason)),
            Column[IncreaseRequest]("Requested", lambda row: amount_text(row.amount_usd, LimitUnit(row.limit.unit))),
            Column[IncreaseRequest]("State", limit_text.increase_badge),
            Column[IncreaseRequest]("Answer", lambda row: row.answer or formatting.NOTHING),
        )
        rows = list(requests.select_related("limit").order_by("-id")[:_REQUESTS_SHOWN])
        file = self.table_file("your-limit-requests", _REQUEST_COLUMNS, lambda: requests.order_by("-id"))
        return Table("Your limit requests", columns, rows, file=file)

    def _models(self, usage: OwnUsage) -> Table[NamedSpend]:
        columns = (
            Column[NamedSpend]("Model", lambda row: row.name or "No model", css="ct-names"),
            Column[NamedSpend]("Requests", lambda row: formatting.count(row.calls), is_number=True),
            Column[NamedSpend]("Cost", lambda row: usd(row.spend), is_number=True),
            Column[NamedSpend]("Share", lambda row: percent_bar(row.spend, usage.cost_usd)),
        )
        file = self.table_file("your-usage-by-model", _MODEL_COLUMNS, lambda: usage.models)
        return Table("Your usage by model", columns, usage.models, empty="No usage in this period.", file=file)

    def _calls(self, calls: Any) -> Table[Call]:
        columns = (
            Column[Call]("When", lambda call: self.times.two_lines(call.occurred_at)),
            Column[Call]("Model", lambda call: formatting.two_lines(call.model or "No model", call.service)),
            Column[Call]("Tokens in", lambda call: formatting.count(call.prompt_tokens), is_number=True),
            Column[Call]("Tokens out", lambda call: formatting.count(call.completion_tokens), is_number=True),
            Column[Call](
                "Cost", lambda call: usd(call.cost_usd) if call.cost_usd is not None else "No price yet", is_number=True
            ),
        )
        return Table("Your calls", columns, calls, empty="No calls in this period.")


def _increase_url(status: LimitStatus) -> str:
    return admin_url(
        "own_increase", status.rule.limit_id, user_id=status.rule.value if status.rule.is_per_value else ""
    )


def _figures(usage: OwnUsage, period_name: str) -> list[Figure]:
    unpriced = f"{formatting.count(usage.unpriced_events)} without a price" if usage.unpriced_events else ""
    return [
        Figure("Today", usd(usage.spend.today_usd)),
        Figure("Last 7 days", usd(usage.spend.rolling_7d_usd)),
        Figure("This month", usd(usage.spend.month_to_date_usd)),
        Figure("Requests", formatting.count(usage.requests), (period_name,)),
        Figure("Cost", usd(usage.cost_usd), (period_name, unpriced)),
    ]


class OwnUsageFile(FileView):
    resource = OWN_USAGE

    def file_query(self) -> FileQuery:
        members = Membership.objects.of(self.organization).accepted().with_user()
        membership = members.get_or_not_found("usage of your own", user=self.user)
        query = self.usage_query(
            UsageFilter(), period_of(PeriodForm(self.request.GET), self.organization.calendar, self.now).span
        )
        return RequestsFile(
            filters=query.filters,
            window=query.window,
            received_by=self.now,
            only_calls=True,
            users=tuple(own_user_ids(self.organization, membership)),
        )


register_page("files/my-usage/", OwnUsageFile.as_view(), name="own_usage_file")
register_page("my-usage/", OwnUsagePage.as_view(), name="own_usage")
