"""The admin of members."""

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminEmailInputWidget

from costtrack.file_columns import ComputedColumn, Kind
from organizations import services
from organizations.admin.line_fields import LinesField
from organizations.admin_actions import confirmed
from organizations.admin_base import OrganizationScopedAdmin, labeled
from organizations.admin_request import request_user, scopes_in
from organizations.models import Membership, MembershipQuerySet, Organization
from organizations.permissions import MEMBERS
from organizations.types import Role


class UserIdsField(LinesField):
    """One `user_id` on each line; empty is None, which means the email address."""

    def __init__(self) -> None:
        super().__init__(
            label="User ids",
            help_text="The user_id of events that are this member's own usage, one on each line. Empty: the email "
            "address. A member with the role Member sees only this usage.",
        )

    def clean(self, value: Any) -> list[str] | None:
        return super().clean(value) or None


class NewMemberForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    email = forms.EmailField(
        max_length=254,
        widget=UnfoldAdminEmailInputWidget(),
        help_text="The user gets an email, and is a member after accepting the invitation.",
    )

    class Meta:
        model = Membership
        fields = ("organization", "role", "user_ids")


class MemberForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    class Meta:
        model = Membership
        fields = ("role", "user_ids")


@admin.register(Membership)
class MembershipAdmin(OrganizationScopedAdmin):
    add_label = "Invite member"
    resource = MEMBERS
    deletable = True
    select_related = ("organization",)
    actions_detail = ("invite_again",)
    file_columns = (
        ComputedColumn("email", Kind.TEXT, lambda row: row.user.email),
        ComputedColumn("state", Kind.TEXT, lambda row: row.state.value),
    )
    list_display = ("show_user", "organization", "role", "show_state", labeled("created_at", "Added"))
    list_filter = ("role", "organization")
    search_fields = ("user__email", "user__name")
    ordering = ("organization", "id")

    def narrow(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return cast("MembershipQuerySet", queryset).with_user()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        kwargs["form"] = NewMemberForm if obj is None else MemberForm
        return super().get_form(request, obj, change, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user_ids":
            return UserIdsField()
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("organization", "email", "role", "user_ids")
        return ("organization", "show_user", "role", "user_ids", "show_state")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization", "show_user", "show_state")

    @display(description="User")
    def show_user(self, membership: Membership) -> str:
        """Show the address without a link to the user's page, which is only for operators."""
        return membership.user.email

    @display(description="State", label={"joined": "success", "invited": "warning"})
    def show_state(self, membership: Membership) -> str:
        """Invited: not accepted yet."""
        return membership.state.value

    @confirmed("Resend invitation", icon="forward_to_inbox")
    def invite_again(self, request: HttpRequest, membership: Membership) -> str:
        services.invite_again(
            organization=membership.organization,
            membership=membership,
            actor=request_user(request).email,
            caller_scopes=scopes_in(request, membership.organization_id),
        )
        return f"A new invitation was sent to {membership.user.email}."

    def confirmation_context(self, request: HttpRequest, row: Membership, name: str) -> dict[str, Any]:
        sentence = "gets a new email with a link to the invitation."
        return {"subject": str(row), "text": f"{row.user.email} {sentence}"}

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        organization, role = obj.organization, form.cleaned_data["role"]
        user_ids = form.cleaned_data["user_ids"]
        rights = {**self._rights(request, organization), "caller_scopes": scopes_in(request, organization.pk)}
        if change:
            services.change_role(organization=organization, membership=obj, role=role, **rights)
            if "user_ids" in form.changed_data:
                services.change_user_ids(
                    organization=organization, membership=obj, user_ids=user_ids, actor=rights["actor"]
                )
        else:
            email = form.cleaned_data["email"]
            saved = services.add_member(organization=organization, email=email, role=role, user_ids=user_ids, **rights)
            obj.pk, obj.user = saved.pk, saved.user

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        rights = self._rights(request, obj.organization)
        services.remove_member(organization=obj.organization, membership=obj, **rights)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        for membership in queryset:
            self.delete_model(request, membership)

    def _rights(self, request: HttpRequest, organization: Organization) -> dict[str, Any]:
        user = request_user(request)
        acting_as = Role.OWNER if user.is_superuser else user.roles[organization.pk]
        return {"acting_as": acting_as, "actor": user.email}
