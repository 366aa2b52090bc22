"""Document 001 as a page: what is spent now and what drives it, over any period, by whatever it is made of.

Its numbers are those of `GET /usage/...`, for the same filters. Days are those of the organization's time zone.
"""

from typing import Any, ClassVar

from django.urls import reverse

from billing.admin.components import datetimes, formatting
from billing.admin.components.urls import url_with
from billing.admin.components.usage_form import FILTERS, MAX_OPTIONS, UsageForm
from billing.admin.dashboard.operator_overview import queues
from billing.admin.dashboard.usage.usage_chart import usage_chart
from billing.admin.dashboard.usage.usage_metrics import figures_of_spend, figures_of_window
from billing.admin.dashboard.usage.usage_query_page import UsageQueryPage
from billing.admin.dashboard.usage.usage_tables import breakdowns, by_capability
from billing.admin.limits.limit_summary_card import limit_overview
from billing.exports.usage_csv import Rows
from billing.reports.overview import waiting
from billing.reports.usage.choices import used_since
from billing.reports.usage.figures import Figures, UsageFilter
from billing.reports.usage.headline import headline
from billing.reports.usage.query import UsageQuery
from costtrack.admin_site import register_page
from costtrack.calendar import Preset
from organizations.models import APICredential
from organizations.selectors import refusal_without_api, refusal_without_exports

_FILES = ((Rows.DAYS, "Days"), (Rows.REQUESTS, "Calls"))
_WORDS = {"client_id": "credential", "capability": "capability", "model": "model", "status": "status"}


class UsagePage(UsageQueryPage):
    title: ClassVar[str] = "Usage"
    template_name: ClassVar[str] = "admin/dashboard/usage.html"

    def page_context(self) -> dict[str, Any]:
        if not self.has_api_plan:
            return {"without_api": refusal_without_api(self.organization.plan)}
        form = UsageForm(self.request.GET)
        period, query = self.query(form)
        if not self.request.headers.get("HX-Request"):
            self._offer(form, query)
        found = headline(query)
        whole = found.window.figures
        return {
            "form": form,
            "period": period,
            "narrowed": [_WORDS[name] for name in FILTERS if getattr(query.filters, name)],
            "spend": figures_of_spend(found),
            "figures": figures_of_window(found.window),
            "unpriced": formatting.count(whole.unpriced_events) if whole.unpriced_events else "",
            "usage": usage_chart(query, form.view_shown, form.stacked_by, self.request),
            "capabilities": by_capability(query, whole, self.request),
            "tables": breakdowns(query, whole, self.request),
            "is_new": self._is_new(query, whole),
            "limits": limit_overview(self.organization, now=self.now),
            "limits_url": formatting.limits(self.organization.pk),
            "queues": queues(self.organization, waiting(organization=self.organization)),
            "may_change": self.role.may_change,
            "today_url": self._url_of(Preset.TODAY),
            "yesterday_url": self._url_of(Preset.YESTERDAY),
            "since": self._since(query),
            "as_of": datetimes.exact(self.now, self.organization.calendar),
            **self._files(),
        }

    def _url_of(self, preset: Preset) -> str:
        """The page, of another period."""
        return url_with(self.request, range=preset.value, start_date="", end_date="")

    def _offer(self, form: UsageForm, query: UsageQuery) -> None:
        """What was used in the period, or in the last days."""
        recent = query.calendar.preset(Preset.DAYS_90, self.now).start
        credentials = APICredential.objects.of(self.organization).order_by("name", "id")
        form.offer(
            credentials=credentials.values_list("client_id", "name")[:MAX_OPTIONS],
            used=used_since(organization=self.organization, since=min(query.window.start, recent)),
        )

    def _is_new(self, query: UsageQuery, whole: Figures) -> bool:
        """Nothing has ever been sent."""
        is_nothing = whole == Figures() and query.filters == UsageFilter()
        return is_nothing and not self.organization.batches.exists()

    def _since(self, query: UsageQuery) -> str:
        """The first day that is shown, if the plan has cut some off the period."""
        return f"{query.calendar.date_of(query.window.start):%Y-%m-%d}" if query.shown.is_clipped else ""

    def _files(self) -> dict[str, Any]:
        if not self.has_exports:
            return {"without_exports": refusal_without_exports(self.organization.plan).message}
        query_string = url_with(self.request).partition("?")[2]
        path = reverse("admin:usage_export")
        return {
            "files": [
                (name, f"{path}?rows={rows}" + (f"&{query_string}" if query_string else "")) for rows, name in _FILES
            ]
        }


register_page("usage/", UsagePage.as_view(), name="usage")
