"""The base of the usage pages: builds the reports' query from the filters."""

from billing.admin.components.date_range import Period, period_of
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.usage_form import UsageForm
from billing.reports.usage.query import UsageQuery, build_query


class UsageQueryPage(OrganizationPage):
    """A page with a usage query. Plan restrictions do not apply to operators, as in the API."""

    @property
    def has_api_plan(self) -> bool:
        return self.organization.plan.api_access or self.user.is_superuser

    @property
    def has_exports(self) -> bool:
        return self.organization.plan.exports or self.user.is_superuser

    def query(self, form: UsageForm) -> tuple[Period, UsageQuery]:
        """Build the query. Raises ForbiddenError for a period outside the plan's history."""
        period = period_of(form, self.organization.calendar, self.now)
        query = build_query(
            organization=self.organization,
            filters=form.filters,
            window=period.span,
            now=self.now,
            has_full_history=self.user.is_superuser,
        )
        return period, query
