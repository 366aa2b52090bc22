"""What the pages about usage ask for: their filters as a question to the reports."""

from billing.admin.components.date_range import Period, period_of
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.usage_form import UsageForm
from billing.reports.usage.query import UsageQuery, build_query


class UsageQueryPage(OrganizationPage):
    """Operators are shown what no plan shows, as in the API."""

    @property
    def has_api_plan(self) -> bool:
        return self.organization.plan.api_access or self.person.is_superuser

    @property
    def has_exports(self) -> bool:
        return self.organization.plan.exports or self.person.is_superuser

    def query(self, form: UsageForm) -> tuple[Period, UsageQuery]:
        """Raises ForbiddenError for a period of which the plan shows nothing."""
        period = period_of(form, self.organization.calendar, self.now)
        query = build_query(
            organization=self.organization,
            filters=form.filters,
            window=period.span,
            now=self.now,
            sees_everything=self.person.is_superuser,
        )
        return period, query
