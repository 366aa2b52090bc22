"""The admin of users, for operators. Users are not deleted but made inactive."""

from typing import Any, ClassVar

import allauth.account.admin
import allauth.mfa.admin
import allauth.socialaccount.admin  # noqa: F401 - like the two above, it registers models that are unregistered below
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from organizations import audit, second_factor
from organizations.admin_actions import confirmed
from organizations.admin_base import OperatorAdmin, labeled
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
        labels: ClassVar[dict[str, str]] = {"is_active": "Active", "is_superuser": "Operator"}
        help_texts: ClassVar[dict[str, str]] = {
            "is_active": "Inactive users cannot sign in. Deactivate a user instead of deleting them.",
            "is_superuser": "Sees and changes everything of the installation, in all organizations.",
        }


_OPERATOR = labeled("is_superuser", "Operator", boolean=True)
_ACTIVE = labeled("is_active", "Active", boolean=True)
_LAST_SIGN_IN = labeled("last_login", "Last sign-in")
_ADDED = labeled("date_joined", "Added")


@admin.register(User)
class UserAdmin(OperatorAdmin, DjangoUserAdmin):  # type: ignore[misc, type-arg]  # unfold's types are looser
    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", _OPERATOR, _ACTIVE, _LAST_SIGN_IN)
    list_filter = ("is_superuser", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    actions_detail = ("remove_second_factors",)  # type: ignore[assignment]  # unfold declares an empty tuple
    filter_horizontal = ()
    readonly_fields = (_LAST_SIGN_IN, _ADDED)
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Rights", {"fields": ("is_active", "is_superuser")}),
        ("Dates", {"fields": (_LAST_SIGN_IN, _ADDED)}),
    )
    add_fieldsets = (  # type: ignore[assignment]  # unfold declares an empty tuple
        (None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),
    )

    @confirmed("Remove second factors", icon="mobile_cancel", permission="change")
    def remove_second_factors(self, request: HttpRequest, user: User) -> str:
        """For a user who has lost them and the recovery codes. Verify the identity of the user first."""
        second_factor.remove_all(user)
        actor = request_user(request).email
        audit.record(organization=None, actor=actor, action="user.second_factors_removed", subject=user.email)
        return "The second factors were removed. The user can now sign in with only the password."

    def confirmation_context(self, request: HttpRequest, row: User, name: str) -> dict[str, Any]:
        text = (
            f"{row.email} will sign in with only the password: the authenticator app, all passkeys and the recovery "
            "codes are removed. Verify the request by a channel other than email first."
        )
        return {"subject": str(row), "text": text}
