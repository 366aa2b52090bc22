"""`GET /usage/export`: usage as a CSV file, for plans that have exports."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from billing.api.usage.numbers import UsageView, periods_of
from billing.api.usage.query import Asked, UsageQuery, asked_by
from billing.exports.usage_csv import calls_csv, days_csv
from billing.reports.usage.calls import CallFilter
from costtrack.calendar import Unit
from costtrack.errors import ForbiddenError
from organizations.models import Organization
from organizations.selectors import cheapest_plan_with_exports
from organizations.types import Access

_REQUESTS, _DAYS = "requests", "days"


class CsvRenderer(BaseRenderer):
    """Lets callers ask for CSV (`Accept: text/csv`); the file is streamed, past this class."""

    media_type = "text/csv"
    format = "csv"


class _ErrorsInJson(DefaultContentNegotiation):
    """Whoever accepts CSV gets errors in JSON all the same."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        super().select_renderer(request, renderers, format_suffix)
        return JSONRenderer(), JSONRenderer.media_type


class ExportQuery(UsageQuery):
    rows = serializers.ChoiceField(
        default=_REQUESTS, choices=[_REQUESTS, _DAYS], help_text="A row for each call, or for each day."
    )
    endpoint = serializers.CharField(
        required=False, allow_blank=True, max_length=255, help_text="Only with `rows=requests`."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("endpoint") and attrs["rows"] == _DAYS:
            raise serializers.ValidationError({"endpoint": "Days are not known by endpoint."})
        return super().validate(attrs)


class UsageExportView(UsageView):
    """`GET /usage/export`"""

    own_transactions: ClassVar[bool] = True
    renderer_classes = (CsvRenderer, JSONRenderer)
    content_negotiation_class = _ErrorsInJson

    @extend_schema(
        operation_id="usage_export",
        tags=["usage"],
        parameters=[ExportQuery],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="A header and the rows, in UTF-8."),
            403: OpenApiResponse(description="The scope or the plan does not allow it: `plan_without_exports`."),
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Usage as CSV: calls newest first, or days oldest first. Texts are safe to open in a spreadsheet."""
        _check_plan_has_exports(self.access)
        asked = asked_by(request, self.access, ExportQuery)
        lines = _days(asked) if asked.others["rows"] == _DAYS else _calls(asked)
        return StreamingHttpResponse(
            lines,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{_file_name(self.organization, asked)}"'},
        )


def _calls(asked: Asked) -> Iterator[bytes]:
    wanted = CallFilter(asked.wanted, asked.window, endpoint=asked.others.get("endpoint", ""), received_by=asked.now)
    return calls_csv(organization=asked.organization, wanted=wanted)


def _days(asked: Asked) -> Iterator[bytes]:
    days = [(asked.calendar.date_of(span.start), span) for span in periods_of(asked, Unit.DAY, "start_date")]
    return days_csv(organization=asked.organization, wanted=asked.wanted, days=days)


def _file_name(organization: Organization, asked: Asked) -> str:
    first = asked.calendar.date_of(asked.window.start)
    last = asked.calendar.date_of(asked.window.end - timedelta(microseconds=1))
    return f"usage-{asked.others['rows']}-{organization.slug}-{first}-{last}.csv"


def _check_plan_has_exports(access: Access) -> None:
    """Operators may export whatever the plan."""
    plan = access.organization.plan
    if plan.exports or access.principal.is_operator:
        return
    upgrade = cheapest_plan_with_exports()
    message = f"The {plan.name} plan has no exports."
    if upgrade is not None:
        message += f" Upgrade to {upgrade.name} to export usage."
    extra = {"plan": plan.code, "upgrade_to": upgrade.code if upgrade is not None else None}
    raise ForbiddenError(message, code="plan_without_exports", extra=extra)
