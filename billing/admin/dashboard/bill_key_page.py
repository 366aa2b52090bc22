"""The page that assigns a key of a provider's bill to a credential. The same as `/usage/provider-bills/keys`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from unfold.widgets import UnfoldAdminSelectWidget

from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.urls import admin_url
from billing.models import BillKey
from billing.provider_bills.imports import assign_key, remove_key
from costtrack.admin_site import register_page
from costtrack.errors import DomainError, ForbiddenError
from organizations.admin_actions import add_service_error
from organizations.models import APICredential

_MAX_CREDENTIALS = 500
_FOREIGN, _NONE = "-foreign", "-none"  # no Client ID begins with a dash


class BillKeyForm(forms.Form):
    credential = forms.ChoiceField(label="Compared with", widget=UnfoldAdminSelectWidget())

    def __init__(self, data: Any, *, credentials: Sequence[APICredential], is_assigned: bool) -> None:
        super().__init__(data)
        self.fields["credential"].choices = [  # type: ignore[attr-defined] # typed as the base class
            *((row.client_id, f"{row.name} ({row.client_id})") for row in credentials),
            (_FOREIGN, "Not our key"),
            *([(_NONE, "Not assigned")] if is_assigned else []),
        ]


class BillKeyPage(OrganizationPage):
    """Assigns a key of a provider to a credential, or deletes its assignment."""

    title: ClassVar[str] = "Assign key"
    template_name: ClassVar[str] = "admin/confirm_action.html"
    refresh_seconds: ClassVar[int] = 0

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self._show(self._form(None))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = self._form(request.POST)
        if not form.is_valid():
            return self._show(form)
        chosen, row = form.cleaned_data["credential"], self._assigned()
        try:
            if chosen != _NONE:
                client_id = None if chosen == _FOREIGN else chosen
                assign_key(
                    organization=self.organization,
                    provider=self._provider,
                    key=self._key,
                    client_id=client_id,
                    actor=self.user.email,
                )
            elif row is not None:
                remove_key(organization=self.organization, key_id=row.pk, actor=self.user.email)
        except DomainError as error:
            add_service_error(form, error)
            return self._show(form)
        messages.success(request, "The key is assigned." if chosen != _NONE else "The assignment is deleted.")
        return HttpResponseRedirect(admin_url("provider_bills"))

    @property
    def _provider(self) -> str:
        return self.request.GET.get("provider", "")

    @property
    def _key(self) -> str:
        return self.request.GET.get("key", "")

    def _assigned(self) -> BillKey | None:
        return BillKey.objects.of(self.organization).filter(provider=self._provider, key=self._key).first()

    def _form(self, data: Any) -> BillKeyForm:
        if not self.role.may_change:
            raise ForbiddenError("Your role may not assign keys.", code="missing_scope")
        credentials = APICredential.objects.of(self.organization).order_by("-id")[:_MAX_CREDENTIALS]
        return BillKeyForm(data, credentials=list(credentials), is_assigned=self._assigned() is not None)

    def _show(self, form: forms.Form) -> HttpResponseBase:
        context = {
            "subject": f"{self._provider}, {self._key}",
            "text": "The key's part of the bill is compared with the calls of this credential.",
            "form": form,
            "media": forms.Media(js=["admin/js/core.js"]) + form.media,
            "verb": "Assign key",
            "back": admin_url("provider_bills"),
        }
        return self._respond(self.template_name, context)


register_page("provider-bills/key/", BillKeyPage.as_view(), name="bill_key")
