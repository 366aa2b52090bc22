"""Ingestion endpoints: `POST /usage/events` and `POST /integrations/litellm`."""

from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.queries import validated_query
from billing.api.structs import REFERENCES, struct_schemas
from billing.ingest import json_events, litellm
from billing.ingest.body import decompress
from billing.ingest.quarantine import ingest_or_quarantine
from billing.ingest.services import IngestResult, ingest
from billing.ingest.types import Malformed, TooMany, UsageEventInput
from costtrack.clock import utc_now
from costtrack.errors import DomainError, TooLargeError
from costtrack.serializers import StrictSerializer
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope


class MalformedBodyError(DomainError):
    """The body cannot be parsed at all."""

    status = 400
    code = "malformed"


class RecordErrorSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Zero-based index of the record in the request.")
    id = serializers.CharField(allow_null=True, help_text="Id of the record, if it has one.")
    field = serializers.CharField(allow_null=True, help_text="The invalid field, if it is a single one.")
    code = serializers.CharField()
    message = serializers.CharField()


class IngestResultSerializer(serializers.Serializer[IngestResult]):
    """The outcome of each record. Accepted records and duplicates are durable when the response is sent."""

    batch_id = serializers.UUIDField(allow_null=True)
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    rejected = serializers.IntegerField()
    errors = RecordErrorSerializer(many=True)  # type: ignore[assignment]  # the answer's name for it


def with_event_schemas(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """OpenAPI post-processing hook: add the schemas of events, generated from the types that decode them."""
    schemas = {**result["components"]["schemas"], **struct_schemas(UsageEventInput)}
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    return result


def _body_schema() -> dict[str, Any]:
    event = {"$ref": REFERENCES.format(name=UsageEventInput.__name__)}
    events = {"type": "array", "items": event, "maxItems": settings.INTAKE_MAX_EVENTS}
    envelope = {
        "type": "object",
        "properties": {"events": events},
        "required": ["events"],
        "additionalProperties": False,
        "title": "Events",
    }
    return {"oneOf": [event, events, envelope]}


class LiteLLMQuery(StrictSerializer):
    end_user_as_user = serializers.BooleanField(
        required=False,
        default=False,
        help_text="If no user is known, use the end user (the OpenAI parameter `user`) as the user.",
    )


class _IntakeView(OrganizationScopedAPIView):
    """Reads the body itself, because the parsers handle sizes, encodings and formats."""

    required_scope: ClassVar[Scope] = Scope.USAGE_WRITE
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"post"})
    own_transactions: ClassVar[bool] = True

    def body(self, request: Request, *, max_bytes: int) -> bytes:
        encoding = request.headers.get("Content-Encoding", "")
        return decompress(request._request.body, encoding=encoding, max_bytes=max_bytes)  # noqa: SLF001

    def content_type(self, request: Request) -> str:
        return (request.content_type or "").partition(";")[0].strip().lower()

    def answer(self, result: IngestResult, status: int) -> Response:
        return Response(
            {
                "batch_id": result.batch_id,
                "accepted": result.accepted,
                "duplicates": result.duplicates,
                "conflicts": result.conflicts,
                "rejected": result.rejected,
                "errors": msgspec.to_builtins(result.errors),
            },
            status=status,
        )


def _too_many() -> TooLargeError:
    return TooLargeError(f"A request may contain up to {settings.INTAKE_MAX_EVENTS:,} events.", code="too_many_events")


class EventsView(_IntakeView):
    """`POST /usage/events`"""

    @extend_schema(
        operation_id="usage_events",
        tags=["intake"],
        request={"application/json": _body_schema(), "application/x-ndjson": {"type": "string"}},
        responses={
            200: IngestResultSerializer,
            207: OpenApiResponse(IngestResultSerializer, "Some records were not stored."),
            422: OpenApiResponse(IngestResultSerializer, "No record could be stored."),
        },
    )
    def post(self, request: Request) -> Response:
        """Store usage events: one, an array, `{"events": [...]}`, or one per line. gzip and zstd are accepted."""
        now = utc_now()
        try:
            parsed = json_events.parse(
                self.body(request, max_bytes=settings.INTAKE_MAX_BYTES),
                content_type=self.content_type(request),
                max_events=settings.INTAKE_MAX_EVENTS,
                now=now,
            )
        except Malformed as error:
            raise MalformedBodyError(str(error)) from error
        except TooMany as error:
            raise _too_many() from error
        result = ingest(
            organization=self.organization,
            credential=self.principal.credential,
            format="json",
            parsed=parsed,
            now=now,
        )
        if result.is_complete:
            return self.answer(result, HTTPStatus.OK)
        return self.answer(result, HTTPStatus.UNPROCESSABLE_ENTITY if result.is_useless else HTTPStatus.MULTI_STATUS)


class LiteLLMView(_IntakeView):
    """`POST /integrations/litellm`"""

    @extend_schema(
        operation_id="integrations_litellm",
        tags=["intake"],
        parameters=[LiteLLMQuery],
        request={"application/json": {"type": "array", "items": {"type": "object"}}},
        responses={200: IngestResultSerializer},
    )
    def post(self, request: Request) -> Response:
        """Accept the payloads of the generic API logger of LiteLLM. Responds with 200 once valid records are
        durable, even if others are invalid: those are quarantined, because the logger would discard the whole batch
        on an error."""
        now = utc_now()
        query = validated_query(LiteLLMQuery, request.query_params)
        try:
            records = litellm.split(
                self.body(request, max_bytes=settings.LITELLM_MAX_BYTES),
                content_type=self.content_type(request),
                max_records=settings.INTAKE_MAX_EVENTS,
            )
        except Malformed as error:
            raise MalformedBodyError(str(error)) from error
        except TooMany as error:
            raise _too_many() from error
        if query["end_user_as_user"]:
            records = [litellm.mark_end_user_as_user(bytes(record)) for record in records]
        result = ingest_or_quarantine(
            organization=self.organization,
            credential=self.principal.credential,
            format=litellm.SOURCE,
            records=records,
            now=now,
        )
        return self.answer(result, HTTPStatus.OK)
