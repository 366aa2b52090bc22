"""The admin of users, for operators. Users are not deleted but made inactive."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from organizations import audit, second_factor
from organizations.admin_base import OperatorAdmin, button
from organizations.admin_request import request_user
from organizations.models import User

# Roles are memberships, so Django's groups are not used. The models of allauth are managed by each user.
admin.site.unregister((Group, EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken))


class NewUserForm(UserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name")


class UserForm(UserChangeForm):
    class Meta:
        model = User
        fields = ("email", "name", "password", "is_active", "is_superuser")


@admin.register(User)
class UserAdmin(OperatorAdmin, DjangoUserAdmin):  # type: ignore[misc, type-arg]  # unfold's types are looser
    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "is_superuser", "is_active", "last_login")
    list_filter = ("is_superuser", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    actions_detail = ("remove_second_factors",)  # type: ignore[assignment]  # unfold declares an empty tuple
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Rights", {"fields": ("is_active", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (  # type: ignore[assignment]  # unfold declares an empty tuple
        (None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),
    )

    @button("Remove second factors", icon="phonelink_erase", permission="change")
    def remove_second_factors(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For a user who has lost them and the recovery codes. Verify the identity of the user first."""
        user = get_object_or_404(User, pk=object_id)
        page = reverse("admin:organizations_user_change", args=[user.pk])
        if request.method != "POST":
            context = {**self.admin_site.each_context(request), "title": str(user), "person": user, "back": page}
            return TemplateResponse(request, "admin/organizations/user/remove_second_factors.html", context)
        second_factor.remove_all(user)
        actor = request_user(request).email
        audit.record(organization=None, actor=actor, action="user.second_factors_removed", subject=user.email)
        messages.success(request, "The second factors were removed. The user can now sign in with only the password.")
        return HttpResponseRedirect(page)
