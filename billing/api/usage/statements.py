"""`/usage/statements`: the statement of a month by time of booking, its file, its corrections, and closing it."""

from datetime import date, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from msgspec import UNSET, UnsetType
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import operation
from billing.api.usage.allocation import BasisQuery, basis_of
from billing.api.usage.export import CsvRenderer, ErrorsInJson, ParquetRenderer
from billing.api.usage.figures import UsageView
from billing.api.usage.query import UsageQuerySerializer
from billing.exports.focus import DEFAULT_VERSION, VERSIONS, FocusFile
from billing.exports.requesters import user_of
from billing.exports.statement_files import PDF_CONTENT_TYPE, StatementFormat, statement_response
from billing.exports.table_files import CONTENT_TYPES, file_response
from billing.month_closing import close_month
from billing.reports.statements.months import StatementMonth, list_months, month_in_url, month_of
from billing.reports.statements.statement import (
    MAX_CURSOR_LENGTH,
    STATEMENT_DIMENSIONS,
    LateRow,
    StatementFigures,
    StatementLine,
    StatementQuery,
    decode_cursor,
    encode_cursor,
    history_of_limits,
    late_rows,
    statement_lines,
    statement_query,
    statement_totals,
)
from billing.reports.usage.figures import GroupBy
from billing.reports.usage.query import STATUSES
from billing.types import EventKind
from costtrack.clock import utc_now
from costtrack.file_columns import FileFormat
from costtrack.responses import Amount, NextCursor, ResponseBody, about, choice
from costtrack.serializers import StrictSerializer
from costtrack.tenancy import tenant_scope
from organizations.plan_rights import PlanRights
from organizations.principals import Access
from organizations.types import Scope

MAX_LINES = 1_000
STATEMENT_DIMENSION_NAMES = [by.value for by in STATEMENT_DIMENSIONS]

Month = Annotated[str, about("Such as 2026-10.")]
Cost = Annotated[Amount, about("The known cost, without unpriced events.")]
Unpriced = Annotated[int, about("Events whose cost is unknown and excluded.")]
InputTokens = Annotated[int, about("Without cache reads and writes.")]


class MonthBody(ResponseBody):
    month: Month
    start: datetime
    end: Annotated[datetime, about("Exclusive.")]
    timezone: Annotated[str, about("Of a closed month, the one in which it was closed.")]
    state: Annotated[str, choice(["open", "closed"])]
    closed_at: datetime | None
    closed_by: Annotated[str | None, about("Email address or Client ID.")]


class MonthList(ResponseBody):
    organization: str
    results: Annotated[list[MonthBody], about("Newest first, from the current month to the first with usage.")]


class StatementFiguresBody(ResponseBody, kw_only=True):
    requests: int
    input_tokens: InputTokens
    cache_read_tokens: int
    cache_creation_tokens: int
    output_tokens: int
    cost_usd: Cost
    unpriced_events: Unpriced


class CorrectedMonthBody(StatementFiguresBody, kw_only=True):
    month: Annotated[str, about("The closed month in which the usage was.")]


class StatementTotalsBody(ResponseBody):
    """Of all lines. By tag, lines add up to more, because an event counts under each of its tags."""

    usage: Annotated[StatementFiguresBody, about("Usage of the month, with what was corrected before it was closed.")]
    credits: StatementFiguresBody
    corrections: Annotated[
        list[CorrectedMonthBody], about("What arrived or was corrected after its month was closed, by that month.")
    ]
    total: StatementFiguresBody


class StatementLineBody(ResponseBody, kw_only=True):
    section: Annotated[str, choice(["usage", "credits", "corrections"])]
    corrected_month: Annotated[str | None, about("Of a correction: the closed month in which the usage was.")]
    key: Annotated[
        str | UnsetType, about("With `by`: the value. Empty: without one. For credentials the Client ID.")
    ] = UNSET
    name: Annotated[str | UnsetType, about("By credential: its name, of a closed month the one at that time.")] = UNSET
    model: Annotated[str | UnsetType, about("Not by tag.")] = UNSET
    requests: int
    input_tokens: InputTokens
    cache_read_tokens: int
    cache_creation_tokens: int
    output_tokens: int
    cost_usd: Annotated[Amount | None, about("Null if no cost is known.")]
    unpriced_events: Unpriced


class LimitsEntry(ResponseBody):
    at: str
    limit: str
    event: str
    actor: Annotated[str, about("Empty: costtrack.")]


class Statement(ResponseBody):
    organization: Annotated[str, about("Its slug.")]
    organization_name: str
    currency: Annotated[str, about("USD")]
    month: MonthBody
    by: Annotated[str | None, choice(STATEMENT_DIMENSION_NAMES)]
    totals: StatementTotalsBody
    lines: Annotated[list[StatementLineBody], about("By section, corrected month, key and model.")]
    limits_history: Annotated[list[LimitsEntry], about("Thresholds and changes of limits. Only on the first page.")]
    next_cursor: NextCursor


class StatementCorrection(ResponseBody):
    id: UUID
    month: Annotated[str, about("The closed month in which the usage was.")]
    occurred_at: datetime
    received_at: datetime
    kind: Annotated[str, choice(EventKind.choices)]
    corrects: Annotated[UUID | None, about("The id of the event that an adjustment corrects.")]
    reason: str
    model: str
    team: str
    end_user: str
    user_id: str
    client_id: str
    cost_usd: Annotated[Amount | None, about("Null if the cost is unknown.")]


class StatementCorrections(ResponseBody):
    organization: str
    month: Month
    results: Annotated[list[StatementCorrection], about("In the order of their receipt.")]
    next_cursor: NextCursor


class StatementParameters(UsageQuerySerializer):
    """What a statement and its file have in common. Not the workflow, which a later event may change."""

    range = start_date = end_date = workflow_id = None  # type: ignore[assignment] # removes the inherited fields
    by = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=STATEMENT_DIMENSION_NAMES,
        help_text="Divides the lines further than by model.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return attrs


class StatementParametersOfPage(StatementParameters):
    limit = serializers.IntegerField(default=100, min_value=1, max_value=MAX_LINES, help_text="Lines of a page.")
    cursor = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_CURSOR_LENGTH, help_text="`next_cursor` of the previous page."
    )


class StatementFileParameters(StatementParameters):
    format = serializers.ChoiceField(
        default=StatementFormat.CSV, choices=[file_format.value for file_format in StatementFormat]
    )
    bom = serializers.BooleanField(
        default=False, help_text="Begin a CSV file with a byte order mark, so that Excel reads it as UTF-8."
    )


def focus_version() -> serializers.ChoiceField:
    return serializers.ChoiceField(default=DEFAULT_VERSION, choices=list(VERSIONS), help_text="Of FOCUS.")


class FocusParameters(BasisQuery):
    version = focus_version()
    format = serializers.ChoiceField(
        default=FileFormat.CSV, choices=[FileFormat.CSV.value, FileFormat.PARQUET.value], help_text="Of the file."
    )


class CorrectionParameters(StrictSerializer):
    limit = serializers.IntegerField(default=100, min_value=1, max_value=MAX_LINES, help_text="Rows of a page.")
    cursor = serializers.UUIDField(required=False, help_text="`next_cursor` of the previous page.")


class StatementsView(UsageView):
    """Base of the endpoints of statements."""

    ignores_unknown_parameters: ClassVar[bool] = False
    scopes_by_action: ClassVar = {"post": Scope.MANAGE}

    def visible_month(self, text: str) -> StatementMonth:
        """Return the month of the URL. Raises NotFoundError, and ForbiddenError if the plan does not show it."""
        return visible_month(self.access, text)

    def parameters(self, serializer: type[StrictSerializer]) -> dict[str, Any]:
        given = {name: value for name, value in self.request.query_params.items() if name != "organization"}
        parameters = serializer(data=given)
        parameters.is_valid(raise_exception=True)
        return dict(parameters.validated_data)

    def statement_query(self, text: str, given: dict[str, Any]) -> StatementQuery:
        return query_of_statement(self.access, text, given)


def visible_month(access: Access, text: str) -> StatementMonth:
    """Return a month like `2026-10`. Raises NotFoundError, and ForbiddenError if the plan does not show it."""
    month = month_of(access.organization, month_in_url(text))
    PlanRights.of(access).check_visible(month.span.start, now=utc_now())
    return month


def query_of_statement(access: Access, month: str, given: dict[str, Any]) -> StatementQuery:
    status = given.get("status", "")
    return statement_query(
        organization=access.organization,
        month=visible_month(access, month),
        by=GroupBy(given["by"]) if given.get("by") else None,
        filters={**given, "status": str(STATUSES.get(status, status))},
        now=utc_now(),
    )


def focus_file(query: StatementQuery, given: dict[str, Any]) -> FocusFile:
    basis = basis_of(given)
    return FocusFile(month=query.month.month, version=given["version"], by=basis.target, tag_prefix=basis.tag_prefix)


class StatementListView(StatementsView):
    @operation("usage_statements", None, MonthList)
    def get(self, request: Request) -> Response:
        """List the months that have a statement, and whether they are closed."""
        now = utc_now()
        since = self.plan_rights.history_start(now)
        months = [month for month in list_months(self.organization, now) if since is None or month.span.start >= since]
        return Response(MonthList(organization=self.organization.slug, results=list(map(_month, months))))


class StatementView(StatementsView):
    @operation("usage_statement", StatementParametersOfPage, Statement)
    def get(self, request: Request, month: str) -> Response:
        """Show the statement of a month: its lines, credits, corrections of earlier months and the limits' history.

        A statement is by time of booking, all other reports by time of usage. Usage is booked in its own month, and in
        the open month if its own is closed. So the statement of a closed month never changes, and the summary of a
        month is its statement plus all later corrections that name it.
        """
        given = self.parameters(StatementParametersOfPage)
        after = decode_cursor(given.get("cursor", ""))
        query = self.statement_query(month, given)
        totals = statement_totals(query)
        lines, next_key = statement_lines(query, after=after, limit=given["limit"])
        body = Statement(
            organization=self.organization.slug,
            organization_name=query.month.organization_name,
            currency="USD",
            month=_month(query.month),
            by=query.by,
            totals=StatementTotalsBody(
                usage=StatementFiguresBody.of(totals.usage),
                credits=StatementFiguresBody.of(totals.credits),
                corrections=[
                    CorrectedMonthBody.of(figures, month=f"{corrected:%Y-%m}")
                    for corrected, figures in totals.corrections.items()
                ],
                total=StatementFiguresBody.of(totals.total),
            ),
            lines=[_line(query, line) for line in lines],
            limits_history=[] if after else [LimitsEntry(**entry) for entry in history_of_limits(query)],
            next_cursor=encode_cursor(next_key),
        )
        return Response(body)


class PDFRenderer(BaseRenderer):
    """Accepts the media type of PDF."""

    media_type = PDF_CONTENT_TYPE
    format = "pdf"


class StatementFileView(StatementsView):
    own_transactions: ClassVar[bool] = True
    renderer_classes = (CsvRenderer, JSONRenderer, ParquetRenderer, PDFRenderer)
    content_negotiation_class = ErrorsInJson

    @extend_schema(
        operation_id="usage_statement_file",
        parameters=[StatementFileParameters],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="A header and the lines, in UTF-8."),
            (200, CONTENT_TYPES[FileFormat.JSON]): OpenApiResponse(
                {"type": "array", "items": {"type": "object"}}, description="An object per line; amounts are strings."
            ),
            (200, CONTENT_TYPES[FileFormat.PARQUET]): OpenApiResponse(
                OpenApiTypes.BINARY, description="Amounts are decimals."
            ),
            (200, PDF_CONTENT_TYPE): OpenApiResponse(
                OpenApiTypes.BINARY, description="A document with the totals, lines, corrections and limits' history."
            ),
        },
    )
    def get(self, request: Request, month: str) -> StreamingHttpResponse:
        """Download all lines of a statement as CSV, JSON or Parquet, or the statement as PDF.

        The file of a closed month is always the same, to the byte. A PDF file has up to 5,000 lines. For plans with
        exports.
        """
        self.plan_rights.check_exports()
        given = self.parameters(StatementFileParameters)
        query = self.statement_query(month, given)
        return statement_response(query, StatementFormat(given["format"]), now=utc_now(), with_bom=given["bom"])


class StatementFocusView(StatementsView):
    own_transactions: ClassVar[bool] = True
    renderer_classes = (CsvRenderer, JSONRenderer, ParquetRenderer)
    content_negotiation_class = ErrorsInJson

    @extend_schema(
        operation_id="usage_statement_focus",
        parameters=[FocusParameters],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="A header and the charges, in UTF-8."),
            (200, CONTENT_TYPES[FileFormat.PARQUET]): OpenApiResponse(
                OpenApiTypes.BINARY, description="Amounts are decimals, times are UTC."
            ),
        },
    )
    def get(self, request: Request, month: str) -> StreamingHttpResponse:
        """Download the charges of a month in the format of FOCUS (Cost and Usage): by day, credential, model, kind of
        token and tags, with list, contracted, effective and billed cost. The billed costs add up to the statement.

        Credits and corrections of closed months are charges of their own. FOCUS has no unknown cost: events without a
        price are not in the file, and `X-Unpriced-Events` is their number. For plans with exports.
        """
        self.plan_rights.check_exports()
        given = self.parameters(FocusParameters)
        query = self.statement_query(month, {})
        with tenant_scope(self.organization.pk):
            totals = statement_totals(query)
        file = focus_file(query, given)
        table, name = file.table(self.organization, user_of(self.access)), file.file_name(self.organization)
        response = file_response(table, name, FileFormat(given["format"]))
        response.headers["X-Unpriced-Events"] = str(totals.total.unpriced_events)
        return response


class StatementCorrectionsView(StatementsView):
    @operation("usage_statement_corrections", CorrectionParameters, StatementCorrections)
    def get(self, request: Request, month: str) -> Response:
        """List what a statement has of closed months, row by row: late usage, and adjustments with the event that they
        correct. Rows appear here about a second after they are recorded."""
        given = self.parameters(CorrectionParameters)
        shown = self.visible_month(month)
        rows, next_id = late_rows(
            organization=self.organization, month=shown, after=given.get("cursor"), limit=given["limit"]
        )
        body = StatementCorrections(
            organization=self.organization.slug,
            month=shown.name,
            results=list(map(_correction, rows)),
            next_cursor=str(next_id) if next_id is not None else None,
        )
        return Response(body)


class StatementCloseView(StatementsView):
    @extend_schema(
        operation_id="usage_statement_close",
        request=None,
        responses={
            200: MonthBody,
            409: OpenApiResponse(description="The month is closed already, or has not ended."),
        },
    )
    def post(self, request: Request, month: str) -> Response:
        """Close a month, and all open months before it, by an owner or a credential with `manage`.

        The statement then no longer changes: what arrives or is corrected later is booked in the open month. A closed
        month cannot be opened again.
        """
        closed = close_month(
            organization=self.organization,
            month=month_in_url(month),
            acting_as=self.access.role,
            actor=self.principal.label,
            now=utc_now(),
        )
        return Response(_month(closed))


def _month(month: StatementMonth) -> MonthBody:
    return MonthBody(
        month=month.name,
        start=month.span.start,
        end=month.span.end,
        timezone=month.zone.key,
        state="closed" if month.is_closed else "open",
        closed_at=month.closed_at,
        closed_by=month.closed_by or None,
    )


def _line(query: StatementQuery, line: StatementLine) -> StatementLineBody:
    figures: StatementFigures = line.figures
    return StatementLineBody.of(
        figures,
        section=line.of.section.name.lower(),
        corrected_month=_name(line.of.corrected_month),
        key=line.of.key if query.by is not None else UNSET,
        name=line.name if query.by is GroupBy.CREDENTIAL else UNSET,
        model=line.of.model if query.has_models else UNSET,
        cost_usd=figures.known_cost_usd,
    )


def _correction(row: LateRow) -> StatementCorrection:
    return StatementCorrection.of(row, month=_name(row.month))


def _name(month: date | None) -> str | None:
    return None if month is None else f"{month:%Y-%m}"
