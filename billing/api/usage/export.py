"""`GET /usage/export`: usage as a CSV file, for plans with exports."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from billing.api.usage.figures import UsageView
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.exports.usage_csv import Rows, csv_response
from billing.reports.usage.figures import GroupBy
from costtrack.serializers import optional_text


class CsvRenderer(BaseRenderer):
    """Accepts `Accept: text/csv`; the file itself is streamed without this renderer."""

    media_type = "text/csv"
    format = "csv"


class _ErrorsInJson(DefaultContentNegotiation):
    """Renders errors as JSON even if the client accepts only CSV."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        super().select_renderer(request, renderers, format_suffix)
        return JSONRenderer(), JSONRenderer.media_type


class ExportQuery(UsageQuerySerializer):
    rows = serializers.ChoiceField(
        default=Rows.REQUESTS, choices=[rows.value for rows in Rows], help_text="One row per event or per day."
    )
    endpoint = optional_text("Only with `rows=requests`.")
    group_by = serializers.ChoiceField(
        required=False, choices=[by.value for by in GroupBy], help_text="One row per day and value, with `rows=days`."
    )
    bom = serializers.BooleanField(
        default=False, help_text="Begin the file with a byte order mark, so that Excel reads it as UTF-8."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("endpoint") and attrs["rows"] == Rows.DAYS:
            raise serializers.ValidationError({"endpoint": "Cannot be combined with rows=days."})
        if attrs.get("group_by") and attrs["rows"] == Rows.REQUESTS:
            raise serializers.ValidationError({"group_by": "Requires rows=days."})
        return super().validate(attrs)


class UsageExportView(UsageView):
    """`GET /usage/export`"""

    own_transactions: ClassVar[bool] = True
    renderer_classes = (CsvRenderer, JSONRenderer)
    content_negotiation_class = _ErrorsInJson

    @extend_schema(
        operation_id="usage_export",
        parameters=[ExportQuery],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="A header and the rows, in UTF-8."),
            403: OpenApiResponse(
                description="The scope is missing, or the plan has no exports (`plan_without_exports`)."
            ),
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Export usage as CSV: events (calls, tools, compute charges, session summaries) newest first, or days oldest
        first. Both add up to the summary. Texts are safe to open in a spreadsheet."""
        self.plan_rights.check_exports()
        query = usage_query(self, ExportQuery)
        group_by = query.extra.get("group_by")
        return csv_response(
            query,
            Rows(query.extra["rows"]),
            endpoint=query.extra.get("endpoint", ""),
            by=GroupBy(group_by) if group_by is not None else None,
            with_bom=query.extra["bom"],
        )
