"""The paths of Langfuse's SDKs: spans, the check of credentials, and the ingestion of versions before 3."""

from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.intake import body_errors, read_body
from billing.ingest import langfuse
from billing.ingest.quarantine import ingest_parsed_or_quarantine
from costtrack.clock import utc_now
from costtrack.responses import ResponseBody
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope


class LangfuseOrganization(ResponseBody):
    id: str
    name: str


class LangfuseProject(ResponseBody):
    """An organization of costtrack. Its one project in Langfuse's terms is the organization itself."""

    id: str
    name: str
    organization: LangfuseOrganization
    metadata: dict[str, str]


class LangfuseProjects(ResponseBody):
    data: list[LangfuseProject]


class LangfuseHealth(ResponseBody):
    status: str
    version: str


class IngestionSuccess(ResponseBody):
    id: str
    status: int


class IngestionError(ResponseBody):
    id: str
    status: int
    message: str
    error: str


class IngestionResponse(ResponseBody):
    successes: list[IngestionSuccess]
    errors: list[IngestionError]


class ProjectsView(OrganizationScopedAPIView):
    """`GET /api/public/projects`"""

    required_scope: ClassVar[Scope] = Scope.USAGE_WRITE
    # Each start of a program may check its credentials.
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"get"})

    @extend_schema(operation_id="langfuse_projects", tags=["intake"], responses=LangfuseProjects)
    def get(self, request: Request) -> Response:
        """Get the organization of the key, as Langfuse's SDKs check their credentials."""
        slug, name = self.organization.slug, self.organization.name
        return Response(LangfuseProjects([LangfuseProject(slug, name, LangfuseOrganization(slug, name), {})]))


class HealthView(OrganizationScopedAPIView):
    """`GET /api/public/health`"""

    required_scope: ClassVar[Scope | None] = None
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"get"})

    @extend_schema(operation_id="langfuse_health", tags=["intake"], responses=LangfuseHealth)
    def get(self, request: Request) -> Response:
        """Check that the server is there, as Langfuse's SDKs do."""
        return Response(LangfuseHealth("OK", "3.0.0"))


class IngestionView(OrganizationScopedAPIView):
    """`POST /api/public/ingestion`"""

    required_scope: ClassVar[Scope] = Scope.USAGE_WRITE
    max_body_bytes: ClassVar[int] = settings.INTAKE_MAX_BYTES
    actions_without_rate_limit: ClassVar[frozenset[str]] = frozenset({"post"})
    own_transactions: ClassVar[bool] = True
    takes_idempotency_key: ClassVar[bool] = False  # each record has an id of its own

    @extend_schema(
        operation_id="langfuse_ingestion",
        tags=["intake"],
        request={
            "application/json": {
                "type": "object",
                "properties": {"batch": {"type": "array", "items": {"type": "object", "additionalProperties": True}}},
                "required": ["batch"],
                "title": "LangfuseBatch",
            }
        },
        responses={207: OpenApiResponse(IngestionResponse, "The outcome of each event.")},
    )
    def post(self, request: Request) -> Response:
        """Store the generations of Langfuse's SDKs before version 3. All other events are accepted and dropped. Newer
        SDKs send spans to `/api/public/otel/v1/traces`."""
        now = utc_now()
        with body_errors():
            batch = langfuse.split(
                read_body(request, max_bytes=settings.INTAKE_MAX_BYTES), max_records=settings.INTAKE_MAX_EVENTS
            )
        result = ingest_parsed_or_quarantine(
            organization=self.organization,
            credential=self.principal.credential,
            format=langfuse.SOURCE,
            parsed=langfuse.to_events(batch.generations, now=now),
            raw=lambda index: langfuse.encode(batch.generations[index]),
            now=now,
        )
        faults: dict[str, str] = dict(batch.errors)
        for error in result.errors:
            faults |= dict.fromkeys(batch.generations[error.index].envelope_ids, error.message)
        return Response(_response(batch, faults), status=status.HTTP_207_MULTI_STATUS)


def _response(batch: langfuse.Batch, faults: dict[str, str]) -> Any:
    refused = [IngestionError(event_id, 400, message, "Bad Request") for event_id, message in faults.items()]
    return IngestionResponse(
        [IngestionSuccess(event_id, 201) for event_id in batch.ids if event_id not in faults], refused
    )
