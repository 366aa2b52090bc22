"""Document 000 (Glow): cost by day and model, generation groups, an export, and refreshing cached data.

A run in Glow is one model call. Responses identify users, agents, models and groups by UUIDs
(`billing.reports.pricing.uuids`).
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any, ClassVar, TypeVar
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF, BYPASS, CACHE_HIT, UNPRICED, response_header
from billing.api.operations import ReportEndpoint
from billing.api.response_cache import bypasses_cache, cache_key, response_cache
from billing.api.system.request_bodies import ExportBody, GroupsBody, PricingBody, RefreshBody, RunsBody
from billing.api.system.response_bodies import ExportAnswer, GroupsAnswer, PricingAnswer, RefreshAnswer
from billing.exports.pricing_zip import ExportFilter, pricing_zip
from billing.reports.pricing.daily import pricing
from billing.reports.pricing.groups import ORDERS, GroupQuery, groups
from billing.reports.pricing.run_filter import RunFilter, list_agents, list_models, list_users
from billing.reports.pricing.uuids import agent_uuid, find_groups, model_uuid, select_by_uuid, user_uuid
from billing.reports.response_cache_redis import CachedResponse, cache_response, get_cached_response, ledger_state
from billing.reports.rollup_reader import RollupReader
from billing.rollups.definitions import ROLLUPS
from billing.rollups.refresh import refresh
from costtrack.calendar import Window
from costtrack.clock import iso, utc_now
from costtrack.error_formats import DETAIL, Dialect
from costtrack.ignored_parameters import ignored_headers
from costtrack.renderers import JSONRenderer
from costtrack.responses import ResponseBody
from costtrack.serializers import request_example, validated
from organizations.api.base import OrganizationScopedAPIView, OrganizationScopedReportViewSet
from organizations.models import Organization
from organizations.plan_rights import PlanRights

_render = JSONRenderer().render

T = TypeVar("T", bound=RunsBody)

TAGS = ("system", "pricing", "group")
"""All cache tags; each response has some of them."""
CACHE_TAGS = response_header("X-Cache-Tags", "Cache tags of the response, comma-separated.")
INVALIDATE_TAGS = response_header(
    "X-Invalidate-Tags", "Cache tags whose cached responses were dropped, comma-separated."
)
TRUNCATED = response_header(
    "X-Costtrack-Truncated", "1: there are more runs than the export contains; it has the newest.", OpenApiTypes.INT
)

_NO_FILTERS = request_example("Everything")
_CHUNK_SIZE = 3 * 1024 * 64  # a multiple of 3, so that the base64 of chunks can be concatenated


@dataclass(frozen=True, slots=True)
class RequestedRuns:
    """The runs that a request body selects. Empty means all."""

    window: Window
    models: tuple[UUID, ...]
    agents: tuple[UUID, ...]
    users: tuple[UUID, ...]

    @classmethod
    def of(cls, body: RunsBody, rights: PlanRights) -> "RequestedRuns":
        window = rights.visible(body.window(), now=utc_now())
        return cls(window, *(_ids(body.validated_data, kind) for kind in ("model", "agent", "profile")))

    def resolved(self, organization: Organization) -> RunFilter:
        """Translate UUIDs to the identifiers of the ledger."""
        models, agents, users = self.models, self.agents, self.users
        return RunFilter(
            window=self.window,
            models=select_by_uuid(list_models(organization=organization), model_uuid, models) if models else None,
            agents=select_by_uuid(list_agents(organization=organization), agent_uuid, agents) if agents else None,
            users=select_by_uuid(list_users(organization=organization), user_uuid, users) if users else None,
        )


def _ids(params: dict[str, Any], kind: str) -> tuple[UUID, ...]:
    """Return `model_ids`, else `model_id`; sorted, so that equal requests have equal cache keys."""
    single_id = params.get(f"{kind}_id")
    return tuple(sorted(set(params.get(f"{kind}_ids") or ([single_id] if single_id else []))))


class SystemEndpoint(ReportEndpoint):
    """A mixin of views and viewsets."""

    dialect: ClassVar[Dialect] = DETAIL
    ignores_unknown_parameters: ClassVar[bool] = True


def _cached_response(
    organization: Organization,
    request: Request,
    query: object,
    build: Callable[[], tuple[ResponseBody, dict[str, str]]],
    tags: tuple[str, ...],
) -> HttpResponse:
    """Return the cached response, from this process or from Redis, or the one that `build` builds (a body and its
    headers). `query` must contain everything that the response depends on besides the organization and its ledger. The
    cache tags are those of `/system/refresh`."""
    now, query_text = utc_now(), f"{request.path} {query!r}"
    state, key = ledger_state(organization=organization), cache_key(organization, query_text)
    response = None
    if not bypasses_cache(request):
        response = response_cache.get(key, state) or get_cached_response(
            organization=organization, query=query_text, state=state
        )
    is_hit = response is not None
    if response is None:
        body, headers = build()
        response = CachedResponse(state, _render(body), headers)
        cache_response(organization=organization, query=query_text, response=response)
    response_cache.put(key, state, response)
    return HttpResponse(
        response.body,
        content_type="application/json",
        headers={
            **response.headers,
            AS_OF.name: iso(now),
            CACHE_HIT.name: str(int(is_hit)),
            CACHE_TAGS.name: ",".join(tags),
            **ignored_headers(request.query_params),
        },
    )


class PricingView(SystemEndpoint, OrganizationScopedAPIView):
    """`POST /system/pricing`"""

    only_reads: ClassVar[bool] = True

    @extend_schema(
        operation_id="system_pricing",
        parameters=[BYPASS, CACHE_HIT, CACHE_TAGS, AS_OF, UNPRICED],
        request=PricingBody,
        responses=PricingAnswer,
        examples=[OpenApiExample("A month", {"start_date": "2025-01-01", "end_date": "2025-01-31"}, request_only=True)],
    )
    def post(self, request: Request) -> HttpResponse:
        """Return cost by day and model. The body may be omitted. Days are UTC days, and an end date includes the
        whole day.

        `model_options` and `agent_options` list all models and agents of the window, regardless of the filters.
        """
        params = RequestedRuns.of(_validated(PricingBody(data=request.data)), self.plan_rights)

        def build() -> tuple[ResponseBody, dict[str, str]]:
            filters = params.resolved(self.organization)
            report = pricing(reader=RollupReader(self.organization), filters=filters)
            return PricingAnswer.from_report(report), {UNPRICED.name: str(report.unpriced_events)}

        return _cached_response(self.organization, request, params, build, tags=("system", "pricing"))


class GroupViewSet(SystemEndpoint, OrganizationScopedReportViewSet):
    """`POST /system/groups`. The document has filters in a body, so they are not query parameters."""

    only_reads: ClassVar[bool] = True

    @extend_schema(
        operation_id="system_groups",
        parameters=[BYPASS, CACHE_HIT, CACHE_TAGS, AS_OF],
        request=GroupsBody,
        responses=GroupsAnswer,
        examples=[request_example("The first page", page=1, page_size=25, sort_order="desc")],
    )
    def list(self, request: Request) -> HttpResponse:
        """Return generation groups and their cost, page by page.

        With a window or a filter, a group shows the sums of its matching runs, and groups without any are left out.
        """
        body = _validated(GroupsBody(data=request.data))
        params, options = RequestedRuns.of(body, self.plan_rights), body.validated_data
        page, page_size = max(options["page"], 1), options["page_size"]
        query = GroupQuery(
            search=(options.get("search") or "").strip(),
            order=ORDERS[options["sort_by"]],
            ascending=options["sort_order"] == "asc",
            offset=(page - 1) * page_size,
            limit=page_size,
        )

        def build() -> tuple[ResponseBody, dict[str, str]]:
            filters = replace(query, runs=params.resolved(self.organization))
            group_page = groups(organization=self.organization, query=filters)
            return GroupsAnswer.from_report(group_page, page=page, page_size=page_size), {}

        return _cached_response(self.organization, request, (params, query), build, tags=("system", "group"))


class ExportView(SystemEndpoint, OrganizationScopedAPIView):
    """`POST /system/export`. Open to every role that may read, if the plan has exports."""

    @extend_schema(
        operation_id="system_export",
        parameters=[AS_OF, TRUNCATED],
        request=ExportBody,
        responses=ExportAnswer,
        examples=[_NO_FILTERS],
    )
    def post(self, request: Request) -> Response:
        """Return the runs one by one, newest first, as a ZIP with a CSV file; limited to the newest 100,000.

        Costs include corrections. A cost that is not known yet is an empty cell.
        """
        self.plan_rights.check_exports()
        body = _validated(ExportBody(data=request.data))
        options, now = body.validated_data, utc_now()
        group = options.get("group_id")
        filters = ExportFilter(
            RequestedRuns.of(body, self.plan_rights).resolved(self.organization),
            groups=find_groups(organization=self.organization, text=group) if group else None,
            session_id=options.get("session_id") or "",
        )
        with pricing_zip(organization=self.organization, filters=filters, now=now) as export:
            answer = ExportAnswer(
                content=_base64(export.file),
                file_name=export.file_name,
                mime_type="application/zip",
                row_count=export.rows,
            )
        headers = {AS_OF.name: iso(now), TRUNCATED.name: str(int(not export.is_complete))}
        return Response(answer, headers=headers)


class RefreshView(SystemEndpoint, OrganizationScopedAPIView):
    """`POST /system/refresh`. Open to every role that may read: it changes no figures and its cost is bounded."""

    @extend_schema(
        operation_id="system_refresh",
        parameters=[INVALIDATE_TAGS],
        request=RefreshBody,
        responses=RefreshAnswer,
        examples=[_NO_FILTERS],
    )
    def post(self, request: Request) -> Response:
        """Drop cached responses and bring the views behind them up to date. Never required, because responses are
        always current."""
        params = validated(RefreshBody, request.data)
        is_done = refresh(organization=self.organization, fold_now=not params["soft"], now=utc_now())
        answer = RefreshAnswer(
            success=True,
            refreshed_views=[rollup.name for rollup in ROLLUPS] if is_done else [],
            invalidated_tags=list(TAGS),
            idempotency_key=params["idempotency_key"],
        )
        return Response(answer, headers={INVALIDATE_TAGS.name: ",".join(TAGS)})


def _validated(body: T) -> T:
    body.is_valid(raise_exception=True)
    return body


def _base64(file: IO[bytes]) -> str:
    chunks = iter(lambda: file.read(_CHUNK_SIZE), b"")
    return "".join(base64.b64encode(chunk).decode() for chunk in chunks)
