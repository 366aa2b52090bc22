"""The exports page: files that are created in the background, downloads of usage, and of runs with their costs as a
ZIP.

All are files of the API (`/organizations/{slug}/exports`, `GET /usage/export`, `POST /system/export`), under the same
plan rules. Memory use does not grow with the number of rows.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from io import SEEK_END
from typing import IO, Any, ClassVar

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase

from billing.admin.components import formatting
from billing.admin.components.date_range import period_of
from billing.admin.components.files import FileView, access_of, format_of, read_request
from billing.admin.components.urls import admin_url
from billing.admin.components.usage_form import UsageQueryPage
from billing.admin.dashboard.exports.export_form import ALL, PricingExportForm, UsageExportForm, credential_choices
from billing.admin.dashboard.exports.export_table import export_table
from billing.exports.export_jobs import (
    MAX_DIRECT_ROWS,
    STORED_FOR,
    cancel_export,
    create_export,
    delete_export,
    stored_response,
    visible_exports,
)
from billing.exports.list_files import ListFile
from billing.exports.pricing_zip import MAX_ROWS, ExportFilter, pricing_zip
from billing.exports.table_files import FileQuery
from billing.exports.usage_files import usage_file
from billing.reports.pricing.run_filter import RunFilter, list_models
from billing.reports.pricing.uuids import find_groups
from billing.types import ExportState
from costtrack.admin_site import register_page
from costtrack.calendar import ALWAYS, Window
from costtrack.errors import DomainError, InvalidError
from costtrack.file_columns import FileFormat
from organizations.models import APICredential

_MAX_CREDENTIALS = 100
_CHUNK_BYTES = 64 * 1024
_NOT_VALID = "These filters are invalid. See the errors below."
_BEGUN_SECONDS = 60
_EXPORTS_SHOWN = 50
_REFRESH_SECONDS = 3
_USAGE_ID, _PRICING_ID = "usage_%s", "pricing_%s"  # both forms have a period


class ExportsPage(UsageQueryPage):
    title: ClassVar[str] = "Exports"
    template_name: ClassVar[str] = "admin/dashboard/exports.html"
    stylesheets = ("costtrack/exports.css",)
    scripts = ("costtrack/exports.js",)
    refresh_seconds: ClassVar[int] = 0
    explains_plan = True

    def page_context(self) -> dict[str, Any]:
        forms = self.forms(
            UsageExportForm.offered(self.request.GET, auto_id=_USAGE_ID),
            PricingExportForm.offered(self.request.GET, auto_id=_PRICING_ID),
        )
        exports = list(visible_exports(access=access_of(self))[:_EXPORTS_SHOWN])
        is_unfinished = any(ExportState(export.state).is_unfinished for export in exports)
        return {
            **forms,
            "exports": export_table(exports, self),
            "stored_days": STORED_FOR.days,
            "refresh_seconds": _REFRESH_SECONDS if is_unfinished else 0,
        }

    def forms(self, usage: UsageExportForm, pricing: PricingExportForm) -> dict[str, Any]:
        credentials = APICredential.objects.of(self.organization).order_by("-id")
        return {
            "usage": usage,
            "refused_by_plan": self.plan_rights.exports_refusal(),
            "pricing": pricing,
            "credentials": credential_choices(credentials[:_MAX_CREDENTIALS]),
            "history_days": None if self.user.is_superuser else self.organization.plan.history_days,
            "max_rows": formatting.count(MAX_ROWS),
            "max_direct_rows": formatting.count(MAX_DIRECT_ROWS),
        }


class _Download(FileView, ExportsPage):
    """Responds with a file, or with the page and an error."""

    template_name: ClassVar[str] = "admin/dashboard/exports.html"

    def file(self) -> HttpResponseBase:
        """Raises DomainError."""
        raise NotImplementedError

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.usage = UsageExportForm.offered(request.GET, auto_id=_USAGE_ID)
        self.pricing = PricingExportForm.offered(request.GET, auto_id=_PRICING_ID)
        try:
            return self.file()
        except DomainError as refused:
            context = self.page_context() | self.forms(self.usage, self.pricing)
            return self._respond(self.template_name, {**context, "refused": refused.message}, status=refused.status)

    def begun(self, response: HttpResponseBase, download: str) -> HttpResponseBase:
        """Tell the page that the download `download` has started."""
        response.headers["Cache-Control"] = "no-store"
        if download:
            response.set_cookie(
                f"download_{download}",
                "begun",
                max_age=_BEGUN_SECONDS,
                secure=bool(settings.SESSION_COOKIE_SECURE),
                samesite="Lax",
            )
        return response


class UsageDownload(_Download):
    def file(self) -> HttpResponseBase:
        self.plan_rights.check_exports()
        form = self.usage = UsageExportForm(self.request.GET, auto_id=_USAGE_ID)
        if not form.is_valid():
            raise InvalidError(_NOT_VALID)
        cleaned = form.cleaned_data
        query = self.usage_query(form.filters, period_of(form, self.organization.calendar, self.now).span)
        response = self.respond_with(usage_file(query, cleaned["rows"], endpoint=cleaned["endpoint"]))
        return self.begun(response, cleaned["download"])


class PricingDownload(_Download):
    def file(self) -> HttpResponseBase:
        self.plan_rights.check_exports()
        form = self.pricing = PricingExportForm(self.request.GET, auto_id=_PRICING_ID)
        if not form.is_valid():
            raise InvalidError(_NOT_VALID)
        with ExitStack() as stack:
            export = stack.enter_context(
                pricing_zip(organization=self.organization, filters=self._export_filter(form), now=self.now)
            )
            size = export.file.seek(0, SEEK_END)
            export.file.seek(0)
            response = StreamingHttpResponse(
                _chunks(export.file, stack.pop_all()),
                content_type="application/zip",
                headers={
                    "Content-Disposition": f'attachment; filename="{export.file_name}"',
                    "Content-Length": str(size),
                },
            )
        return self.begun(response, form.cleaned_data["download"])

    def _export_filter(self, form: PricingExportForm) -> ExportFilter:
        cleaned = form.cleaned_data
        is_all = cleaned["range"] == ALL
        period = ALWAYS if is_all else Window(*period_of(form, self.organization.calendar, self.now).span)
        window = self.plan_rights.visible(period, now=self.now)
        models = None
        if cleaned["model"]:
            models = tuple(key for key in list_models(organization=self.organization) if key.model == cleaned["model"])
        group = cleaned["group_id"]
        groups = find_groups(organization=self.organization, text=group) if group else None
        return ExportFilter(RunFilter(window, models=models), groups, cleaned["session_id"])


class CreateExportPage(ExportsPage):
    """Creates a file in the background, which the page of a large table offers."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return HttpResponseRedirect(admin_url("exports"))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        query, file_format = read_request(self, request.POST.get("request", ""))
        create_export(access=access_of(self), query=query, file_format=file_format, now=self.now)
        text = f"{query.title}: the file is being created. You get an email at {self.user.email} when it is ready."
        messages.success(request, text)
        return HttpResponseRedirect(admin_url("exports"))


class ExportPage(ExportsPage):
    """A file: a GET downloads it, a POST cancels or deletes it."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.plan_rights.check_exports()
        exports = visible_exports(access=access_of(self))
        export = exports.get_or_not_found("export", pk=self.kwargs["export_id"])
        export.organization = self.organization
        file_format = format_of(request) if "format" in request.GET else FileFormat(export.format)
        return stored_response(export, file_format, with_bom=True)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        access, export_id = access_of(self), self.kwargs["export_id"]
        try:
            if "cancel" in request.POST:
                cancel_export(access=access, export_id=export_id, now=self.now)
            else:
                delete_export(access=access, export_id=export_id)
        except DomainError as refused:
            messages.error(request, refused.message)
        return HttpResponseRedirect(admin_url("exports"))


class ListFilePage(FileView):
    """The file of a list of the admin, by its name."""

    def file_query(self) -> FileQuery:
        return ListFile(name=self.kwargs["name"], parameters=self.request.GET.urlencode())


def _chunks(file: IO[bytes], stack: ExitStack) -> Iterator[bytes]:
    """Yield the file in chunks; it is deleted when all are sent or the client disconnects."""
    with stack:
        yield from iter(partial(file.read, _CHUNK_BYTES), b"")


register_page("exports/", ExportsPage.as_view(), name="exports")
register_page("exports/usage.csv", UsageDownload.as_view(), name="export_usage")
register_page("usage/export/", UsageDownload.as_view(), name="usage_export")  # the buttons of the usage page
register_page("exports/new/", CreateExportPage.as_view(), name="create_export")
register_page("exports/<int:export_id>/", ExportPage.as_view(), name="export")
register_page("files/lists/<str:name>/", ListFilePage.as_view(), name="list_file")
register_page("exports/pricing.zip", PricingDownload.as_view(), name="export_pricing")
