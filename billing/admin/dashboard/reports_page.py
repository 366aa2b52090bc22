"""The pages on which members choose the reports of spend that they get by email: the list, a new one, and the preview
of the last one, from which it is sent again or unsubscribed from.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.cards import Card, EmptyState
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.table_files import TableFilesPage
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url
from billing.models import ReportSubscription
from billing.notifications.emails import email_subject, render
from billing.notifications.report_subscriptions import (
    SENT_AT,
    last_report_period,
    subscribe,
    subscriptions_of,
    unsubscribe,
)
from billing.spend_reports import preview, send_now
from billing.types import ReportFrequency, ReportScope
from costtrack.admin_site import register_page
from costtrack.date_text import clock_text, days_text
from costtrack.errors import DomainError, ForbiddenError, NotFoundError
from costtrack.file_columns import Kind, attributes
from organizations.admin_actions import add_service_error
from organizations.models import Membership
from organizations.permissions import REPORTS

_DAY = timedelta(days=1)
_COLUMNS = (
    *attributes(Kind.TEXT, "frequency", "scope", "value"),
    *attributes(Kind.TIME, "created_at"),
)


class _ReportPage(OrganizationPage):
    title: ClassVar[str] = "Email reports"
    resource = REPORTS
    refresh_seconds: ClassVar[int] = 0

    def membership(self) -> Membership | None:
        """Return the user's membership; operators may have none."""
        return Membership.objects.of(self.organization).accepted().with_user().filter(user=self.user).first()


class ReportsPage(TableFilesPage, _ReportPage):
    template_name: ClassVar[str] = "admin/dashboard/reports.html"

    def page_context(self) -> dict[str, Any]:
        membership = self.membership()
        if membership is None:
            text = "Reports go to members. You see this organization as an operator."
            return {"empty": EmptyState("mail", "No reports", text)}
        subscriptions = list(subscriptions_of(membership))
        if not subscriptions:
            text = (
                "Get the spend of a week or month by email: of the organization, a team or a tag, with the change, the "
                "most expensive teams, models and users, the state of limits, and a forecast."
            )
            links = [("New report", admin_url("new_report"))]
            return {"empty": EmptyState("mail", "You get no reports yet", text, links, is_first_use=True)}
        return {"cards": [self._card(subscriptions)]}

    def _card(self, subscriptions: Sequence[ReportSubscription]) -> Card:
        columns = (
            Column[ReportSubscription]("Report", lambda row: formatting.link(admin_url("report", row.pk), str(row))),
            Column[ReportSubscription]("Last period", self._last_days),
            Column[ReportSubscription]("Since", lambda row: self.times.inline(row.created_at)),
        )
        text = f"Emails go to {self.user.email} from {clock_text(SENT_AT)} on the first day after each week or month."
        file = self.table_file("reports", _COLUMNS, lambda: subscriptions)
        table = Table("Your reports", columns, subscriptions, file=file)
        return Card("Your reports", text=text, table=table, link=("New report", admin_url("new_report")))

    def _last_days(self, row: ReportSubscription) -> str:
        calendar = self.organization.calendar
        period = last_report_period(calendar, ReportFrequency(row.frequency), self.now)
        return days_text(period.first_day, calendar.date_of(period.span.end) - _DAY)


class ReportForm(forms.Form):
    frequency = forms.ChoiceField(choices=ReportFrequency.choices, label="When", widget=UnfoldAdminSelectWidget())
    scope = forms.ChoiceField(choices=ReportScope.choices, label="About", widget=UnfoldAdminSelectWidget())
    value = forms.CharField(
        max_length=255,
        required=False,
        label="Team or tag",
        widget=UnfoldAdminTextInputWidget(),
        help_text="As events carry it. Empty for the organization.",
    )


class NewReportPage(_ReportPage):
    template_name: ClassVar[str] = "admin/confirm_action.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self._show(ReportForm())

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form, membership = ReportForm(request.POST), self.membership()
        if membership is None:
            raise ForbiddenError("Only members get reports.", code="members_only")
        if form.is_valid():
            try:
                subscription = subscribe(
                    organization=self.organization,
                    membership=membership,
                    frequency=ReportFrequency(form.cleaned_data["frequency"]),
                    scope=ReportScope(form.cleaned_data["scope"]),
                    value=form.cleaned_data["value"],
                    now=self.now,
                )
            except DomainError as error:
                add_service_error(form, error)
            else:
                messages.success(request, f"You now get this report: {subscription}.")
                return HttpResponseRedirect(admin_url("report", subscription.pk))
        return self._show(form)

    def _show(self, form: ReportForm) -> HttpResponseBase:
        context = {
            "title": "New report",
            "subject": f"Sent to {self.user.email}",
            "text": "You get it after the end of each week or month, beginning with the current one.",
            "form": form,
            "verb": "Get this report",
            "back": admin_url("reports"),
        }
        return self._respond(self.template_name, context)


class ReportPage(_ReportPage):
    """The last report of a subscription; a POST has the `action` send or unsubscribe."""

    template_name: ClassVar[str] = "admin/dashboard/report.html"

    def page_context(self) -> dict[str, Any]:
        subscription = self._subscription()
        notice = preview(organization=self.organization, subscription=subscription, now=self.now)
        text, html = render(notice=notice, organization=self.organization)
        return {
            "subscription": subscription,
            "subject": email_subject(notice, self.organization),
            "text": text,
            "html": html,
        }

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        subscription = self._subscription()
        if request.POST.get("action") == "unsubscribe":
            unsubscribe(organization=self.organization, subscription=subscription)
            messages.success(request, f"You no longer get this report: {subscription}.")
            return HttpResponseRedirect(admin_url("reports"))
        try:
            send_now(organization=self.organization, subscription=subscription, now=self.now)
        except DomainError as refused:
            messages.error(request, refused.message)
        else:
            messages.success(request, f"The report is being sent to {self.user.email}.")
        return HttpResponseRedirect(admin_url("report", subscription.pk))

    def _subscription(self) -> ReportSubscription:
        membership = self.membership()
        if membership is None:
            raise NotFoundError("No such report.")
        return subscriptions_of(membership).get_or_not_found("report", pk=self.kwargs["pk"])


register_page("reports/", ReportsPage.as_view(), name="reports")
register_page("reports/new/", NewReportPage.as_view(), name="new_report")
register_page("reports/<int:pk>/", ReportPage.as_view(), name="report")
