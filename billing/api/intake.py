"""`POST /integrations/litellm`, and what it shares with `POST /usage/events` (`billing.api.usage.events`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.queries import validated_query
from billing.api.structs import REFERENCES, struct_schemas
from billing.ingest import litellm
from billing.ingest.body import decompress
from billing.ingest.quarantine import ingest_or_quarantine
from billing.ingest.services import IngestResult
from billing.ingest.types import Malformed, TooMany, UsageEventInput
from costtrack.clock import utc_now
from costtrack.errors import DomainError, TooLargeError
from costtrack.serializers import StrictSerializer
from costtrack.tenancy import tenant_scope
from organizations import idempotency
from organizations.api.base import OrganizationScopedAPIView
from organizations.idempotency import IdempotentRequest
from organizations.types import Scope


class MalformedBodyError(DomainError):
    """The body cannot be parsed at all."""

    status = 400
    code = "malformed"


def with_event_schemas(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """OpenAPI post-processing hook: add the schemas of events, generated from the types that decode them."""
    schemas = {**result["components"]["schemas"], **struct_schemas(UsageEventInput)}
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    return result


def events_schema() -> dict[str, Any]:
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


@contextmanager
def body_errors() -> Iterator[None]:
    """Convert the errors of parsers."""
    try:
        yield
    except Malformed as error:
        raise MalformedBodyError(str(error)) from error
    except TooMany as error:
        raise TooLargeError(str(error), code="too_many_events") from error


def read_body(request: Request, *, max_bytes: int) -> bytes:
    """Return the body as it was sent, unpacked. The parsers handle sizes and formats."""
    encoding = request.headers.get("Content-Encoding", "")
    return decompress(request._request.body, encoding=encoding, max_bytes=max_bytes)  # noqa: SLF001 - not DRF's


def remember_request(request: IdempotentRequest | None, *, now: datetime) -> str | None:
    """Claim the key of a request with usage, and return the prefix of the ids of its records without one.

    The key is claimed in a transaction of its own: the ids make repeated records duplicates, also if the first request
    is still being processed or failed in between.
    """
    if request is None or request.organization is None:
        return None
    with tenant_scope(request.organization.pk):
        idempotency.begin(request, now=now)
    return request.id_prefix


def forget_request_without_effect(request: IdempotentRequest | None, result: IngestResult) -> None:
    """Release the key of a request of which nothing was stored, so that it can be sent again with other content."""
    if request is not None and request.organization is not None and result.is_useless:
        with tenant_scope(request.organization.pk):
            idempotency.forget(request)


def content_type(request: Request) -> str:
    return (request.content_type or "").partition(";")[0].strip().lower()


class LiteLLMView(OrganizationScopedAPIView):
    """`POST /integrations/litellm`"""

    required_scope: ClassVar[Scope] = Scope.USAGE_WRITE
    max_body_bytes: ClassVar[int] = settings.LITELLM_MAX_BYTES
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"post"})
    own_transactions: ClassVar[bool] = True

    @extend_schema(
        operation_id="integrations_litellm",
        tags=["intake"],
        parameters=[LiteLLMQuery],
        request={"application/json": {"type": "array", "items": {"type": "object"}}},
        responses=IngestResult,
    )
    def post(self, request: Request) -> Response:
        """Accept the payloads of the generic API logger of LiteLLM. Responds with 200 once valid records are
        durable, even if others are invalid: those are quarantined, because the logger would discard the whole batch
        on an error."""
        now = utc_now()
        query = validated_query(LiteLLMQuery, request.query_params)
        with body_errors():
            body = read_body(request, max_bytes=settings.LITELLM_MAX_BYTES)
            records = litellm.split(body, content_type=content_type(request), max_records=settings.INTAKE_MAX_EVENTS)
        id_prefix = remember_request(self.idempotent_request(body), now=now)
        if query["end_user_as_user"]:
            records = [litellm.mark_end_user_as_user(bytes(record)) for record in records]
        result = ingest_or_quarantine(
            organization=self.organization,
            credential=self.principal.credential,
            format=litellm.SOURCE,
            records=records,
            now=now,
            id_prefix=id_prefix,
        )
        return Response(result)
