"""The admin of uploaded files: upload, choose what the columns are, check by a dry run, import.

It is the only page that takes a file. The web server accepts its body from signed-in users, and this page's handler
holds it in memory; it is stored in chunks in the database (`billing.ingest.uploads`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget

from billing.admin.components import formatting
from billing.admin.components.cards import Card, Detail, without_empty
from billing.admin.components.datetimes import local_time
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, shown_organization
from billing.admin.components.tables import Column, Table, column
from billing.admin.components.uploads import hold_in_memory
from billing.admin.components.urls import admin_url
from billing.exports.cells import text_cell
from billing.exports.table_files import csv_lines
from billing.ingest.upload_chunks import StoredRecord, mapped_columns
from billing.ingest.uploads import (
    MAX_RECORDS,
    calls_in_period,
    create_upload,
    delete_upload,
    first_rows,
    list_errors,
    start_check,
    start_import,
)
from billing.models import Upload, UploadError
from billing.types import UploadState
from costtrack.errors import ConflictError
from costtrack.event_files import FileFormat
from costtrack.event_files.columns import FIELDS, USAGE_FIELDS
from costtrack.money import usd
from organizations.admin_actions import button, confirmed
from organizations.permissions import UPLOADS

_REFRESH_SECONDS = 2
_SHOWN_ROWS = 5
_SHOWN_ERRORS = 20
_MAX_SHOWN_COLUMNS = 40
_MAX_CELL = 60
_MULTIPART_BYTES = 64 * 1024  # of the form besides the file
_BADGES = {
    UploadState.UPLOADED: "info",
    UploadState.CHECKING: "info",
    UploadState.CHECKED: "info",
    UploadState.IMPORTING: "info",
    UploadState.IMPORTED: "success",
    UploadState.FAILED: "danger",
}
_FIELD_CHOICES = (
    ("", "Ignore"),
    ("Fields of an event", tuple((name, name) for name in FIELDS)),
    ("Usage as the provider names it", tuple((name, name) for name in USAGE_FIELDS)),
)


class UploadForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    file = forms.FileField(label="File", widget=UnfoldAdminFileFieldWidget(), allow_empty_file=True)

    class Meta:
        model = Upload
        fields = ("organization",)

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > settings.UPLOAD_MAX_BYTES:
            limit = settings.UPLOAD_MAX_BYTES // 1024 // 1024
            raise forms.ValidationError(f"The file is larger than {limit} MB. Send it with `costtrack events send`.")
        return file


class MappingForm(forms.Form):
    """A select for each column of a table, filled in by its name."""

    def __init__(self, upload: Upload, data: Any = None) -> None:
        super().__init__(data)
        self._names: dict[str, str] = {}
        for index, column_ in enumerate(mapped_columns(upload.column_names, upload.mapping)):
            name = f"column_{index}"
            self._names[name] = column_.name
            metadata = f"metadata.{column_.name[:64]}"
            self.fields[name] = forms.ChoiceField(
                label=column_.name or "(no name)",
                choices=(*_FIELD_CHOICES, ("Other", ((metadata, metadata),))),
                required=False,
                initial=column_.field,
                widget=UnfoldAdminSelectWidget(),
            )

    def clean(self) -> dict[str, Any]:
        chosen = {self._names[name]: field for name, field in self.cleaned_data.items()}
        fields = [field for field in chosen.values() if field]
        for name, field in list(self.cleaned_data.items()):
            if field and fields.count(field) > 1:
                self.add_error(name, f"Another column is {field} too.")
        if self._names and "occurred_at" not in fields:
            raise forms.ValidationError("Choose the column with the time of the calls: occurred_at.")
        return {"mapping": chosen}


@admin.register(Upload)
class UploadAdmin(SingleOrganizationAdmin):
    resource = UPLOADS
    changeable = False
    select_related = ("organization",)
    form = UploadForm
    list_display = ("uploaded", "file", "state_shown", "stored", "duplicate", "not_stored")
    list_filter = (OrganizationFilter,)
    ordering = ("-id",)
    actions_detail = ("check_file", "import_events", "rejected_csv", "discard")  # type: ignore[assignment]  # unfold declares an empty tuple
    add_label = "Import a file"
    form_context: ClassVar[dict[str, Any]] = {
        **SingleOrganizationAdmin.form_context,
        "max_size": f"{settings.UPLOAD_MAX_BYTES // 1024 // 1024} MB",
        "max_records": formatting.count(MAX_RECORDS),
    }
    empty_title = "No files yet"
    empty_text = (
        "Import usage from CSV, JSON, Parquet, LiteLLM's spend logs, or a usage export of OpenAI or Anthropic. For "
        "larger files, and for transcripts of Claude Code and Codex, use the command costtrack events send."
    )

    # --- Uploading ---------------------------------------------------------------------------------------------

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Receive the file. The handler must be set before the form is read, so the token is checked here."""
        hold_in_memory(request)
        return self._protected_add_view(request, form_url, extra_context)

    add_view.csrf_exempt = True  # type: ignore[attr-defined]
    add_view.max_body_bytes = settings.UPLOAD_MAX_BYTES + _MULTIPART_BYTES  # type: ignore[attr-defined]

    @method_decorator(csrf_protect)
    def _protected_add_view(self, request: HttpRequest, form_url: str, extra_context: Any) -> HttpResponse:
        return super().add_view(request, form_url, extra_context)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("organization", "file") if obj is None else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"organization": shown_organization(request), **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        file = form.cleaned_data["file"]
        upload = create_upload(content=file.read(), file_name=file.name, **self.audited(request, obj))
        obj.pk, obj.column_names = upload.pk, upload.column_names

    def response_add(self, request: HttpRequest, obj: Model, post_url_continue: str | None = None) -> HttpResponse:
        return HttpResponseRedirect(admin_url("billing_upload_check_file", obj.pk))

    # --- The page of a file ------------------------------------------------------------------------------------

    def cards(self, request: HttpRequest, row: Upload) -> list[Card]:
        cards = [
            Card(row.file_name, text=_sentence(row), badges=self.state_shown(row), details=without_empty(_details(row)))
        ]
        if row.state in (UploadState.CHECKED, UploadState.IMPORTED):
            cards.append(Card("Result", details=_figures(row), footer=_warning(row)))
        if row.failed and not UploadState(row.state).is_running:
            cards.append(Card("Records that are not stored", table=_errors(row)))
        if (table := _preview(row)) is not None:
            cards.append(Card("First records", table=table))
        return cards

    def page_context(self, request: HttpRequest, row: Upload) -> dict[str, Any]:
        is_running = UploadState(row.state).is_running
        return {
            "refresh_seconds": _REFRESH_SECONDS if is_running else 0,
            "total": row.records,
            "processed": row.position,
            "next_step": self._next_step(row) if self.has_manage_permission(request, row) else None,
        }

    @staticmethod
    def _next_step(row: Upload) -> tuple[str, str] | None:
        if row.state == UploadState.UPLOADED:
            return admin_url("billing_upload_check_file", row.pk), "Check file"
        if row.state == UploadState.CHECKED and row.accepted:
            return admin_url("billing_upload_import_events", row.pk), "Import"
        return None

    # --- Actions -----------------------------------------------------------------------------------------------

    def available_actions(self, request: HttpRequest, row: Upload) -> Collection[str]:
        state = UploadState(row.state)
        offered = []
        if state is UploadState.CHECKED:
            offered.append("check_file")
        if row.failed and not state.is_running:
            offered.append("rejected_csv")
        if state is not UploadState.IMPORTING:
            offered.append("discard")
        return offered

    def check_action(self, request: HttpRequest, row: Upload, name: str) -> None:
        if name == "check_file" and row.state not in (UploadState.UPLOADED, UploadState.CHECKED):
            raise ConflictError("The file cannot be checked now.")
        if name == "import_events" and row.state != UploadState.CHECKED:
            raise ConflictError("Check the file first.")

    def confirmation_form(self, request: HttpRequest, row: Any, form_class: type[forms.Form]) -> forms.Form:
        if form_class is MappingForm:
            return MappingForm(row, request.POST if request.method == "POST" else None)
        return super().confirmation_form(request, row, form_class)

    def confirmation_context(self, request: HttpRequest, row: Upload, name: str) -> dict[str, Any]:
        context = super().confirmation_context(request, row, name)
        if name == "check_file":
            return {**context, "table": _preview(row)}
        if name == "import_events":
            warning = _warning(row)
            return {**context, "summary": [_sentence(row), *([warning] if warning else [])]}
        return context

    @confirmed(
        "Check again",
        icon="fact_check",
        title="Check file",
        text="The check is a dry run: it shows what would be stored, and stores nothing.",
        form=MappingForm,
    )
    def check_file(self, request: HttpRequest, upload: Upload, *, mapping: Mapping[str, str]) -> HttpResponse:
        """Start a dry run with the chosen fields."""
        start_check(upload_id=upload.pk, mapping=mapping, **self.audited(request, upload))
        return HttpResponseRedirect(self.page_url(upload))

    @confirmed("Import", icon="upload", title="Import file", verb="Import")
    def import_events(self, request: HttpRequest, upload: Upload) -> HttpResponse:
        start_import(upload_id=upload.pk, **self.audited(request, upload))
        return HttpResponseRedirect(self.page_url(upload))

    @confirmed(
        "Delete",
        icon="delete",
        title="Delete file",
        text="This deletes the uploaded file and its result. Events that were imported stay in the ledger.",
        leads_to_list=True,
    )
    def discard(self, request: HttpRequest, upload: Upload) -> str:
        arguments = self.audited(request, upload)
        delete_upload(organization=arguments["organization"], upload_id=upload.pk, actor=arguments["actor"])
        return "File deleted."

    @button("Records that are not stored (CSV)", icon="download")
    def rejected_csv(self, request: HttpRequest, object_id: str) -> StreamingHttpResponse:
        """Return a line for each record that is not stored. Its content is not repeated."""
        upload = self.get_queryset(request).get(pk=object_id)
        return StreamingHttpResponse(
            [csv_lines([("record", "id", "field", "code", "message"), *map(_error_cells, list_errors(upload))])],
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="not-stored.csv"', "Cache-Control": "no-store"},
        )

    # --- Columns -----------------------------------------------------------------------------------------------

    uploaded = column(Upload, "Uploaded", lambda row: formatting.two_lines(local_time(row.created_at), row.actor))
    file = column(
        Upload, "File", lambda row: formatting.two_lines(row.file_name, f"{_format(row)}, {_records(row.records)}")
    )
    state_shown = column(Upload, "State", lambda row: formatting.choice_badge(UploadState(row.state), _BADGES))
    stored = column(Upload, "New", lambda row: formatting.count_or_nothing(row.accepted))
    duplicate = column(Upload, "Duplicates", lambda row: formatting.count_or_nothing(row.duplicates))
    not_stored = column(Upload, "Not stored", lambda row: formatting.count_or_nothing(row.failed))


def _format(row: Upload) -> str:
    return FileFormat(row.format).label


def _records(number: int) -> str:
    return f"{formatting.count(number)} {'record' if number == 1 else 'records'}"


def _sentence(row: Upload) -> str:
    new, total = formatting.count(row.accepted), _records(row.records)
    match UploadState(row.state):
        case UploadState.UPLOADED:
            return f"{_format(row)} with {total}. Check it to see what would be stored."
        case UploadState.CHECKING:
            return f"{total} are being checked. Nothing is stored."
        case UploadState.CHECKED:
            return f"{new} of {total} are new and would be stored." if row.accepted else f"None of {total} is new."
        case UploadState.IMPORTING:
            return f"{total} are being imported."
        case UploadState.IMPORTED:
            return f"{new} of {total} were stored."
        case UploadState.FAILED:
            return "The file could not be processed, or was not imported within a day. Upload it again."


def _details(row: Upload) -> list[Detail]:
    return [
        ("Format", _format(row)),
        ("Records", formatting.count(row.records)),
        ("Size", f"{formatting.count(max(row.size // 1024, 1))} KB"),
        ("Uploaded by", row.actor),
        ("Uploaded", local_time(row.created_at)),
        ("Calls from", local_time(row.first_at)),
        ("Calls until", local_time(row.last_at)),
        ("Finished", local_time(row.finished_at)),
    ]


def _figures(row: Upload) -> list[Detail]:
    is_check = row.state == UploadState.CHECKED
    figures = [
        ("New events" if is_check else "Stored events", formatting.count(row.accepted)),
        ("Duplicates", formatting.count(row.duplicates)),
        ("Conflicts with stored events", formatting.count(row.conflicts)),
        ("Rejected", formatting.count(row.rejected)),
        ("Without a price", formatting.count(row.unpriced)),
    ]
    if is_check:
        figures.insert(1, ("Cost of new events", usd(row.cost_usd)))
    models = ", ".join(row.unpriced_models)
    return [*figures, *([("Models without a price", models)] if models else [])]


def _warning(row: Upload) -> str:
    if not FileFormat(row.format).is_aggregate:
        return ""
    calls = calls_in_period(row) if row.state == UploadState.CHECKED else 0
    text = "Each record is the sum of several requests, and counts as one event of that many requests."
    if calls:
        text += f" At least {formatting.count(calls)} single calls of this period are recorded, and would count twice."
    return text


_ERROR_COLUMNS = (
    Column[UploadError]("Record", lambda row: row.location),
    Column[UploadError]("Id", lambda row: row.event_id or formatting.NOTHING),
    Column[UploadError]("Field", lambda row: row.field or formatting.NOTHING),
    Column[UploadError]("Why", lambda row: row.message),
)


def _errors(row: Upload) -> Table[UploadError]:
    errors = [error for error, _ in zip(list_errors(row), range(_SHOWN_ERRORS), strict=False)]
    rest = row.failed - len(errors)
    return Table(
        "Records that are not stored",
        _ERROR_COLUMNS,
        errors,
        note=f"{formatting.count(rest)} more are in the CSV file." if rest > 0 else "",
    )


def _error_cells(error: UploadError) -> Sequence[object]:
    return tuple(map(text_cell, (error.location, error.event_id, error.field, error.code, error.message)))


def _preview(row: Upload) -> Table[StoredRecord] | None:
    """Return the first records; None if the content is deleted."""
    rows = first_rows(row, _SHOWN_ROWS)
    if not rows:
        return None
    columns = [Column[StoredRecord]("Record", lambda stored: stored.location)]
    if row.column_names:
        columns += [
            Column[StoredRecord](f"{item.name} ({item.field or 'ignored'})", _cell_of(item.name))
            for item in mapped_columns(row.column_names, row.mapping)[:_MAX_SHOWN_COLUMNS]
        ]
    else:
        names = dict.fromkeys(name for stored in rows for name in _event(stored))
        columns += [Column[StoredRecord](name, _value_of(name)) for name in list(names)[:_MAX_SHOWN_COLUMNS]]
    columns += [Column[StoredRecord]("Fault", lambda stored: stored.fault)] if any(r.fault for r in rows) else []
    return Table("First records", columns, rows)


def _cell_of(name: str) -> Any:
    return lambda stored: _shown((stored.cells or {}).get(name))


def _value_of(name: str) -> Any:
    return lambda stored: _shown(_event(stored).get(name))


def _event(stored: StoredRecord) -> dict[str, Any]:
    try:
        event = json.loads(stored.json or "{}")
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _shown(value: Any) -> str:
    if value in (None, ""):
        return formatting.NOTHING
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= _MAX_CELL else f"{text[:_MAX_CELL]}..."
