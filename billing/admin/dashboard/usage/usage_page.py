"""The usage page: current spend and its drivers over any period, by all dimensions.

Its numbers are those of `GET /usage/...` (document 001) for the same filters. Days are in the organization's time zone.
"""

from typing import Any, ClassVar

from billing.admin.components import formatting
from billing.admin.components.cards import EmptyState
from billing.admin.components.date_range import period_of
from billing.admin.components.urls import admin_url, url_with
from billing.admin.components.usage_form import FILTERS, UsageQueryPage
from billing.admin.dashboard.operator_overview import queues
from billing.admin.dashboard.usage.call_urls import explore_url
from billing.admin.dashboard.usage.limit_line import LimitLine, limit_line, own_limits
from billing.admin.dashboard.usage.usage_chart import Timeline, timeline, usage_chart
from billing.admin.dashboard.usage.usage_metrics import figures_of_spend, figures_of_window
from billing.admin.dashboard.usage.usage_page_form import UsagePageForm
from billing.admin.dashboard.usage.usage_tables import breakdown
from billing.admin.limits.limit_summary_card import LimitOverview, limit_overview
from billing.exports.usage_files import Rows
from billing.limits.pace import organization_pace
from billing.models import IngestBatch
from billing.reports.anomalies import anomaly_texts
from billing.reports.forecast.explanation import SERIES_SCOPES
from billing.reports.overview import backlog
from billing.reports.usage.breakdown import View
from billing.reports.usage.figures import DIMENSION_OF, DIMENSIONS, Figures, GroupBy, UsageFilter
from billing.reports.usage.query import UsageQuery
from billing.reports.usage.totals import headline
from costtrack.admin_site import register_page
from costtrack.calendar import Preset, Span
from costtrack.date_text import day_text
from costtrack.errors import DomainError
from costtrack.file_columns import FileLinks
from organizations.admin.switcher import offered_organizations

_SERIES = {DIMENSION_OF[GroupBy(scope.value)].parameter: scope for scope in SERIES_SCOPES}
"""The filters that a chart of one series has, with their scopes."""
_FILES = ((Rows.DAYS, "Days"), (Rows.REQUESTS, "Calls"))


class UsagePage(UsageQueryPage):
    title: ClassVar[str] = "Usage"
    template_name: ClassVar[str] = "admin/dashboard/usage.html"
    stylesheets = ("costtrack/breakdowns.css", "costtrack/usage.css")
    explains_plan = True

    def _groups_file(self, query: UsageQuery, by: GroupBy) -> FileLinks:
        """Return the links to the explorer's file, which has every group with the page's period and filters."""
        if (refusal := self.plan_rights.exports_refusal()) is not None:
            return FileLinks(refused=refusal.message)
        return FileLinks.of(admin_url("explore_file"), explore_url(query, self.request, by).partition("?")[2])

    def page_context(self) -> dict[str, Any]:
        if (refused := self.plan_rights.api_refusal()) is not None:
            return {"empty": self._without_api(refused)}
        form = UsagePageForm(self.request.GET)
        period = period_of(form, self.organization.calendar, self.now)
        query = self.usage_query(form.filters, period.span)
        if not self.request.headers.get("HX-Request"):
            recent = query.calendar.preset(Preset.DAYS_90, self.now).start
            self.offer(form, since=min(query.window.start, recent))
            form.offer_organizations(offered_organizations(self.user, self.organization), self.organization)
        is_all = query.filters == UsageFilter()
        limits = limit_overview(self.organization, now=self.now)
        pace = organization_pace(self.organization, self.now) if is_all else None
        is_forecast = (
            pace is not None and form.view_shown is View.COST and period.whole(query.calendar, self.now).end > self.now
        )
        whole = period.whole(query.calendar, self.now) if is_forecast else query.window
        compared_with = None if query.visible.is_clipped else query.if_visible(period.before(query.calendar))
        times = timeline(query, form, whole, compared_with, is_forecast=is_forecast)
        before = None if compared_with is None else query.until_same_time(compared_with, query.window)
        summary = headline(query, before=before, periods=times.before)
        total = summary.window.figures
        usage = usage_chart(
            query,
            form,
            times,
            self.request,
            before=summary.periods,
            pace=pace if is_forecast else None,
            limit=self._limit_line(limits, whole, times, form) if is_all else None,
            unusual=self._unusual(query, form, times),
        )
        by = form.stacked_by
        return {
            "form": form,
            "period": period,
            "period_name": period.name if period.is_custom else f"{period.name[:1].lower()}{period.name[1:]}",
            "narrowed": [item.label.lower() for item in DIMENSIONS if getattr(query.filters, item.parameter)],
            "spend_figures": figures_of_spend(summary, limits.statuses, pace, self.times, is_all=is_all),
            "figures": figures_of_window(summary.window),
            "unpriced": formatting.count(total.unpriced_events) if total.unpriced_events else "",
            "usage": usage,
            "breakdown": breakdown(query, by, usage.groups, total, self.request, self._groups_file(query, by))
            if by is not None
            else None,
            "empty": _no_usage() if self._is_new(query, total) else None,
            "limits": limits,
            "has_limit": bool(own_limits(limits.statuses)),
            "limits_url": admin_url("billing_spendlimit_changelist", organization=self.organization.pk),
            "queues": queues(self.organization, backlog(organization=self.organization)),
            "may_change": self.role.may_change,
            "today_url": self._url_of(Preset.TODAY),
            "yesterday_url": self._url_of(Preset.YESTERDAY),
            "since": self._since(query),
            **self._files(),
        }

    def _unusual(self, query: UsageQuery, form: UsagePageForm, times: Timeline) -> list[str]:
        """Return texts about unusual spend of what a chart of costs shows: of everything, or of one value of a
        dimension that has bands."""
        given = {name: value for name in FILTERS if (value := getattr(query.filters, name))}
        series = None
        if len(given) == 1:
            ((name, value),) = given.items()
            series = (_SERIES[name], value) if name in _SERIES else None
        if form.view_shown is not View.COST or form.is_cumulative or (given and series is None):
            return []
        return anomaly_texts(organization=self.organization, periods=times.periods, series=series)

    def _limit_line(self, limits: LimitOverview, whole: Span, times: Timeline, form: UsagePageForm) -> LimitLine | None:
        calendar = self.organization.calendar
        return limit_line(limits.statuses, calendar, whole, times.unit, is_cumulative=form.is_cumulative)

    def _without_api(self, refused: DomainError) -> EmptyState:
        organization = self.organization
        text = (
            f"API usage of {organization.name} is not shown on this plan. Usage is still recorded, and appears here "
            f"after an upgrade. Ask an operator to change the plan of {organization.slug}."
        )
        links = [("Compare plans", admin_url("plan"))]
        return EmptyState("monitoring", refused.message, text, links, is_first_use=True)

    def _url_of(self, preset: Preset) -> str:
        """Return the page's URL for another period."""
        return url_with(self.request, range=preset.value, start_date="", end_date="")

    def _is_new(self, query: UsageQuery, total: Figures) -> bool:
        """Whether no event was ever received."""
        is_nothing = total == Figures() and query.filters == UsageFilter()
        return is_nothing and not IngestBatch.objects.of(self.organization).exists()

    def _since(self, query: UsageQuery) -> str:
        """Return the first visible day if the plan's history clips the period; else empty."""
        return day_text(query.calendar.date_of(query.window.start)) if query.visible.is_clipped else ""

    def _files(self) -> dict[str, Any]:
        if (refused := self.plan_rights.exports_refusal()) is not None:
            return {"without_exports": refused.message}
        query_string = url_with(self.request).partition("?")[2]
        path = admin_url("usage_export")
        return {
            "files": [
                (name, f"{path}?rows={rows}" + (f"&{query_string}" if query_string else "")) for rows, name in _FILES
            ]
        }


def _no_usage() -> EmptyState:
    return EmptyState(
        "monitoring",
        "No usage yet",
        "Requests, tokens and costs appear here seconds after the first event.",
        [("Send the first event", admin_url("getting_started"))],
        is_first_use=True,
    )


register_page("usage/", UsagePage.as_view(), name="usage")
