"""People, for operators. Nobody is deleted: whoever leaves is made inactive."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from organizations.admin_base import OperatorAdmin
from organizations.models import User

# Roles are memberships; Django's groups give no rights here.
admin.site.unregister(Group)


class NewPersonForm(UserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name")


class PersonForm(UserChangeForm):
    class Meta:
        model = User
        fields = ("email", "name", "password", "is_active", "is_superuser")


@admin.register(User)
class UserAdmin(OperatorAdmin, DjangoUserAdmin):  # type: ignore[misc, type-arg]  # unfold's types are looser
    form = PersonForm
    add_form = NewPersonForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "is_superuser", "is_active", "last_login")
    list_filter = ("is_superuser", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
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
