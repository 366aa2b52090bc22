"""`/usage/provider-bills`: bills of providers, compared with the ledger."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.windows import WindowStartField
from billing.models import BillConnection, BillImport, BillKey
from billing.provider_bills.bill_connections import (
    MAX_KEY_LENGTH,
    list_connections,
    remove_connection,
    request_fetch,
    save_connection,
)
from billing.provider_bills.bill_reader import FIELDS, KINDS
from billing.provider_bills.imports import (
    MAX_ACCOUNT_LENGTH,
    MAX_BYTES,
    MAX_PROVIDER_LENGTH,
    NewBill,
    assign_key,
    import_bill,
    remove_key,
)
from billing.reports.provider_bills import (
    MAX_DAYS,
    BillDayState,
    BillDifference,
    Side,
    compare_bills,
    list_imports,
    list_keys,
)
from billing.types import BillCause, BillFormat, BillProvider, FetchState
from costtrack.calendar import Window
from costtrack.clock import DAY, utc_now
from costtrack.date_fields import DayField
from costtrack.dates import UTC_CALENDAR
from costtrack.errors import InvalidError, field_error
from costtrack.parsers import JSONParser
from costtrack.responses import Amount, NextCursor, ResponseBody, about, choice
from costtrack.serializers import StrictSerializer, optional_text, page_size, validated
from organizations.api.base import OrganizationScopedAPIView
from organizations.permissions import USAGE

_DEFAULT_DAYS = 30
_DECIMALS_OF_SHARES = 6
_MAX_ID = 2**63 - 1
_PROVIDER = "Only this provider, for example `openai`."


class BillImportBody(ResponseBody):
    id: int
    provider: str
    account: str
    format: Annotated[str, choice(BillFormat.choices)]
    file_name: str
    first_day: Annotated[str, about("A day in UTC.", "2026-11-01")]
    last_day: str
    rows: int
    amount_usd: Annotated[Amount | None, about("Null: a report of usage.")]
    fetched_at: Annotated[datetime, about("When the file was downloaded.")]
    actor: Annotated[str, about("Email address or Client ID.")]
    created_at: datetime


class ImportedBillBody(ResponseBody):
    imported: BillImportBody
    is_duplicate: Annotated[bool, about("The same file was imported before, and nothing has changed.")]
    days: Annotated[int, about("Days that the file has replaced or confirmed.")]


class BillImportsBody(ResponseBody):
    results: Annotated[list[BillImportBody], about("The newest first.")]
    next_cursor: NextCursor


class BillPartBody(ResponseBody):
    cause: Annotated[str, choice(BillCause.choices)]
    amount_usd: Amount


class BillDayBody(ResponseBody):
    provider: str
    day: Annotated[str, about("In UTC.", "2026-11-01")]
    is_closed: Annotated[bool, about("Two reports that were downloaded a day apart agree.")]
    fetched_at: datetime
    bill_usd: Annotated[Amount | None, about("Null: no report of costs.")]
    ledger_usd: Amount
    bill_tokens: int | None
    ledger_tokens: int
    coverage: Annotated[float | None, about("The ledger's share of the bill's tokens.")]


class BillTokensBody(ResponseBody):
    kind: str
    bill: int | None
    ledger: int


class BillDifferenceBody(ResponseBody):
    provider: str
    day: str
    key: Annotated[
        str,
        about("The Client ID, or a key of the provider that is not the organization's or not assigned. Empty: others."),
    ]
    is_foreign: Annotated[bool, about("The key is not the organization's.")]
    is_unassigned: Annotated[bool, about("Other keys of the provider are assigned to a credential, this one is not.")]
    model: str
    agrees: bool
    bill_usd: Amount | None
    ledger_usd: Amount
    difference_usd: Annotated[Amount | None, about("The bill minus the ledger. Null: unknown.")]
    parts: Annotated[list[BillPartBody], about("They add up to the difference.")]
    tokens: list[BillTokensBody]
    requests: Annotated[int, about("In the ledger.")]
    unpriced_events: int


class BillComparisonBody(ResponseBody):
    start_date: str
    end_date: str
    timezone: Annotated[str, about("Providers bill days in UTC.")]
    currency: str
    bill_usd: Amount
    ledger_usd: Annotated[Amount, about("Calls of days with a report of costs.")]
    difference_usd: Amount
    parts: list[BillPartBody]
    coverage: float | None
    days: Annotated[list[BillDayBody], about("The newest first. Only on the first page.")]
    results: Annotated[list[BillDifferenceBody], about("The largest difference first.")]
    next_cursor: NextCursor
    as_of: datetime


class BillKeyBody(ResponseBody):
    id: int
    provider: str
    key: str
    client_id: Annotated[str | None, about("Null: the key is not the organization's.")]


class BillKeysBody(ResponseBody):
    results: list[BillKeyBody]


class NewBillSerializer(StrictSerializer):
    content = serializers.CharField(trim_whitespace=False, help_text="The file as text: JSON or CSV.")
    file_name = serializers.CharField(required=False, allow_blank=True, max_length=255)
    provider = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_PROVIDER_LENGTH, help_text="Required for other CSV files."
    )
    account = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_ACCOUNT_LENGTH, help_text="If you have several."
    )
    columns = serializers.DictField(
        child=serializers.ChoiceField(choices=FIELDS), required=False, help_text="The field of each column of a CSV."
    )
    fetched_at = WindowStartField(
        required=False, help_text="When the file was downloaded. Default: now; the same file again changes nothing."
    )


class BillConnectionBody(ResponseBody):
    id: int
    provider: Annotated[str, choice(BillProvider.choices)]
    account: str
    state: Annotated[str, choice(FetchState.choices)]
    progress: Annotated[str, about("What is being fetched.", "OpenAI costs, page 2")]
    error: Annotated[str, about("Why the last attempt failed. Empty: it did not.")]
    fetched_at: Annotated[datetime | None, about("The end of the last successful fetch.")]
    days: Annotated[int, about("The days of the last successful fetch.")]
    next_fetch_at: Annotated[datetime | None, about("Null: not until the key is replaced or a fetch is requested.")]
    key_changed_at: datetime
    actor: Annotated[str, about("Who entered the key: an email address or Client ID.")]
    created_at: datetime


class BillConnectionsBody(ResponseBody):
    results: list[BillConnectionBody]


class NewBillConnectionSerializer(StrictSerializer):
    provider = serializers.ChoiceField(choices=BillProvider.choices)
    account = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_ACCOUNT_LENGTH, help_text="If you have several."
    )
    key = serializers.CharField(
        max_length=MAX_KEY_LENGTH,
        write_only=True,
        help_text="An admin key of OpenAI or Anthropic, or a management key of OpenRouter. It is never shown again.",
    )


class NewBillKeySerializer(StrictSerializer):
    provider = serializers.CharField(max_length=MAX_PROVIDER_LENGTH)
    key = serializers.CharField(max_length=255)
    client_id = serializers.CharField(
        allow_null=True, max_length=64, help_text="Null: the key is not the organization's."
    )


class BillPageQuery(StrictSerializer):
    limit = page_size()
    cursor = serializers.CharField(
        required=False, allow_blank=True, max_length=20, help_text="`next_cursor` of the previous page."
    )


class BillComparisonQuery(BillPageQuery):
    provider = optional_text(_PROVIDER)
    start_date = DayField(required=False, help_text="The first day, in UTC. Default: 30 days.")
    end_date = DayField(required=False, help_text="The last day, in UTC. Default: today.")


class BillParser(JSONParser):
    max_bytes: ClassVar[int] = MAX_BYTES


class BillView(OrganizationScopedAPIView):
    """The base of the endpoints of bills."""

    resource = USAGE
    requires_api_plan: ClassVar[bool] = True

    def parameters(self, request: Request, serializer: type[StrictSerializer]) -> dict[str, Any]:
        given = {name: value for name, value in request.query_params.items() if name != "organization"}
        return validated(serializer, given)


class UsageProviderBillsView(BillView):
    """`GET` and `POST /usage/provider-bills`"""

    parser_classes = (BillParser,)
    max_body_bytes: ClassVar[int] = MAX_BYTES

    @extend_schema(operation_id="usage_provider_bills", parameters=[BillComparisonQuery], responses=BillComparisonBody)
    def get(self, request: Request) -> Response:
        """Compare bills of providers with the ledger, by day, key and model, with the causes of each difference."""
        query = self.parameters(request, BillComparisonQuery)
        now = utc_now()
        first, last = days_of(query.get("start_date"), query.get("end_date"), now)
        window = Window(UTC_CALENDAR.start_of(first), UTC_CALENDAR.start_of(last + DAY))
        start = self.plan_rights.visible(window, now=now).start
        if start is not None and start > UTC_CALENDAR.start_of(first):
            first = (start + DAY - timedelta(microseconds=1)).date()
        comparison = compare_bills(
            organization=self.organization, first=first, last=last, provider=query.get("provider", "").lower()
        )
        offset, limit = _number(query.get("cursor", "")) or 0, query["limit"]
        page = comparison.rows[offset : offset + limit]
        return Response(
            BillComparisonBody(
                start_date=first.isoformat(),
                end_date=last.isoformat(),
                timezone="UTC",
                currency="USD",
                bill_usd=Amount.of(comparison.bill_usd),
                ledger_usd=Amount.of(comparison.ledger_usd),
                difference_usd=Amount.of(comparison.difference_usd),
                parts=_parts(comparison.parts),
                coverage=_share(comparison.coverage),
                days=[] if offset else list(map(_day, comparison.days)),
                results=list(map(_difference, page)),
                next_cursor=str(offset + limit) if offset + limit < len(comparison.rows) else None,
                as_of=now,
            )
        )

    @extend_schema(
        operation_id="usage_provider_bills_create",
        request=NewBillSerializer,
        responses={200: ImportedBillBody, 201: ImportedBillBody},
    )
    def post(self, request: Request) -> Response:
        """Import a file of a provider's costs or usage. Its days replace those of earlier files."""
        body = validated(NewBillSerializer, request.data)
        bill = NewBill(**{**body, "content": body["content"].encode()})
        result = import_bill(organization=self.organization, bill=bill, actor=self.principal.label, now=utc_now())
        answer = ImportedBillBody(_import(result.row), result.is_duplicate, result.days)
        return Response(answer, status=200 if result.is_duplicate else 201)


class UsageBillImportsView(BillView):
    """`GET /usage/provider-bills/imports`"""

    @extend_schema(operation_id="usage_provider_bill_imports", parameters=[BillPageQuery], responses=BillImportsBody)
    def get(self, request: Request) -> Response:
        """List the imported files, the newest first."""
        query = self.parameters(request, BillPageQuery)
        limit = query["limit"]
        rows = list_imports(self.organization, before=_number(query.get("cursor", "")), limit=limit + 1)
        cursor = str(rows[limit - 1].pk) if len(rows) > limit else None
        return Response(BillImportsBody(list(map(_import, rows[:limit])), cursor))


class UsageBillKeysView(BillView):
    """`GET` and `POST /usage/provider-bills/keys`"""

    @extend_schema(operation_id="usage_provider_bill_keys", responses=BillKeysBody)
    def get(self, request: Request) -> Response:
        """List the keys of providers that are assigned to a credential, or are not the organization's."""
        return Response(BillKeysBody(list(map(_key, list_keys(self.organization)))))

    @extend_schema(operation_id="usage_provider_bill_keys_create", request=NewBillKeySerializer, responses=BillKeyBody)
    def post(self, request: Request) -> Response:
        """Compare a key of a provider with the calls of one credential, or mark it as not the organization's."""
        body = validated(NewBillKeySerializer, request.data)
        return Response(_key(assign_key(organization=self.organization, actor=self.principal.label, **body)))


class UsageBillKeyView(BillView):
    """`DELETE /usage/provider-bills/keys/{id}`"""

    @extend_schema(
        operation_id="usage_provider_bill_keys_delete", responses={204: OpenApiResponse(description="Removed.")}
    )
    def delete(self, request: Request, pk: int) -> Response:
        """Compare a key together with all other keys of its provider again."""
        remove_key(organization=self.organization, key_id=pk, actor=self.principal.label)
        return Response(status=204)


class UsageBillConnectionsView(BillView):
    """`GET` and `POST /usage/provider-bills/connections`"""

    @extend_schema(operation_id="usage_provider_bill_connections", responses=BillConnectionsBody)
    def get(self, request: Request) -> Response:
        """List the accounts of providers whose bills are fetched each night."""
        return Response(BillConnectionsBody(list(map(_connection, list_connections(self.organization)))))

    @extend_schema(
        operation_id="usage_provider_bill_connections_create",
        request=NewBillConnectionSerializer,
        responses={200: BillConnectionBody, 201: BillConnectionBody},
    )
    def post(self, request: Request) -> Response:
        """Fetch the bills of an account with an admin key, or replace the key of a known account."""
        body = validated(NewBillConnectionSerializer, request.data)
        saved = save_connection(organization=self.organization, actor=self.principal.label, now=utc_now(), **body)
        return Response(_connection(saved.connection), status=201 if saved.is_new else 200)


class UsageBillConnectionView(BillView):
    """`DELETE /usage/provider-bills/connections/{id}`"""

    @extend_schema(
        operation_id="usage_provider_bill_connections_delete",
        responses={204: OpenApiResponse(description="Removed.")},
    )
    def delete(self, request: Request, pk: int) -> Response:
        """Delete a connection with its key. What was fetched stays."""
        remove_connection(organization=self.organization, connection_id=pk, actor=self.principal.label)
        return Response(status=204)


class UsageBillFetchView(BillView):
    """`POST /usage/provider-bills/connections/{id}/fetch`"""

    @extend_schema(
        operation_id="usage_provider_bill_connections_fetch", request=None, responses={202: BillConnectionBody}
    )
    def post(self, request: Request, pk: int) -> Response:
        """Fetch the bills of an account now, unless they are being fetched."""
        row = request_fetch(organization=self.organization, connection_id=pk, actor=self.principal.label, now=utc_now())
        return Response(_connection(row), status=202)


def days_of(first: date | None, last: date | None, now: datetime) -> tuple[date, date]:
    """Return the days to compare. Raises InvalidError naming the field."""
    last = last or now.date()
    first = first or last - timedelta(days=_DEFAULT_DAYS - 1)
    if first > last:
        raise field_error("start_date", "Must not be after end_date.")
    if (last - first).days >= MAX_DAYS:
        raise field_error("start_date", f"At most {MAX_DAYS} days can be compared.")
    return first, last


def _day(state: BillDayState) -> BillDayBody:
    return BillDayBody.of(
        state,
        day=state.day.isoformat(),
        bill_tokens=int(state.bill_tokens) if state.bill_tokens is not None else None,
        ledger_tokens=int(state.ledger_tokens),
        coverage=_share(state.coverage),
    )


def _difference(row: BillDifference) -> BillDifferenceBody:
    return BillDifferenceBody.of(
        row,
        day=row.day.isoformat(),
        bill_usd=row.bill.amount_usd,
        ledger_usd=row.ledger.amount_usd,
        parts=_parts(row.parts),
        tokens=[BillTokensBody(*counts) for counts in tokens_of(row.bill, row.ledger)],
    )


def tokens_of(bill: Side, ledger: Side) -> list[tuple[str, int | None, int]]:
    """Return the tokens of each kind that one side has."""
    kinds = [kind for kind in KINDS if (bill.tokens or {}).get(kind) or (ledger.tokens or {}).get(kind)]
    return [
        (
            kind,
            int(bill.tokens.get(kind, 0)) if bill.tokens is not None else None,
            int((ledger.tokens or {}).get(kind, 0)),
        )
        for kind in kinds
    ]


def _parts(parts: Any) -> list[BillPartBody]:
    return [BillPartBody(BillCause(cause).value, Amount.of(amount)) for cause, amount in parts.items() if amount]


def _import(row: BillImport) -> BillImportBody:
    return BillImportBody.of(
        row, id=row.pk, rows=row.row_count, first_day=row.first_day.isoformat(), last_day=row.last_day.isoformat()
    )


def _key(row: BillKey) -> BillKeyBody:
    return BillKeyBody(row.pk, row.provider, row.key, row.client_id or None)


def _connection(row: BillConnection) -> BillConnectionBody:
    return BillConnectionBody.of(row, id=row.pk)


def _share(share: Any) -> float | None:
    return round(float(share), _DECIMALS_OF_SHARES) if share is not None else None


def _number(cursor: str) -> int | None:
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and int(cursor) <= _MAX_ID):
        raise InvalidError("Invalid cursor. Remove it to start from the first page.", param="cursor")
    return int(cursor)
