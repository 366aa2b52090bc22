"""The plan page: a comparison of all plans, the status of the plan's limits, and this month's cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.urls import change_url
from billing.admin.limits import limit_text, progress_bar
from billing.limits.cache import limit_set
from billing.limits.status import statuses
from billing.limits.types import LimitStatus
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.history import history_start
from billing.reports.usage.series import spend_now, totals
from costtrack.admin_site import register_page
from costtrack.calendar import Preset, Span
from costtrack.money import usd
from costtrack.organization_paths import installation_url
from organizations.models import Plan


@dataclass(frozen=True, slots=True)
class Cell:
    """`is_allowed` is shown as an icon; None for a cell with a value."""

    text: str
    note: str = ""
    is_allowed: bool | None = None
    is_current: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row of the table: one cell per plan."""

    name: str
    about: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class PlanLimit:
    name: str
    url: str
    badge: SafeString
    gauge: SafeString
    sentence: str
    resets: SafeString | str


class PlanPage(OrganizationPage):
    title: ClassVar[str] = "Plan"
    template_name: ClassVar[str] = "admin/dashboard/plan.html"
    refresh_seconds: ClassVar[int] = 30

    def page_context(self) -> dict[str, Any]:
        plan, calendar = self.organization.plan, self.organization.calendar
        spend = spend_now(organization=self.organization, filters=UsageFilter(), now=self.now)
        before = calendar.preset(Preset.LAST_MONTH, self.now)
        plans = list(Plan.objects.order_by("position", "code"))
        return {
            "plan": plan,
            "plans": plans,
            "comparisons": list(_comparisons(plans, current=plan)),
            "limits": [self._limit(status) for status in self._plan_limits()],
            "is_invoiced": plan.api_access and not _has_maximum(plan),
            "spent": usd(spend.month_to_date_usd),
            "spent_before": self._spent_in(before),
            "period": self._days(spend.billing_period),
            "period_before": self._days(before),
            "ends": self.times.inline(spend.billing_period.end),
            "may_change": self.role.may_change,
            "is_operator": self.user.is_superuser,
            "plans_url": installation_url("organizations_plan_changelist"),
        }

    def _spent_in(self, window: Span) -> str:
        """Return the spend in a window; empty if it is outside the plan's history."""
        since = history_start(organization=self.organization, now=self.now)
        if since is not None and window.start < since and not self.user.is_superuser:
            return ""
        (figures,) = totals(organization=self.organization, filters=UsageFilter(), windows=[window])
        return usd(figures.cost_usd)

    def _plan_limits(self) -> Sequence[LimitStatus]:
        """Return the status of the plan's own limits."""
        org_limits = limit_set(self.organization)
        of_plan = {limit.pk for limit in org_limits.limits if limit.is_plan}
        rules = [rule for rule in org_limits.single_limit_rules(now=self.now) if rule.limit_id in of_plan]
        return statuses(organization=self.organization, rules=rules, now=self.now)

    def _limit(self, status: LimitStatus) -> PlanLimit:
        return PlanLimit(
            name=limit_text.name_of_rule(status.rule),
            url=change_url("billing_spendlimit", status.rule.limit_id),
            badge=limit_text.badge(status),
            gauge=progress_bar.labelled(status),
            sentence=limit_text.status_sentence(status, self.times),
            resets=limit_text.reset(status, self.times),
        )

    def _days(self, span: Span) -> str:
        """`2026-11-01 to 2026-11-30`"""
        calendar = self.organization.calendar
        return f"{calendar.date_of(span.start)} to {calendar.date_of(span.end - timedelta(microseconds=1))}"


def _comparisons(plans: Sequence[Plan], *, current: Plan) -> Iterator[Comparison]:
    for name, about, cell in (
        ("API access", "Read costs and authorize calls by API.", lambda plan: _yes_or_no(plan.api_access)),
        ("Largest weekly limit", "For any 7 days.", _weekly),
        ("Largest monthly limit", "For a calendar month.", _monthly),
        ("Usage shown", "The ledger stores everything on every plan.", _history),
        ("Usage exports", "CSV by call or by day.", lambda plan: _yes_or_no(plan.api_access and plan.exports)),
        ("API requests", "Recording usage is never limited.", _requests),
    ):
        yield Comparison(name, about, tuple(replace(cell(plan), is_current=plan == current) for plan in plans))


def _yes_or_no(is_allowed: bool) -> Cell:  # noqa: FBT001 - the only argument
    return Cell("Yes" if is_allowed else "No", is_allowed=is_allowed)


def _weekly(plan: Plan) -> Cell:
    largest, default = plan.max_weekly_limit_usd, plan.default_weekly_limit_usd
    note = f"{usd(default)} by default" if default is not None and default != largest else ""
    return _maximum(plan, largest, note)


def _monthly(plan: Plan) -> Cell:
    return _maximum(plan, plan.max_monthly_limit_usd, "")


def _maximum(plan: Plan, largest: Decimal | None, note: str) -> Cell:
    if largest is not None:
        return Cell(usd(largest), note)
    return Cell("No maximum", note) if plan.api_access else Cell("None", "no paid access")


def _history(plan: Plan) -> Cell:
    days = plan.history_days
    return Cell("Everything") if days is None else Cell(f"{formatting.count(days)} day{'' if days == 1 else 's'}")


def _requests(plan: Plan) -> Cell:
    if not plan.api_access:
        return Cell("None")
    per_minute = plan.requests_per_minute
    return Cell("No limit") if per_minute is None else Cell(f"{formatting.count(per_minute)} per minute")


def _has_maximum(plan: Plan) -> bool:
    return plan.max_weekly_limit_usd is not None or plan.max_monthly_limit_usd is not None


register_page("plan/", PlanPage.as_view(), name="plan")
