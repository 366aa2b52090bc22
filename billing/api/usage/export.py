"""`GET /usage/export`: usage as a file, for plans with exports."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from billing.api.usage.breakdown import ExplorerParameters, GroupByField, explorer_query
from billing.api.usage.figures import UsageView
from billing.api.usage.query import usage_query
from billing.exports.requesters import user_of
from billing.exports.table_files import CONTENT_TYPES, FileQuery, file_response
from billing.exports.usage_files import BreakdownFile, Rows, usage_file
from billing.reports.usage.query import UsageQuery
from costtrack.file_columns import FORMATS, FileFormat
from costtrack.serializers import optional_text


class CsvRenderer(BaseRenderer):
    """Accepts `Accept: text/csv`; the file itself is streamed without this renderer."""

    media_type = "text/csv"
    format = "csv"


class ParquetRenderer(BaseRenderer):
    """Accepts the media type of Parquet."""

    media_type = CONTENT_TYPES[FileFormat.PARQUET]
    format = "parquet"


class ErrorsInJson(DefaultContentNegotiation):
    """Renders errors as JSON even if the client accepts only CSV."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        super().select_renderer(request, renderers, format_suffix)
        return JSONRenderer(), JSONRenderer.media_type


class ExportQuery(ExplorerParameters):
    rows = serializers.ChoiceField(
        default=Rows.REQUESTS,
        choices=[rows.value for rows in Rows],
        help_text="One row per event, per day, or per row of the breakdown.",
    )
    format = serializers.ChoiceField(default=FileFormat.CSV, choices=FORMATS)
    endpoint = optional_text("Only with `rows=requests`.")
    group_by = GroupByField(
        required=False,
        help_text="With `rows=days`, one row per day and value of this dimension; one or two with `rows=breakdown`.",
    )
    bom = serializers.BooleanField(
        default=False, help_text="Begin a CSV file with a byte order mark, so that Excel reads it as UTF-8."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        rows, group_by = attrs["rows"], attrs.get("group_by", ())
        if attrs.get("endpoint") and rows != Rows.REQUESTS:
            raise serializers.ValidationError({"endpoint": f"Cannot be combined with rows={rows}."})
        if group_by and rows == Rows.REQUESTS:
            raise serializers.ValidationError({"group_by": "Requires rows=days or rows=breakdown."})
        if len(group_by) > 1 and rows == Rows.DAYS:
            raise serializers.ValidationError({"group_by": "One dimension with rows=days."})
        if not group_by and rows == Rows.BREAKDOWN:
            raise serializers.ValidationError({"group_by": "Required with rows=breakdown."})
        return super().validate(attrs)


class UsageExportView(UsageView):
    """`GET /usage/export`"""

    own_transactions: ClassVar[bool] = True
    renderer_classes = (CsvRenderer, JSONRenderer, ParquetRenderer)
    content_negotiation_class = ErrorsInJson

    @extend_schema(
        operation_id="usage_export",
        parameters=[ExportQuery],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="A header and the rows, in UTF-8."),
            (200, CONTENT_TYPES[FileFormat.JSON]): OpenApiResponse(
                {"type": "array", "items": {"type": "object"}}, description="An object per row; amounts are strings."
            ),
            (200, CONTENT_TYPES[FileFormat.PARQUET]): OpenApiResponse(
                OpenApiTypes.BINARY, description="Amounts are decimals, times are in the organization's zone."
            ),
            403: OpenApiResponse(
                description="The scope is missing, or the plan has no exports (`plan_without_exports`)."
            ),
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Export usage as CSV, JSON or Parquet: events (calls, tools, compute charges, session summaries) newest first,
        days oldest first, or all rows of the breakdown. All of them add up to the summary. Texts of CSV are safe to
        open in a spreadsheet."""
        self.plan_rights.check_exports()
        query = usage_query(self, ExportQuery)
        extra = query.extra
        file = file_of(query)
        table = file.table(self.organization, user_of(self.access))
        name = file.file_name(self.organization)
        return file_response(table, name, FileFormat(extra["format"]), with_bom=extra["bom"])


def file_of(query: UsageQuery) -> FileQuery:
    """Return the file of a query that has the parameters of `ExportQuery`."""
    extra = query.extra
    rows = Rows(extra["rows"])
    if rows is Rows.BREAKDOWN:
        return BreakdownFile.of(explorer_query(query))
    by = next(iter(extra.get("group_by", ())), None)
    return usage_file(query, rows, endpoint=extra.get("endpoint", ""), by=by)
