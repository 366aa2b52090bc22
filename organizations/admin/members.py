"""Members of organizations: added by e-mail address."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminEmailInputWidget

from organizations import services
from organizations.admin_base import OrganizationScopedAdmin
from organizations.admin_request import person_of
from organizations.models import Membership, Organization
from organizations.types import Role


class NewMemberForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    email = forms.EmailField(
        max_length=254,
        widget=UnfoldAdminEmailInputWidget(),
        help_text="Somebody who is not known yet becomes a new person, without a password.",
    )

    class Meta:
        model = Membership
        fields = ("organization", "role")


@admin.register(Membership)
class MembershipAdmin(OrganizationScopedAdmin):
    deletable = True
    list_display = ("show_person", "organization", "role", "created_at")
    list_filter = ("role", "organization")
    search_fields = ("user__email", "user__name")
    ordering = ("organization", "id")

    def narrow(self, request: HttpRequest, queryset: QuerySet[Membership]) -> QuerySet[Membership]:
        return queryset.select_related("user", "organization")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        if obj is None:
            kwargs["form"] = NewMemberForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return ("organization", "email", "role") if obj is None else ("organization", "show_person", "role")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization", "show_person")

    @display(description="Person")
    def show_person(self, membership: Membership) -> str:
        """Without the link to the person's page, which is for operators."""
        return membership.user.email

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        organization, role = obj.organization, form.cleaned_data["role"]
        rights = self._rights(request, organization)
        if change:
            services.change_role(organization=organization, membership=obj, role=role, **rights)
        else:
            email = form.cleaned_data["email"]
            saved = services.add_member(organization=organization, email=email, role=role, **rights)
            obj.pk, obj.user = saved.pk, saved.user

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        rights = self._rights(request, obj.organization)
        services.remove_member(organization=obj.organization, membership=obj, **rights)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        for membership in queryset:
            self.delete_model(request, membership)

    def _rights(self, request: HttpRequest, organization: Organization) -> dict[str, Any]:
        person = person_of(request)
        acting_as = Role.OWNER if person.is_superuser else person.roles[organization.pk]
        return {"acting_as": acting_as, "actor": person.email}
