"""Document 002 (Lumea): the cost entries of a workflow run (ServiceCost objects)."""

from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, ClassVar

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, PolymorphicProxySerializer, extend_schema
from msgspec import Meta
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.costs.views import CostsEndpoint
from billing.api.queries import lenient_query
from billing.api.response_cache import cached_operation
from billing.ingest.cost_entries import InvalidEntryError, NewEntry, record_entries
from billing.reports.cost_entries import CostEntry, get_entries, list_run_entries
from billing.reports.cursors import cursor_of, position_of
from costtrack.clock import utc_now
from costtrack.errors import InvalidError
from costtrack.money import DECIMALS, MAX_AMOUNT_USD, is_storable, number
from costtrack.name_fields import NameField
from costtrack.parsers import ExactParser
from costtrack.responses import NextCursor, OneOf, ResponseBody, about
from costtrack.serializers import StrictSerializer, page_size
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

MAX_ENTRIES = 1_000
_MAX_ID_LENGTH = 255


class AmountField(serializers.FloatField):
    """A JSON number of US dollars, exactly."""

    default_error_messages = {
        "not_a_number": "Must be a number.",
        "out_of_range": f"Must be from 0 to {MAX_AMOUNT_USD}.",
        "too_precise": f"Must have at most {DECIMALS} decimals.",
    }

    def to_internal_value(self, data: Any) -> Decimal:  # type: ignore[override]  # of a float's place in the schema
        if isinstance(data, bool) or not isinstance(data, int | Decimal):
            self.fail("not_a_number")
        if not 0 <= data <= MAX_AMOUNT_USD:
            self.fail("out_of_range")
        if not is_storable(Decimal(data)):
            self.fail("too_precise")
        return Decimal(data)


def _text(**options: Any) -> serializers.CharField:
    return serializers.CharField(max_length=_MAX_ID_LENGTH, trim_whitespace=False, **options)


class NewServiceCost(StrictSerializer):
    """A cost to record, as the ServiceCost object of the document."""

    id = _text(required=False, allow_null=True, help_text="Unique in the organization; generated if omitted.")
    run_id = NameField(required=False, allow_null=True, help_text="If given, must equal the run in the path.")
    service = NameField(help_text="For example openai.")
    group = NameField(required=False, allow_null=True, help_text="For example the model.")
    amount = AmountField(min_value=0, help_text="In USD.")
    created_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Default: now.")


class ServiceCost(ResponseBody):
    """The ServiceCost object of the document."""

    id: Annotated[str, about("The recorded id; for other events, their ledger id.", "cost-1")]
    run_id: Annotated[str, Meta(examples=["run-1"])]
    service: Annotated[str, about("Empty if the event has none.", "openai")]
    group: Annotated[str | None, about("The group of the entry, else the model.", "gpt-4")]
    amount: Annotated[float | None, about("Net cost, including corrections. Null while the cost is unknown.", 0.25)]
    created_at: datetime


class EntriesQuery(StrictSerializer):
    limit = page_size(help_text="Page size.")
    cursor = serializers.CharField(required=False, max_length=100, help_text="`next_cursor` of the previous page.")


class EntryPage(ResponseBody):
    results: Annotated[list[ServiceCost], about("Newest first.")]
    next_cursor: NextCursor


ONE_OR_MANY = OneOf("ServiceCosts", (ServiceCost, list[ServiceCost]))
_NEW_ENTRY = {
    "id": "cost-1",
    "service": "openai",
    "group": "gpt-4",
    "amount": 0.25,
    "created_at": "2026-11-02T09:00:00Z",
}


class CostEntriesView(CostsEndpoint, OrganizationScopedAPIView):
    """`GET` and `POST /costs/runs/{run_id}/entries`"""

    scopes_by_action = {"post": Scope.USAGE_WRITE}
    actions_of_every_plan: ClassVar[frozenset[str]] = frozenset({"post"})
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"post"})
    parser_classes = (ExactParser,)

    @cached_operation("costs_run_entries", EntriesQuery, EntryPage)
    def get(self, request: Request, run_id: str) -> Response:
        """List the costs of a run, including every event that names it."""
        params = lenient_query(EntriesQuery, request.query_params)
        page = list_run_entries(
            organization=self.organization,
            run_id=run_id,
            since=self.plan_rights.history_start(utc_now()),
            after=position_of(params.get("cursor", "")),
            limit=params["limit"],
        )
        return Response(EntryPage(results=list(map(_entry, page.rows)), next_cursor=cursor_of(page.last)))

    @extend_schema(
        operation_id="costs_run_entries_create",
        request=PolymorphicProxySerializer(
            "NewServiceCosts", [NewServiceCost, NewServiceCost(many=True)], None, many=False
        ),
        responses={
            201: OpenApiResponse(ONE_OR_MANY, "Recorded."),
            200: OpenApiResponse(ONE_OR_MANY, "All entries were already recorded."),
            409: OpenApiResponse(description="An entry with this id and different content exists."),
        },
        examples=[OpenApiExample("One", _NEW_ENTRY, request_only=True)],
    )
    def post(self, request: Request, run_id: str) -> Response:
        """Record costs of a run: one entry or an array of up to 1,000, all or nothing."""
        _check_run(run_id)
        is_one = not isinstance(request.data, list)
        entries = _new_entries(request.data, run_id, is_one=is_one)
        try:
            recorded = record_entries(
                organization=self.organization,
                credential=self.principal.credential,
                run_id=run_id,
                entries=entries,
                now=utc_now(),
            )
        except InvalidEntryError as error:
            raise _error_at(error, len(entries), is_one=is_one) from error
        recorded_entries = [_entry(entry) for entry in get_entries(organization=self.organization, ids=recorded.ids)]
        status = HTTPStatus.CREATED if recorded.is_new else HTTPStatus.OK
        return Response(recorded_entries[0] if is_one else recorded_entries, status=status)


def _check_run(run_id: str) -> None:
    if len(run_id) > _MAX_ID_LENGTH or "\0" in run_id:
        raise InvalidError(f"run_id: at most {_MAX_ID_LENGTH} characters, without NUL.", param="run_id")


def _new_entries(data: Any, run_id: str, *, is_one: bool) -> list[NewEntry]:
    """Raises ValidationError."""
    if is_one:
        body: serializers.BaseSerializer[Any] = NewServiceCost(data=data)
    else:
        body = serializers.ListSerializer(data=data, child=NewServiceCost(), allow_empty=False, max_length=MAX_ENTRIES)
    body.is_valid(raise_exception=True)
    entries: list[dict[str, Any]] = [body.validated_data] if is_one else body.validated_data
    for index, entry in enumerate(entries):
        entry_run_id = entry.pop("run_id", None)
        if entry_run_id is not None and entry_run_id != run_id:
            error = InvalidEntryError(index, "run_id", "Does not match the run in the path.")
            raise _error_at(error, len(entries), is_one=is_one)
    return [NewEntry(**entry) for entry in entries]


def _error_at(error: InvalidEntryError, entries: int, *, is_one: bool) -> serializers.ValidationError:
    """Return the error at its position in the body."""
    at_field = {error.field: [error.message]}
    if is_one:
        return serializers.ValidationError(at_field)
    return serializers.ValidationError([at_field if index == error.index else {} for index in range(entries)])


def _entry(entry: CostEntry) -> ServiceCost:
    return ServiceCost(
        id=entry.entry_id,
        run_id=entry.run_id,
        service=entry.service,
        group=entry.cost_group_or_model or None,
        amount=number(entry.cost_usd) if entry.cost_usd is not None else None,
        created_at=entry.occurred_at,
    )
