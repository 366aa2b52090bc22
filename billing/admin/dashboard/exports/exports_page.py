"""The exports there are, as downloads: usage as CSV, and the runs with their prices as a ZIP.

Both are files of the API's own making (`GET /usage/export`, `POST /system/export`), under the same rules of plans. CSV
is made while it is sent; the ZIP is written to a temporary file first. Neither takes more memory for more rows.
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
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.dashboard.exports.export_form import ALL, PricingExportForm, UsageExportForm, credential_choices
from billing.exports.pricing_zip import MAX_ROWS, ExportFilter, pricing_zip
from billing.exports.usage_csv import file_name, usage_csv
from billing.reports.pricing.run_filter import RunFilter, known_models
from billing.reports.types import Window
from billing.reports.usage.query import build_query
from costtrack.admin_site import register_page
from costtrack.errors import DomainError, InvalidError
from organizations.models import APICredential
from organizations.selectors import refusal_without_api, refusal_without_exports

_MAX_CREDENTIALS = 100
_PIECE = 64 * 1024
_NOT_VALID = "These filters are invalid. They are marked below."
_BEGUN_SECONDS = 60
_USAGE_ID, _PRICING_ID = "usage_%s", "pricing_%s"  # both forms have a period


class ExportsPage(OrganizationPage):
    title: ClassVar[str] = "Exports"
    template_name: ClassVar[str] = "admin/dashboard/exports.html"
    refresh_seconds: ClassVar[int] = 0

    def page_context(self) -> dict[str, Any]:
        return self.forms(
            UsageExportForm.offered(self.request.GET, auto_id=_USAGE_ID),
            PricingExportForm.offered(self.request.GET, auto_id=_PRICING_ID),
        )

    def forms(self, usage: UsageExportForm, pricing: PricingExportForm) -> dict[str, Any]:
        plan = self.organization.plan
        credentials = APICredential.objects.of(self.organization).order_by("-id")
        return {
            "usage": usage,
            "usage_refused": self.refused_usage(),
            "pricing": pricing,
            "pricing_refused": self.refused_pricing(),
            "credentials": credential_choices(credentials[:_MAX_CREDENTIALS]),
            "history_days": None if self.person.is_superuser else plan.history_days,
            "most_rows": formatting.count(MAX_ROWS),
            "time_zone": self.organization.time_zone,
        }

    def refused_usage(self) -> DomainError | None:
        """Why there is no CSV, in the API's words. Operators may export whatever the plan."""
        plan = self.organization.plan
        if self.person.is_superuser:
            return None
        if not plan.api_access:
            return refusal_without_api(plan)
        return None if plan.exports else refusal_without_exports(plan)

    def refused_pricing(self) -> DomainError | None:
        """The same of the ZIP, which every plan with API access has."""
        plan = self.organization.plan
        return None if plan.api_access or self.person.is_superuser else refusal_without_api(plan)


class _Download(ExportsPage):
    """Answers with a file, or with the page and what is wrong."""

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
            return self._answer(self.template_name, {**context, "refused": refused.message}, status=refused.status)

    def sent(self, parts: Iterator[bytes], *, name: str, content_type: str, download: str) -> StreamingHttpResponse:
        response = StreamingHttpResponse(
            parts,
            content_type=content_type,
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )
        if download:  # tells the page that what it has asked for has begun
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
        refused = self.refused_usage()
        if refused is not None:
            raise refused
        form = self.usage = UsageExportForm.query(self.request.GET, auto_id=_USAGE_ID)
        if not form.is_valid():
            raise InvalidError(_NOT_VALID)
        found = form.cleaned_data
        query = build_query(
            organization=self.organization,
            filters=form.filters,
            window=period_of(form, self.organization.calendar, self.now).span,
            now=self.now,
            sees_everything=self.person.is_superuser,
        )
        return self.sent(
            usage_csv(query, found["rows"], endpoint=found["endpoint"]),
            name=file_name(organization=self.organization, rows=found["rows"], window=query.window),
            content_type="text/csv; charset=utf-8",
            download=found["download"],
        )


class PricingDownload(_Download):
    def file(self) -> HttpResponseBase:
        refused = self.refused_pricing()
        if refused is not None:
            raise refused
        form = self.pricing = PricingExportForm.query(self.request.GET, auto_id=_PRICING_ID)
        if not form.is_valid():
            raise InvalidError(_NOT_VALID)
        with ExitStack() as stack:
            export = stack.enter_context(
                pricing_zip(organization=self.organization, filters=self._wanted(form), now=self.now)
            )
            size = export.file.seek(0, SEEK_END)
            export.file.seek(0)
            response = self.sent(
                _parts(export.file, stack.pop_all()),
                name=export.file_name,
                content_type="application/zip",
                download=form.cleaned_data["download"],
            )
        response.headers["Content-Length"] = str(size)
        return response

    def _wanted(self, form: PricingExportForm) -> ExportFilter:
        found = form.cleaned_data
        is_all = found["range"] == ALL
        window = Window() if is_all else Window(*period_of(form, self.organization.calendar, self.now).span)
        models = None
        if found["model"]:
            models = tuple(key for key in known_models(organization=self.organization) if key.model == found["model"])
        return ExportFilter(RunFilter(window, models=models), found["group_id"], found["session_id"])


def _parts(file: IO[bytes], stack: ExitStack) -> Iterator[bytes]:
    """The file in pieces; it is gone when all of them are sent, or nobody wants them any more."""
    with stack:
        yield from iter(partial(file.read, _PIECE), b"")


register_page("exports/", ExportsPage.as_view(), name="exports")
register_page("exports/usage.csv", UsageDownload.as_view(), name="export_usage")
register_page("exports/pricing.zip", PricingDownload.as_view(), name="export_pricing")
