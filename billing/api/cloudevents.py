"""`POST /events` (CloudEvents), and the paths of OpenMeter and Lago for their clients."""

from http import HTTPStatus
from typing import Any, ClassVar
from uuid import uuid4

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.intake import body_errors, content_type, read_body
from billing.ingest import cloudevents, lago
from billing.ingest.ledger_entries import event_key
from billing.ingest.quarantine import ingest_parsed_or_quarantine
from billing.ingest.services import IngestResult, ingest
from billing.ingest.types import ParsedBatch, RecordError
from billing.models import EventKey
from costtrack.clock import utc_now
from costtrack.error_formats import PROBLEM, Dialect
from costtrack.errors import DomainError
from costtrack.tenancy import tenant_reads
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

_EVENT: dict[str, Any] = {"type": "object", "additionalProperties": True}
_REQUEST = {
    cloudevents.STRUCTURED: _EVENT,
    cloudevents.BATCH: {"type": "array", "items": _EVENT},
    "application/json": {"oneOf": [_EVENT, {"type": "array", "items": _EVENT}]},
}
_REPRESENTATION = "return=representation"


class RefusedEventsError(DomainError):
    """Events of a request that is stored in whole or not at all."""

    status = 400
    code = "invalid_events"


class _CloudEventsView(OrganizationScopedAPIView):
    required_scope: ClassVar[Scope] = Scope.USAGE_WRITE
    max_body_bytes: ClassVar[int] = settings.INTAKE_MAX_BYTES
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"post"})
    own_transactions: ClassVar[bool] = True
    takes_idempotency_key: ClassVar[bool] = False  # each record has an id of its own

    def _records(self, request: Request, body: bytes) -> list[bytes]:
        return cloudevents.split(
            body,
            content_type=content_type(request),
            headers=request.headers,
            max_records=settings.INTAKE_MAX_EVENTS,
        )

    def _ingest(self, parsed: ParsedBatch, records: list[bytes]) -> IngestResult:
        return ingest_parsed_or_quarantine(
            organization=self.organization,
            credential=self.principal.credential,
            format=cloudevents.FORMAT,
            parsed=parsed,
            raw=lambda index: records[index],
            now=utc_now(),
        )


class EventsView(_CloudEventsView):
    """`POST /events`"""

    @extend_schema(
        operation_id="events",
        tags=["intake"],
        request=_REQUEST,
        responses={
            200: IngestResult,
            207: OpenApiResponse(IngestResult, "Some events were not stored."),
            422: OpenApiResponse(IngestResult, "No event could be stored."),
        },
    )
    def post(self, request: Request) -> Response:
        """Store CloudEvents 1.0: structured, binary or a batch. `data` has the fields of a usage event, or a provider's
        usage; the subject is the user unless the data says one."""
        with body_errors():
            records = self._records(request, read_body(request, max_bytes=settings.INTAKE_MAX_BYTES))
            parsed = cloudevents.parse(records, now=utc_now())
        result = ingest(
            organization=self.organization,
            credential=self.principal.credential,
            format=cloudevents.FORMAT,
            parsed=parsed,
            now=utc_now(),
        )
        if result.is_complete:
            return Response(result)
        return Response(
            result, status=HTTPStatus.UNPROCESSABLE_ENTITY if result.is_useless else HTTPStatus.MULTI_STATUS
        )


class OpenMeterView(_CloudEventsView):
    """`POST /api/v3/openmeter/events`"""

    dialect: ClassVar[Dialect] = PROBLEM
    success: ClassVar[HTTPStatus] = HTTPStatus.ACCEPTED

    @extend_schema(
        operation_id="openmeter_events",
        tags=["intake"],
        request=_REQUEST,
        responses={202: OpenApiResponse(description="The events are stored.")},
    )
    def post(self, request: Request) -> HttpResponse:
        """Store CloudEvents as OpenMeter does, all or none. `Prefer: return=representation` responds with 200 and one
        outcome per event."""
        return self._store(request, read_body(request, max_bytes=settings.INTAKE_MAX_BYTES))

    def _store(self, request: Request, body: bytes) -> HttpResponse:
        with body_errors():
            records = self._records(request, body)
            parsed = cloudevents.parse(records, now=utc_now(), requires_subject=True)
        if parsed.errors:
            first = parsed.errors[0]
            raise RefusedEventsError(f"Event {first.index}: {first.message} Nothing was stored.", param=first.field)
        result = self._ingest(parsed, records)
        if _REPRESENTATION in request.headers.get("Prefer", ""):
            return Response(result)
        return HttpResponse(status=self.success)


class OpenMeterOrLagoView(OpenMeterView):
    """`POST /api/v1/events`"""

    success: ClassVar[HTTPStatus] = HTTPStatus.NO_CONTENT

    @extend_schema(
        operation_id="openmeter_events_v1",
        tags=["intake"],
        request=_REQUEST,
        responses={
            200: OpenApiResponse(_EVENT, "Lago's event, as stored."),
            204: OpenApiResponse(description="The CloudEvents are stored."),
            422: OpenApiResponse(_EVENT, "Lago's event is invalid or stored already."),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        """Store CloudEvents as OpenMeter does, all or none; or an event of Lago, which has a top-level `event`."""
        body = read_body(request, max_bytes=settings.INTAKE_MAX_BYTES)
        if content_type(request) == "application/json" and lago.is_lago(body):
            return store_lago(self, body, is_batch=False)
        return self._store(request, body)


class LagoBatchView(_CloudEventsView):
    """`POST /api/v1/events/batch`"""

    dialect: ClassVar[Dialect] = PROBLEM

    @extend_schema(
        operation_id="lago_events_batch",
        tags=["intake"],
        request={"application/json": _EVENT},
        responses={
            200: OpenApiResponse(_EVENT, "Lago's events, as stored."),
            422: OpenApiResponse(_EVENT, "An event is invalid or stored already; nothing was stored."),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        """Store up to 100 events of Lago, all or none."""
        return store_lago(self, read_body(request, max_bytes=settings.INTAKE_MAX_BYTES), is_batch=True)


def store_lago(view: _CloudEventsView, body: bytes, *, is_batch: bool) -> Response:
    """Store Lago's events, and respond as Lago does: errors by the position of the event and its field."""
    now = utc_now()
    with body_errors():
        events = lago.split(body, is_batch=is_batch)
        parsed = lago.parse(events, now=now)
    errors = [*parsed.errors, *_known(view, events)]
    if errors:
        details = {str(error.index): {error.field or "event": [error.code]} for error in errors}
        body_of_error = {
            "status": HTTPStatus.UNPROCESSABLE_ENTITY.value,
            "error": "Unprocessable Entity",
            "code": "validation_errors",
            "error_details": details if is_batch else details["0"],
        }
        return Response(body_of_error, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    ingest(
        organization=view.organization,
        credential=view.principal.credential,
        format=lago.SOURCE,
        parsed=parsed,
        now=now,
    )
    stored = [{"lago_id": str(uuid4()), "created_at": now.isoformat(), **_echo(event)} for event in events]
    return Response({"events": stored} if is_batch else {"event": stored[0]})


_ECHOED = ("transaction_id", "external_subscription_id", "external_customer_id", "code", "timestamp")


def _echo(event: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an event. Its properties may be content, so they are not sent back."""
    return {name: event[name] for name in _ECHOED if name in event}


def _known(view: _CloudEventsView, events: list[dict[str, Any]]) -> list[RecordError]:
    """Return an error for each transaction id that is in the ledger or earlier in the request."""
    ids = [str(event.get("transaction_id") or "") for event in events]
    keys = {event_key(lago.SOURCE, transaction_id): transaction_id for transaction_id in ids if transaction_id}
    with tenant_reads(view.organization.pk):
        stored = EventKey.objects.of(view.organization).filter(key__in=keys).values_list("key", flat=True)
        seen = {keys[key] for key in stored}
    errors = []
    for index, transaction_id in enumerate(ids):
        if transaction_id in seen:
            message = "An event with this transaction_id is stored already."
            errors.append(RecordError(index=index, field="transaction_id", code="value_already_exist", message=message))
        if transaction_id:
            seen.add(transaction_id)
    return errors
