"""The admin of teams."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from costtrack.name_fields import NameFormField
from organizations import services
from organizations.admin.line_fields import LinesField
from organizations.admin_base import OrganizationScopedAdmin, labeled
from organizations.admin_request import request_user
from organizations.models import Team
from organizations.permissions import TEAMS
from organizations.selectors import list_team_members

_VALUES = ("name", "display_name", "members", "addresses")


class TeamForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    name = NameFormField(
        max_length=255, widget=UnfoldAdminTextInputWidget(), help_text="The team as your events name it."
    )
    members = LinesField(help_text="Email addresses of members of the organization, one on each line.")
    addresses = LinesField(help_text="Other addresses that get notices about limits of the team, one on each line.")

    class Meta:
        model = Team
        fields = ("organization", "name", "display_name", "addresses")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        team = self.instance
        if team.pk is not None:
            self.initial["members"] = list_team_members(team.organization, [team])[team.pk]

    def clean_addresses(self) -> list[str]:
        addresses: list[str] = self.cleaned_data["addresses"]
        for address in addresses:
            validate_email(address)
        return addresses


@admin.register(Team)
class TeamAdmin(OrganizationScopedAdmin):
    resource = TEAMS
    deletable = True
    select_related = ("organization",)
    form = TeamForm
    list_display = ("name", "display_name", "organization", "show_members", labeled("created_at", "Added"))
    list_filter = ("organization",)
    search_fields = ("name", "display_name")
    ordering = ("organization", "name")
    fields = ("organization", *_VALUES)
    empty_title = "No teams yet"
    empty_text = (
        "Events name their team. Here it gets members and addresses, which get the notices about limits on its usage."
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization",)

    @admin.display(description="Members")
    def show_members(self, team: Team) -> str:
        return f"{len(team.member_ids):,}"

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        given, actor = form.cleaned_data, request_user(request).email
        if change:
            values = {name: given[name] for name in _VALUES if name in form.changed_data}
            if values:
                services.update_team(organization=obj.organization, team=obj, values=values, actor=actor)
            return
        values = {name: given[name] for name in _VALUES}
        saved = services.create_team(organization=given["organization"], **values, actor=actor)
        obj.pk, obj.created_at = saved.pk, saved.created_at

    def delete_model(self, request: HttpRequest, obj: Team) -> None:
        services.remove_team(organization=obj.organization, team=obj, actor=request_user(request).email)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Team]) -> None:
        for team in queryset:
            self.delete_model(request, team)
