"""The admin of credentials: issue, rotate and revoke. A secret is shown only on the page after that."""

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
)

from costtrack.clock import utc_now
from costtrack.date_fields import EndFormField, use_calendar
from costtrack.server_url import server_url
from organizations import services
from organizations.admin_actions import confirmed
from organizations.admin_base import OrganizationScopedAdmin, labeled
from organizations.admin_request import request_user, scopes_in
from organizations.clock import zoned_time
from organizations.models import APICredential, Organization
from organizations.permissions import CREDENTIALS
from organizations.services import IssuedCredential
from organizations.types import Scope
from organizations.validators import validate_in_the_future

_GRACE_CHOICES = (
    (0, "immediately"),
    (3600, "after an hour"),
    (86_400, "after a day"),
    (7 * 86_400, "after a week"),
    (30 * 86_400, "after 30 days"),
)


_COMMAND = """\
curl -X POST {server}/usage/events \\
  -H "Authorization: Bearer {api_key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"id": "first-call", "service": "openai", "model": "gpt-4.1-mini", "input_tokens": 1200, "output_tokens": 300}}'
"""


_CLIENT_ID = labeled("client_id", "Client ID")
_LAST_USED = labeled("last_used_at", "Last used")
_EXPIRES = labeled("expires_at", "Expires")


class NewCredentialForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=[Scope.USAGE_WRITE, Scope.COSTS_READ],
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
    )
    expires_at = EndFormField(
        label="Expires",
        required=False,
        validators=[validate_in_the_future],
        help_text="In the organization's time zone. A date alone is included. Leave empty for no expiration.",
    )

    class Meta:
        model = APICredential
        fields = ("organization", "name", "environment", "scopes", "expires_at")

    def clean_organization(self) -> Organization | None:
        """Use the organization's time zone for the expiration, which is cleaned after this field. An operator's
        credential without an organization uses UTC."""
        organization: Organization | None = self.cleaned_data["organization"]
        if organization is not None:
            use_calendar(self, organization.calendar)
        return organization


class RotationForm(forms.Form):
    grace_seconds = forms.TypedChoiceField(
        label="Current secret expires",
        choices=_GRACE_CHOICES,
        coerce=int,
        widget=UnfoldAdminSelectWidget(),
    )


class _IssuingRequest(HttpRequest):
    """A request that has just issued a credential. It passes the secret from saving to the response."""

    issued: IssuedCredential


@admin.register(APICredential)
class APICredentialAdmin(OrganizationScopedAdmin):
    row_names = ("credential", "credentials")
    add_label = "Create credential"
    resource = CREDENTIALS
    changeable = False
    select_related = ("organization",)
    form = NewCredentialForm
    list_display = ("name", _CLIENT_ID, "organization", "environment", "show_state", _LAST_USED, _EXPIRES)
    list_filter = ("environment", "organization")
    search_fields = ("name", "client_id")
    ordering = ("-id",)
    actions_detail = ("rotate", "revoke")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[Any, ...]:
        if obj is None:
            return ("organization", "name", "environment", "scopes", "expires_at")
        return (
            *("organization", "name", _CLIENT_ID, "environment", "show_scopes", "show_state"),
            *(labeled("created_at", "Created"), _EXPIRES, _LAST_USED, labeled("revoked_at", "Revoked")),
            labeled("previous_valid_until", "Previous secret valid until"),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[Any, ...]:
        return () if obj is None else self.get_fields(request, obj)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show only one save button, because the next page shows the secret."""
        buttons = {"show_save_and_continue": False, "show_save_and_add_another": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **buttons})

    @display(description="State", label={"active": "success", "revoked": "danger", "expired": "warning"})
    def show_state(self, credential: APICredential) -> str:
        if credential.revoked_at is not None:
            return "revoked"
        return "active" if credential.is_usable(utc_now()) else "expired"

    @display(description="Scopes")
    def show_scopes(self, credential: APICredential) -> str:
        return ", ".join(credential.scopes)

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        given = form.cleaned_data
        issued = services.issue_credential(
            organization=given["organization"],
            name=given["name"],
            scopes=given["scopes"],
            environment=given["environment"],
            expires_at=given["expires_at"],
            actor=request_user(request).email,
            caller_scopes=scopes_in(request, obj.organization_id),
        )
        obj.pk, obj.client_id = issued.credential.pk, issued.credential.client_id
        cast("_IssuingRequest", request).issued = issued

    def response_add(
        self, request: HttpRequest, obj: APICredential, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show_issued(request, cast("_IssuingRequest", request).issued)

    @confirmed(
        "Rotate secret",
        icon="autorenew",
        title="Rotate the secret",
        text="The new secret is shown only once, on the next page.",
        form=RotationForm,
    )
    def rotate(self, request: HttpRequest, credential: APICredential, *, grace_seconds: int) -> HttpResponse:
        issued = services.rotate_credential(
            credential=credential,
            grace=timedelta(seconds=grace_seconds),
            caller_scopes=scopes_in(request, credential.organization_id),
            **self.audited(request, credential),
        )
        return self._show_issued(request, issued)

    @confirmed(
        "Revoke",
        icon="block",
        title="Revoke the credential",
        text="This permanently revokes the credential with its secrets and tokens.",
    )
    def revoke(self, request: HttpRequest, credential: APICredential) -> str:
        services.revoke_credential(credential=credential, **self.audited(request, credential))
        return f"{credential} was revoked."

    def confirmation_context(self, request: HttpRequest, row: APICredential, name: str) -> dict[str, Any]:
        return {"subject": f"{row.name}, {row.client_id}"}

    def _show_issued(self, request: HttpRequest, issued: IssuedCredential) -> HttpResponse:
        secret = [
            ("Client ID", issued.credential.client_id),
            ("Client secret", issued.client_secret),
            ("API key (both in one, for Authorization: Bearer or x-api-key)", issued.api_key),
        ]
        valid_until = issued.previous_valid_until
        note = "" if valid_until is None else f"The previous secret stays valid until {zoned_time(valid_until)}."
        may_send = Scope.USAGE_WRITE in issued.credential.scopes and issued.credential.organization_id is not None
        command = _COMMAND.format(server=server_url(request), api_key=issued.api_key) if may_send else ""
        return self.show_secret(request, issued.credential, secret, note=note, command=command)
