"""The plan page: a comparison of all plans, the status of the plan's limits, and this month's cost."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Figure
from billing.admin.components.table_files import TableFilesPage
from billing.admin.components.tables import Column, Table
from billing.admin.limits.limit_summary_card import limit_summary
from billing.limits.cache import limit_set
from billing.limits.status import statuses
from billing.limits.types import LimitStatus
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.totals import spend_now, totals
from costtrack.admin_site import register_page
from costtrack.calendar import Preset, Span
from costtrack.date_text import days_text
from costtrack.file_columns import Kind, computed
from costtrack.money import usd
from costtrack.organization_paths import installation_url
from organizations.models import Plan
from organizations.permissions import ORGANIZATION


class Criterion(NamedTuple):
    """A row of the comparison: its name, an explanation, and what each plan has."""

    name: str
    about: str
    value: Callable[[Plan], str | SafeString]


class PlanPage(TableFilesPage):
    title: ClassVar[str] = "Plan"
    resource = ORGANIZATION
    template_name: ClassVar[str] = "admin/dashboard/plan.html"
    stylesheets = ("costtrack/plan.css",)
    refresh_seconds: ClassVar[int] = 30

    def page_context(self) -> dict[str, Any]:
        plan = self.organization.plan
        plans = list(Plan.objects.order_by("position", "code"))
        return {
            "plan": plan,
            "figures": self._figures(),
            "comparison": self._comparison(plans, current=plan),
            "limits": [limit_summary(status, self.times) for status in self._plan_limits()],
            "may_change": self.role.may_change,
            "is_operator": self.user.is_superuser,
            "plans_url": installation_url("organizations_plan_changelist"),
        }

    def _figures(self) -> list[Figure]:
        organization, plan = self.organization, self.organization.plan
        your_plan = Figure("Your plan", plan.name, (f"of {organization}",))
        if self.plan_rights.api_refusal() is not None:
            return [your_plan]
        spend = spend_now(organization=organization, filters=UsageFilter(), now=self.now)
        before = organization.calendar.preset(Preset.LAST_MONTH, self.now)
        spent_before = self._spent_in(before)
        is_invoiced = plan.api_access and not _has_maximum(plan)
        now, last = (
            ("Monthly invoice, so far", "Monthly invoice before")
            if is_invoiced
            else ("Spent this month", "Spent last month")
        )
        notes = (
            f"{self._days(spend.billing_period)}, {organization.time_zone}",
            f"The billing period ends {self.times.inline(spend.billing_period.end)}.",
        )
        return [
            your_plan,
            Figure(now, usd(spend.month_to_date_usd), notes),
            *([Figure(last, spent_before, (self._days(before),))] if spent_before else []),
        ]

    def _spent_in(self, window: Span) -> str:
        """Return the spend in a window; empty if it is outside the plan's history."""
        since = self.plan_rights.history_start(self.now)
        if since is not None and window.start < since:
            return ""
        (figures,) = totals(organization=self.organization, filters=UsageFilter(), windows=[window])
        return usd(figures.cost_usd)

    def _plan_limits(self) -> Sequence[LimitStatus]:
        """Return the status of the plan's own limits."""
        org_limits = limit_set(self.organization)
        of_plan = {limit.pk for limit in org_limits.limits if limit.is_plan}
        rules = [rule for rule in org_limits.single_limit_rules(now=self.now) if rule.limit_id in of_plan]
        return statuses(organization=self.organization, rules=rules, now=self.now)

    def _days(self, span: Span) -> str:
        """`2026-11-01 to 2026-11-30`"""
        calendar = self.organization.calendar
        return days_text(calendar.date_of(span.start), calendar.date_of(span.end - timedelta(microseconds=1)))

    def _comparison(self, plans: Sequence[Plan], *, current: Plan) -> Table[Criterion]:
        name = Column[Criterion]("", lambda criterion: formatting.two_lines(criterion.name, criterion.about))
        file = self.table_file("plans", _PLAN_COLUMNS, lambda: plans)
        columns = (name, *(_column(plan, current) for plan in plans))
        return Table("All plans compared", columns, _CRITERIA, css="ct-plans", file=file)


_PLAN_COLUMNS = (
    *computed(Kind.TEXT, code=lambda plan: plan.code, name=lambda plan: plan.name),
    *computed(Kind.BOOLEAN, api_access=lambda plan: plan.api_access),
    *computed(Kind.AMOUNT, max_weekly_limit_usd=lambda plan: plan.max_weekly_limit_usd),
    *computed(Kind.AMOUNT, default_weekly_limit_usd=lambda plan: plan.default_weekly_limit_usd),
    *computed(Kind.AMOUNT, max_monthly_limit_usd=lambda plan: plan.max_monthly_limit_usd),
    *computed(Kind.COUNT, history_days=lambda plan: plan.history_days),
    *computed(Kind.BOOLEAN, exports=lambda plan: plan.exports),
    *computed(Kind.COUNT, requests_per_minute=lambda plan: plan.requests_per_minute),
)


def _column(plan: Plan, current: Plan) -> Column[Criterion]:
    if plan != current:
        return Column(plan.name, lambda criterion: criterion.value(plan))
    heading = format_html("{} <small>Your plan</small>", plan.name)
    return Column(heading, lambda criterion: criterion.value(plan), css="ct-current")


def _yes_or_no(is_allowed: bool) -> SafeString:  # noqa: FBT001 - the only argument
    icon, css, text = ("check", "ct-good", "Yes") if is_allowed else ("remove", "ct-faint", "No")
    return format_html(
        '<span class="ct-sign material-symbols-outlined {}" aria-hidden="true">{}</span>{}', css, icon, text
    )


def _noted(text: str, note: str) -> SafeString:
    return format_html("{}<small>{}</small>", text, note)


def _weekly(plan: Plan) -> str | SafeString:
    largest, default = plan.max_weekly_limit_usd, plan.default_weekly_limit_usd
    maximum = _maximum(plan, largest)
    if default is None or default == largest or (largest is None and not plan.api_access):
        return maximum
    return _noted(maximum, f"{usd(default)} by default")


def _maximum(plan: Plan, largest: Decimal | None) -> str | SafeString:
    if largest is not None:
        return usd(largest)
    return "No maximum" if plan.api_access else _noted("None", "no API access")


def _history(plan: Plan) -> str:
    days = plan.history_days
    return "Everything" if days is None else f"{formatting.count(days)} day{'' if days == 1 else 's'}"


def _requests(plan: Plan) -> str:
    if not plan.api_access:
        return "None"
    per_minute = plan.requests_per_minute
    return "No limit" if per_minute is None else f"{formatting.count(per_minute)} per minute"


_CRITERIA = (
    Criterion("API access", "Read costs and authorize calls by API.", lambda plan: _yes_or_no(plan.api_access)),
    Criterion("Largest weekly limit", "For any 7 days.", _weekly),
    Criterion(
        "Largest monthly limit", "For a calendar month.", lambda plan: _maximum(plan, plan.max_monthly_limit_usd)
    ),
    Criterion("Usage shown", "Every plan stores the full ledger.", _history),
    Criterion(
        "Files", "Every table as CSV, Parquet or JSON.", lambda plan: _yes_or_no(plan.api_access and plan.exports)
    ),
    Criterion("API requests", "Recording usage is never limited.", _requests),
)


def _has_maximum(plan: Plan) -> bool:
    return plan.max_weekly_limit_usd is not None or plan.max_monthly_limit_usd is not None


register_page("plan/", PlanPage.as_view(), name="plan")
