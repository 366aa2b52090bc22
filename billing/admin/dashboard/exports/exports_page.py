"""The exports page: downloads of usage as CSV, and of runs with their costs as a ZIP.

Both are the files of the API (`GET /usage/export`, `POST /system/export`), under the same plan rules. The CSV is
streamed; the ZIP is written to a temporary file first. Memory use does not grow with the number of rows.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from io import SEEK_END
from typing import IO, Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from billing.admin.components import formatting
from billing.admin.components.date_range import period_of
from billing.admin.components.usage_form import UsageQueryPage
from billing.admin.dashboard.exports.export_form import ALL, PricingExportForm, UsageExportForm, credential_choices
from billing.exports.pricing_zip import MAX_ROWS, ExportFilter, pricing_zip
from billing.exports.usage_files import usage_response
from billing.reports.pricing.run_filter import RunFilter, list_models
from billing.reports.pricing.uuids import find_groups
from costtrack.admin_site import register_page
from costtrack.calendar import ALWAYS, Window
from costtrack.errors import DomainError, InvalidError
from organizations.models import APICredential

_MAX_CREDENTIALS = 100
_CHUNK_BYTES = 64 * 1024
_NOT_VALID = "These filters are invalid. See the errors below."
_BEGUN_SECONDS = 60
_USAGE_ID, _PRICING_ID = "usage_%s", "pricing_%s"  # both forms have a period


class ExportsPage(UsageQueryPage):
    title: ClassVar[str] = "Exports"
    template_name: ClassVar[str] = "admin/dashboard/exports.html"
    stylesheets = ("costtrack/exports.css",)
    scripts = ("costtrack/exports.js",)
    refresh_seconds: ClassVar[int] = 0
    explains_plan = True

    def page_context(self) -> dict[str, Any]:
        return self.forms(
            UsageExportForm.offered(self.request.GET, auto_id=_USAGE_ID),
            PricingExportForm.offered(self.request.GET, auto_id=_PRICING_ID),
        )

    def forms(self, usage: UsageExportForm, pricing: PricingExportForm) -> dict[str, Any]:
        credentials = APICredential.objects.of(self.organization).order_by("-id")
        return {
            "usage": usage,
            "refused_by_plan": self.plan_rights.exports_refusal(),
            "pricing": pricing,
            "credentials": credential_choices(credentials[:_MAX_CREDENTIALS]),
            "history_days": None if self.user.is_superuser else self.organization.plan.history_days,
            "max_rows": formatting.count(MAX_ROWS),
        }


class _Download(ExportsPage):
    """Responds with a file, or with the page and an error."""

    def file(self) -> HttpResponseBase:
        """Raises DomainError."""
        raise NotImplementedError

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.usage = UsageExportForm.offered(request.GET, auto_id=_USAGE_ID)
        self.pricing = PricingExportForm.offered(request.GET, auto_id=_PRICING_ID)
        try:
            return self.file()
        except DomainError as refused:
            context = self.forms(self.usage, self.pricing)
            return self._respond(self.template_name, {**context, "refused": refused.message}, status=refused.status)

    def begun(self, response: StreamingHttpResponse, download: str) -> StreamingHttpResponse:
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
        return self.begun(
            usage_response(query, cleaned["rows"], endpoint=cleaned["endpoint"], with_bom=True), cleaned["download"]
        )


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


def _chunks(file: IO[bytes], stack: ExitStack) -> Iterator[bytes]:
    """Yield the file in chunks; it is deleted when all are sent or the client disconnects."""
    with stack:
        yield from iter(partial(file.read, _CHUNK_BYTES), b"")


register_page("exports/", ExportsPage.as_view(), name="exports")
register_page("exports/usage.csv", UsageDownload.as_view(), name="export_usage")
register_page("usage/export/", UsageDownload.as_view(), name="usage_export")  # the buttons of the usage page
register_page("exports/pricing.zip", PricingDownload.as_view(), name="export_pricing")
