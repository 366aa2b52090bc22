"""The usage page's CSV download, byte-identical to `GET /usage/export`."""

from typing import Any, ClassVar

from django.http import HttpRequest, StreamingHttpResponse

from billing.admin.components.usage_form import UsageForm
from billing.admin.dashboard.usage.usage_query_page import UsageQueryPage
from billing.exports.usage_csv import Rows, file_name, usage_csv
from costtrack.admin_site import register_page
from costtrack.errors import InvalidError
from organizations.selectors import refusal_without_api, refusal_without_exports


class UsageExport(UsageQueryPage):
    title: ClassVar[str] = "Usage"
    refresh_seconds: ClassVar[int] = 0

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> StreamingHttpResponse:
        plan = self.organization.plan
        if not self.has_api_plan:
            raise refusal_without_api(plan)
        if not self.has_exports:
            raise refusal_without_exports(plan)
        form = UsageForm(request.GET)
        if not form.is_valid():
            name, errors = next(iter(form.errors.items()))
            raise InvalidError(f"{name}: {errors[0]}", param=name)
        rows = request.GET.get("rows", Rows.REQUESTS)
        if rows not in tuple(Rows):
            raise InvalidError("rows: requests or days.", param="rows")
        _, query = self.query(form)
        name = file_name(organization=self.organization, rows=rows, window=query.window)
        return StreamingHttpResponse(
            usage_csv(query, Rows(rows)),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


register_page("usage/export/", UsageExport.as_view(), name="usage_export")
