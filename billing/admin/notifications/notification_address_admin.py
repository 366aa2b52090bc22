"""The admin of addresses that get notices without being a member."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminEmailInputWidget

from billing.admin.notifications.notification_preferences_page import CATEGORY_LABELS
from billing.models import NotificationAddress
from billing.notifications.recipients import add_address, remove_address
from costtrack.clock import utc_now
from organizations.admin_base import OrganizationScopedAdmin, labeled
from organizations.admin_request import request_user
from organizations.permissions import MEMBERS


class NotificationAddressForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    address = forms.EmailField(max_length=254, widget=UnfoldAdminEmailInputWidget())
    categories = forms.MultipleChoiceField(
        choices=list(CATEGORY_LABELS.items()),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="Select none for all.",
    )

    class Meta:
        model = NotificationAddress
        fields = ("organization", "address", "categories")


@admin.register(NotificationAddress)
class NotificationAddressAdmin(OrganizationScopedAdmin):
    row_names = ("email address", "email addresses")
    add_label = "Add email address"
    empty_title = "No email addresses yet"
    empty_text = (
        "Each address gets notices by email, for example a mailing list or a finance team. It needs no account."
    )
    resource = MEMBERS
    changeable = False
    deletable = True
    select_related = ("organization",)
    form = NotificationAddressForm
    fields = ("organization", "address", "categories")
    list_display = ("address", "organization", "show_categories", labeled("created_at", "Added"))
    list_filter = ("organization",)
    ordering = ("organization", "id")

    @admin.display(description="Notices")
    def show_categories(self, row: NotificationAddress) -> str:
        return ", ".join(CATEGORY_LABELS[name] for name in row.categories) or "All"

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        data = form.cleaned_data
        saved = add_address(
            organization=data["organization"],
            address=data["address"],
            categories=data["categories"],
            actor=request_user(request).email,
            now=utc_now(),
        )
        obj.pk, obj.created_at = saved.pk, saved.created_at

    def delete_model(self, request: HttpRequest, obj: NotificationAddress) -> None:
        remove_address(organization=obj.organization, row=obj, actor=request_user(request).email)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for row in queryset:
            self.delete_model(request, row)
