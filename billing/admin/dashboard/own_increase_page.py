"""The page where members request an increase of a limit of their own usage. "My usage" links to it."""

from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase

from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.urls import admin_url
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_forms import OwnIncreaseForm
from billing.limits.increases import request_increase
from billing.limits.selectors import find_own_limit
from billing.limits.types import LimitStatus
from billing.reports.usage.own import own_limits
from costtrack.admin_site import register_page
from costtrack.date_fields import use_calendar
from costtrack.errors import DomainError, NotFoundError
from organizations.admin_actions import add_service_error
from organizations.models import Membership
from organizations.permissions import OWN_USAGE
from organizations.principals import Principal
from organizations.selectors import own_user_ids


class OwnIncreasePage(OrganizationPage):
    title: ClassVar[str] = "Request increase"
    template_name: ClassVar[str] = "admin/confirm_action.html"
    resource = OWN_USAGE

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self._show(self._status(), self._form())

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        status, form = self._status(), self._form()
        if form.is_valid():
            try:
                self._request_increase(status, **form.cleaned_data)
            except DomainError as error:
                add_service_error(form, error)
            else:
                messages.success(request, "Request sent to the owners and admins.")
                return HttpResponseRedirect(admin_url("own_usage"))
        return self._show(status, form)

    def _request_increase(self, status: LimitStatus, **given: Any) -> None:
        limit, value = find_own_limit(
            organization=self.organization,
            user_ids=self._user_ids(),
            limit=status.rule.limit_id,
            user_id=status.rule.value if status.rule.is_per_value else "",
            now=self.now,
        )
        request_increase(
            organization=self.organization,
            limit=limit,
            value=value,
            **given,
            actor=Principal(user=self.user),
            now=self.now,
        )

    def _show(self, status: LimitStatus, form: OwnIncreaseForm) -> HttpResponseBase:
        context = {
            "subject": limit_text.name_of_rule(status.rule),
            "badge": limit_text.badge(status),
            "gauge": progress_bar.labeled(status),
            "text": "Owners are notified and approve or decline the request. You get their answer by email.",
            "form": form,
            "media": forms.Media(js=["admin/js/core.js"]) + form.media,
            "verb": "Send request",
            "back": admin_url("own_usage"),
        }
        return self._respond(self.template_name, context)

    def _status(self) -> LimitStatus:
        """Return the limit of the URL with the value of the query. Raises NotFoundError for limits of others."""
        limit, value = self.kwargs["limit"], self.request.GET.get("user_id", "")
        for status in own_limits(organization=self.organization, user_ids=self._user_ids(), now=self.now):
            if status.rule.limit_id == limit and value in ("", status.rule.value):
                return status
        raise NotFoundError("You have no such limit.")

    def _user_ids(self) -> list[str]:
        members = Membership.objects.of(self.organization).accepted().with_user()
        membership = members.filter(user=self.user).first()
        return [] if membership is None else own_user_ids(self.organization, membership)

    def _form(self) -> OwnIncreaseForm:
        form = OwnIncreaseForm(self.request.POST if self.request.method == "POST" else None)
        use_calendar(form, self.organization.calendar)
        return form


register_page("my-usage/limits/<int:limit>/", OwnIncreasePage.as_view(), name="own_increase")
