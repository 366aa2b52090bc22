"""The table of files that are created in the background."""

from collections.abc import Sequence
from decimal import Decimal

from django.middleware.csrf import get_token
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.percent_bar import percent_bar
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url
from billing.models import Export
from billing.types import ExportState
from costtrack.file_columns import FORMAT_LABELS

_BADGES = {
    ExportState.QUEUED: "info",
    ExportState.RUNNING: "info",
    ExportState.READY: "success",
    ExportState.FAILED: "danger",
    ExportState.CANCELED: "",
    ExportState.EXPIRED: "",
}


def export_table(exports: Sequence[Export], page: OrganizationPage) -> Table[Export]:
    times = page.times
    columns = (
        Column[Export]("File", lambda export: formatting.two_lines(export, export.file_name)),
        Column[Export]("State", _state),
        Column[Export]("Rows", lambda export: formatting.count(export.rows), is_number=True),
        Column[Export]("Requested", lambda export: formatting.two_lines(times.inline(export.created_at), export.actor)),
        Column[Export](
            "Available until",
            lambda export: times.inline(export.expires_at) if export.state == ExportState.READY else formatting.NOTHING,
        ),
        Column[Export]("Actions", lambda export: _actions(export, page)),
    )
    return Table("Files", columns, exports)


def _state(export: Export) -> SafeString:
    state = ExportState(export.state)
    badge = formatting.choice_badge(state, _BADGES)
    if state is ExportState.RUNNING and export.total:
        return formatting.two_lines(badge, percent_bar(Decimal(export.rows), Decimal(export.total)))
    if state is ExportState.RUNNING and not export.rows:
        return formatting.two_lines(badge, "Reading usage")
    return formatting.two_lines(badge, export.error) if export.error else badge


def _actions(export: Export, page: OrganizationPage) -> SafeString:
    """Return links to the file in each format, its own first, and a button that cancels or deletes it."""
    url = admin_url("export", export.pk)
    is_ready, is_unfinished = export.state == ExportState.READY, ExportState(export.state).is_unfinished
    formats = sorted(FORMAT_LABELS, key=lambda choice: choice[0] != export.format) if is_ready else []
    links = format_html_join(
        "",
        '<a class="ct-button" href="{}?format={}" download aria-label="Download {} as {}">{}</a>',
        ((url, name.value, export.title, label, label) for name, label in formats),
    )
    verb = "Cancel" if is_unfinished else "Delete"
    return format_html(
        '<form class="ct-buttons" method="post" action="{}">{}'
        '<input type="hidden" name="csrfmiddlewaretoken" value="{}">'
        '<button class="ct-button" type="submit" name="{}" value="1" aria-label="{} {}">{}</button></form>',
        *(url, links, get_token(page.request), verb.lower(), verb, export, verb),
    )
