"""`/organizations/{slug}/exports`: files of any table that are created in the background."""

from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.usage.allocation import AllocationMonths, BasisQuery, allocation_file
from billing.api.usage.export import CsvRenderer, ErrorsInJson, ExportQuery, ParquetRenderer, file_of
from billing.api.usage.query import read_usage_query
from billing.api.usage.statements import StatementParameters, focus_file, focus_version, query_of_statement
from billing.api.windows import WindowEndField, WindowStartField, window_of
from billing.exports.export_jobs import (
    cancel_export,
    create_export,
    delete_export,
    stored_response,
    visible_exports,
)
from billing.exports.list_files import ListFile, list_names
from billing.exports.run_files import ExecutionsFile, RunsFile, SessionsFile
from billing.exports.statement_files import StatementFile
from billing.exports.table_files import CONTENT_TYPES, FileQuery
from billing.exports.usage_files import Rows
from billing.models import Export
from billing.reports.sessions.newest import EntityFilter
from billing.types import ExportState
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.file_columns import FORMATS, FileFormat
from costtrack.serializers import StrictSerializer, optional_text, validated
from costtrack.tenancy import tenant_reads
from organizations.api.base import OrganizationScopedAPIView, OrganizationScopedViewSet
from organizations.permissions import EXPORTS
from organizations.plan_rights import PlanRights
from organizations.principals import Access

REPORTS = (*(rows.value for rows in Rows), "runs", "sessions", "executions", "statement", "focus", "allocation")
"""The tables that reports read; others are lists."""


class ExportSerializer(serializers.ModelSerializer[Export]):
    """A file; poll until `state` is `ready` or `failed`."""

    state = serializers.ChoiceField(choices=ExportState.choices)
    format = serializers.ChoiceField(choices=FORMATS)
    rows = serializers.IntegerField(help_text="Rows that are written, out of `total_rows`.")
    total_rows = serializers.IntegerField(
        source="total", allow_null=True, help_text="The expected number. Null until it is known."
    )
    requested_by = serializers.CharField(source="actor", help_text="Email address or Client ID.")
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="When the file is deleted.")
    error = serializers.CharField(help_text="Why it has failed; empty otherwise.")

    class Meta:
        model = Export
        fields = (
            *("id", "state", "title", "format", "file_name", "rows", "total_rows", "requested_by", "created_at"),
            *("finished_at", "expires_at", "error"),
        )


class NewExportSerializer(StrictSerializer):
    table = serializers.CharField(
        max_length=64,
        help_text=f"{', '.join(REPORTS)}, or a list of the web UI by its title, such as `limits` or `audit-log`.",
    )
    format = serializers.ChoiceField(default=FileFormat.CSV, choices=FORMATS)
    parameters = serializers.DictField(
        child=serializers.CharField(allow_blank=True),
        default=dict,
        help_text="Filters: for `requests`, `days` and `breakdown` those of `GET /usage/export`; for `runs` `run_id` "
        "and `workflow_id`; for `sessions` and `executions` `start_date`, `end_date`, `workflow_id`, `user_id`, "
        "`team`, `end_user` and `finished`; for `statement` and `focus` `month` and those of "
        "`GET /usage/statements/{month}/file` and `/focus`; for `allocation` those of `GET /usage/allocation/file`; "
        "for a list those of its URL.",
    )


class RunsParameters(StrictSerializer):
    run_id = optional_text()
    workflow_id = optional_text()


class SessionsParameters(StrictSerializer):
    start_date = WindowStartField(required=False)
    end_date = WindowEndField(required=False)
    workflow_id = optional_text()
    user_id = optional_text()
    team = optional_text()
    end_user = optional_text()
    finished = serializers.BooleanField(required=False, allow_null=True, default=None)


class MonthOfStatement(StrictSerializer):
    month = serializers.CharField(max_length=7)


class StatementExportParameters(MonthOfStatement, StatementParameters):
    """Those of `GET /usage/statements/{month}/file`."""


class FocusExportParameters(MonthOfStatement, BasisQuery):
    version = focus_version()


class ExportViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[Export]):
    """Files that are created in the background, of rows that the caller may read."""

    resource = EXPORTS
    queryset = Export.objects.order_by("-id")
    serializer_class = ExportSerializer
    filterset_class = None

    def narrow(self, queryset: Any) -> Any:
        return visible_exports(access=self.access)

    @extend_schema(
        request=NewExportSerializer,
        responses={
            202: OpenApiResponse(ExportSerializer, description="Started in the background. Poll it by its id."),
            403: OpenApiResponse(description="The scope is missing, or the plan has no exports."),
            409: OpenApiResponse(description="Too many files are being created (`too_many_exports`)."),
        },
    )
    def create(self, request: Request, **_: str) -> Response:
        """Create a file of all rows of a table, with its filters and in its order. It is stored for 7 days. A user who
        requests it gets an email when it is ready."""
        body = validated(NewExportSerializer, request.data)
        query = _file_query(self.access, body["table"], body["parameters"])
        export = create_export(access=self.access, query=query, file_format=FileFormat(body["format"]), now=utc_now())
        return Response(ExportSerializer(export).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses={200: ExportSerializer, 409: OpenApiResponse(description="It is finished.")})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, **_: Any) -> Response:
        """Cancel a file that is not ready yet."""
        export = cancel_export(access=self.access, export_id=self.get_object().pk, now=utc_now())
        return Response(ExportSerializer(export).data)

    @extend_schema(responses={204: OpenApiResponse(description="The file is deleted.")})
    def destroy(self, request: Request, **_: Any) -> Response:
        """Delete a file before it expires."""
        delete_export(access=self.access, export_id=self.get_object().pk)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ExportFileView(OrganizationScopedAPIView):
    """`GET /organizations/{slug}/exports/{id}/file`"""

    resource = EXPORTS
    own_transactions: ClassVar[bool] = True
    renderer_classes = (CsvRenderer, JSONRenderer, ParquetRenderer)
    content_negotiation_class = ErrorsInJson

    @extend_schema(
        operation_id="exports_file",
        parameters=[
            OpenApiParameter(
                "format",
                enum=FORMATS,
                description="Default: that of the request for the file.",
            ),
            OpenApiParameter(
                "bom", OpenApiTypes.BOOL, description="Begin a CSV file with a byte order mark, for Excel."
            ),
        ],
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, CONTENT_TYPES[FileFormat.JSON]): OpenApiResponse({"type": "array", "items": {"type": "object"}}),
            (200, CONTENT_TYPES[FileFormat.PARQUET]): OpenApiTypes.BINARY,
            409: OpenApiResponse(description="The file is not ready, or no longer (`export_not_ready`)."),
        },
    )
    def get(self, request: Request, *, pk: int, **_: str) -> StreamingHttpResponse:
        """Download a file that is ready, in any format."""
        self.plan_rights.check_exports()
        parameters = validated(ExportFileParameters, request.query_params)
        with tenant_reads(self.organization.pk):
            export = visible_exports(access=self.access).get_or_not_found("export", pk=pk)
        export.organization = self.organization
        file_format = FileFormat(parameters.get("format") or export.format)
        return stored_response(export, file_format, with_bom=parameters["bom"])


class ExportFileParameters(StrictSerializer):
    format = serializers.ChoiceField(required=False, choices=FORMATS)
    bom = serializers.BooleanField(default=False)


def _file_query(access: Access, table: str, parameters: dict[str, str]) -> FileQuery:
    """Raises ValidationError and DomainError for invalid parameters."""
    if table in set(Rows):
        return file_of(read_usage_query(access, {"rows": table, **parameters}, ExportQuery))
    if table in _QUERIES:
        serializer, query_of = _QUERIES[table]
        return query_of(access, _parameters(access, serializer, parameters))
    if table not in list_names():
        raise InvalidError(f"table: must be one of {', '.join([*REPORTS, *list_names()])}.", param="table")
    return ListFile(name=table, parameters=urlencode(parameters))


def _runs(access: Access, given: dict[str, Any]) -> RunsFile:
    return RunsFile(since=PlanRights.of(access).history_start(utc_now()), **given)


def _entities(access: Access, given: dict[str, Any]) -> EntityFilter:
    window = window_of(given.pop("start_date", None), given.pop("end_date", None))
    window = PlanRights.of(access).visible(window, now=utc_now())
    return EntityFilter(window=window, is_finished=given.pop("finished"), **given)


_QUERIES: dict[str, tuple[type[StrictSerializer], Callable[[Access, dict[str, Any]], FileQuery]]] = {
    "runs": (RunsParameters, _runs),
    "sessions": (SessionsParameters, lambda access, given: SessionsFile.of(_entities(access, given))),
    "executions": (SessionsParameters, lambda access, given: ExecutionsFile.of(_entities(access, given))),
    "statement": (
        StatementExportParameters,
        lambda access, given: StatementFile.of(query_of_statement(access, given.pop("month"), given)),
    ),
    "focus": (
        FocusExportParameters,
        lambda access, given: focus_file(query_of_statement(access, given.pop("month"), {}), given),
    ),
    "allocation": (AllocationMonths, allocation_file),
}


def _parameters(access: Access, serializer: type[StrictSerializer], given: dict[str, str]) -> dict[str, Any]:
    parameters = serializer(data=given, context={"calendar": access.organization.calendar})
    parameters.is_valid(raise_exception=True)
    return dict(parameters.validated_data)
