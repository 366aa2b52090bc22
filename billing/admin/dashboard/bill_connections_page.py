"""The accounts of providers whose bills are fetched: the state of each, its admin key, and "Fetch now".

Owners and admins enter keys, which are never shown again. The same as `/usage/provider-bills/connections`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.cards import Card, EmptyState
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.table_files import TableFilesPage
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url
from billing.models import BillConnection
from billing.provider_bills.bill_connections import (
    MAX_KEY_LENGTH,
    list_connections,
    remove_connection,
    request_fetch,
    save_connection,
)
from billing.provider_bills.imports import MAX_ACCOUNT_LENGTH
from billing.types import BillProvider, FetchState
from costtrack.admin_site import register_page
from costtrack.errors import DomainError, ForbiddenError
from costtrack.file_columns import Kind, attributes
from organizations.admin_actions import add_service_error

_BADGES = {
    FetchState.QUEUED: "info",
    FetchState.RUNNING: "info",
    FetchState.RETRYING: "warning",
    FetchState.DONE: "success",
    FetchState.FAILED: "danger",
}
_REFRESH_SECONDS = 3
_FILE_COLUMNS = (
    *attributes(Kind.TEXT, "provider", "account", "state", "progress", "error"),
    *attributes(Kind.COUNT, "days"),
    *attributes(Kind.TIME, "fetched_at", "next_fetch_at", "key_changed_at"),
    *attributes(Kind.TEXT, "actor"),
)
_HELP = (
    "With an admin key of OpenAI or Anthropic, or a management key of OpenRouter, costtrack fetches the bills of your "
    "account each night, until each day is closed. The key is stored encrypted and never shown again."
)


class BillConnectionsPage(TableFilesPage):
    title: ClassVar[str] = "Bill connections"
    template_name: ClassVar[str] = "admin/dashboard/bill_connections.html"
    stylesheets = ("costtrack/breakdowns.css",)

    def page_context(self) -> dict[str, Any]:
        connections = list_connections(self.organization)
        links = [("Connect account", admin_url("bill_connection"))] if self.role.may_change else []
        if not connections:
            empty = EmptyState("download", "No bills are fetched yet", _HELP, links, is_first_use=True)
            return {"empty": empty}
        return {
            "cards": [connections_card(connections, self, links[0] if links else None, has_actions=bool(links))],
            "refresh_seconds": _REFRESH_SECONDS if any(map(_is_active, connections)) else self.refresh_seconds,
        }


class BillConnectionForm(forms.Form):
    provider = forms.ChoiceField(choices=BillProvider.choices, widget=UnfoldAdminSelectWidget())
    account = forms.CharField(
        required=False,
        max_length=MAX_ACCOUNT_LENGTH,
        widget=UnfoldAdminTextInputWidget(),
        help_text="If you have several accounts of the provider. A known account gets the new key.",
    )
    key = forms.CharField(
        max_length=MAX_KEY_LENGTH,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
        help_text="OpenAI: an admin key (sk-admin-...). Anthropic: an Admin API key (sk-ant-admin...). OpenRouter: a "
        "management key. Keys for model calls cannot read bills.",
    )


class BillConnectionPage(OrganizationPage):
    """Enters a key, of a new account or of a known one."""

    title: ClassVar[str] = "Connect account"
    template_name: ClassVar[str] = "admin/confirm_action.html"
    refresh_seconds: ClassVar[int] = 0

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _check_may_change(self)
        return self._show(BillConnectionForm(initial={name: request.GET.get(name) for name in ("provider", "account")}))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _check_may_change(self)
        form = BillConnectionForm(request.POST)
        if form.is_valid():
            try:
                saved = save_connection(
                    organization=self.organization, **form.cleaned_data, actor=self.user.email, now=self.now
                )
            except DomainError as error:
                add_service_error(form, error)
            else:
                text = "The account is connected." if saved.is_new else "The key is replaced."
                messages.success(request, f"{text} Its bills are being fetched.")
                return HttpResponseRedirect(admin_url("bill_connections"))
        return self._show(form)

    def _show(self, form: forms.Form) -> HttpResponseBase:
        context = {
            "subject": "The key is stored encrypted and never shown again.",
            "form": form,
            "media": forms.Media(js=["admin/js/core.js"]) + form.media,
            "verb": "Save key",
            "back": admin_url("bill_connections"),
        }
        return self._respond(self.template_name, context)


class BillConnectionActionPage(OrganizationPage):
    """A POST fetches now, or removes the connection after its confirmation."""

    title: ClassVar[str] = "Remove connection"
    template_name: ClassVar[str] = "admin/confirm_action.html"
    refresh_seconds: ClassVar[int] = 0

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _check_may_change(self)
        rows = BillConnection.objects.of(self.organization)
        row = rows.defer("key").get_or_not_found("connection", pk=self.kwargs["connection_id"])
        context = {
            "subject": _name(row),
            "text": "This permanently deletes the key. Fetched bills stay. Revoke the key at the provider too.",
            "form": forms.Form(),
            "verb": "Remove connection",
            "back": admin_url("bill_connections"),
        }
        return self._respond(self.template_name, context)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _check_may_change(self)
        row: dict[str, Any] = {
            "organization": self.organization,
            "connection_id": self.kwargs["connection_id"],
            "actor": self.user.email,
        }
        if "fetch" in request.POST:
            request_fetch(**row, now=self.now)
        else:
            remove_connection(**row)
            messages.success(request, "The connection and its key are deleted.")
        return HttpResponseRedirect(admin_url("bill_connections"))


def connections_card(
    connections: Sequence[BillConnection], page: TableFilesPage, link: tuple[str, str] | None, *, has_actions: bool
) -> Card:
    times = page.times
    columns = [
        Column[BillConnection](
            "Account", lambda row: formatting.two_lines(BillProvider(row.provider).label, row.account), css="ct-names"
        ),
        Column[BillConnection]("State", _state),
        Column[BillConnection]("Last fetch", lambda row: times.two_lines(row.fetched_at)),
        Column[BillConnection](
            "Next fetch",
            lambda row: times.two_lines(row.next_fetch_at) if row.next_fetch_at is not None else "Stopped",
        ),
        Column[BillConnection](
            "Key entered", lambda row: formatting.two_lines(times.relative(row.key_changed_at), row.actor)
        ),
    ]
    if has_actions:
        columns.append(Column[BillConnection]("Actions", lambda row: _actions(row, page)))
    text = (
        "Each night the days that are not closed are fetched, at most 30. A day closes when two fetches a day apart "
        "agree."
    )
    file = page.table_file("bill-connections", _FILE_COLUMNS, lambda: connections)
    table = Table("Bill connections", columns, connections, file=file)
    return Card("Bill connections", text=text, table=table, link=link)


def _state(row: BillConnection) -> SafeString:
    badge = formatting.choice_badge(FetchState(row.state), _BADGES)
    text = row.error or row.progress
    if row.state == FetchState.DONE:
        text = f"{row.days} day{'' if row.days == 1 else 's'}"
    return formatting.two_lines(badge, text) if text else badge


def _actions(row: BillConnection, page: OrganizationPage) -> SafeString:
    name, url = _name(row), admin_url("bill_connection_action", row.pk)
    replace = admin_url("bill_connection", provider=row.provider, account=row.account)
    fetch = SafeString()
    if not _is_active(row):
        fetch = format_html(
            '<button class="ct-button" name="fetch" value="1" aria-label="Fetch {} now">Fetch now</button>',
            name,
        )
    return format_html(
        '<form class="ct-buttons" method="post" action="{}"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
        '{}<a class="ct-button" href="{}" aria-label="New key of {}">New key</a>'
        '<a class="ct-button" href="{}" aria-label="Remove {}">Remove</a></form>',
        *(url, get_token(page.request), fetch, replace, name, url, name),
    )


def _name(row: BillConnection) -> str:
    return ", ".join(filter(None, (BillProvider(row.provider).label, row.account)))


def _is_active(row: BillConnection) -> bool:
    return row.state in (FetchState.QUEUED, FetchState.RUNNING)


def _check_may_change(page: OrganizationPage) -> None:
    if not page.role.may_change:
        raise ForbiddenError("Your role may not change connections.", code="missing_scope")


register_page("provider-bills/connections/", BillConnectionsPage.as_view(), name="bill_connections")
register_page("provider-bills/connections/key/", BillConnectionPage.as_view(), name="bill_connection")
register_page(
    "provider-bills/connections/<int:connection_id>/", BillConnectionActionPage.as_view(), name="bill_connection_action"
)
