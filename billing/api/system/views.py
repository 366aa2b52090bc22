"""Document 000 (Glow): cost by day and model, generation groups, an export, and refreshing cached data.

A run in Glow is one model call. Responses identify users, agents and models by UUIDs (`billing.api.system.ids`).
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any, ClassVar, TypeVar
from uuid import UUID

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF, BYPASS, CACHE_HIT, UNPRICED
from billing.api.response_cache import bypasses_cache, response_cache
from billing.api.system import answers, examples
from billing.api.system.headers import CACHE_TAGS, INVALIDATE_TAGS, TAGS, TRUNCATED
from billing.api.system.ids import agent_uuid, model_uuid, select_by_uuid, user_uuid
from billing.api.system.shapes import (
    ORDERS,
    ExportAnswer,
    ExportBody,
    GroupsAnswer,
    GroupsBody,
    PricingAnswer,
    PricingBody,
    RefreshAnswer,
    RefreshBody,
    RunsBody,
)
from billing.exports.pricing_zip import ExportFilter, pricing_zip
from billing.reports.pricing.daily import pricing
from billing.reports.pricing.groups import GroupQuery, groups
from billing.reports.pricing.run_filter import RunFilter, list_agents, list_models, list_users
from billing.reports.response_cache_redis import CachedResponse, cache_response, get_cached_response, ledger_state
from billing.rollups.definitions import ROLLUPS
from billing.rollups.refresh import refresh
from costtrack.calendar import Window
from costtrack.clock import iso, utc_now
from costtrack.error_formats import DETAIL, Dialect
from organizations.api.base import OrganizationScopedAPIView
from organizations.models import Organization
from organizations.types import Scope

T = TypeVar("T", bound=RunsBody)

_CHUNK_SIZE = 3 * 1024 * 64  # a multiple of 3, so that the base64 of chunks can be concatenated


@dataclass(frozen=True, slots=True)
class RequestedRuns:
    """The runs that a request body selects. Empty means all."""

    window: Window
    models: tuple[UUID, ...]
    agents: tuple[UUID, ...]
    users: tuple[UUID, ...]

    @classmethod
    def of(cls, body: RunsBody) -> "RequestedRuns":
        return cls(body.window(), *(_ids(body.validated_data, kind) for kind in ("model", "agent", "profile")))

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


class _SystemView(OrganizationScopedAPIView):
    dialect: ClassVar[Dialect] = DETAIL
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True


class _CachedView(_SystemView):
    only_reads: ClassVar[bool] = True
    tags: ClassVar[tuple[str, ...]]
    """The cache tags of the response, as in `/system/refresh`."""

    def cached(self, request: Request, query: object, make: Callable[[], tuple[Any, dict[str, str]]]) -> HttpResponse:
        """Return the cached response, from this process or from Redis, or the one that `make` builds (a body and its
        headers). `query` must contain everything that the response depends on besides the organization and its
        ledger."""
        now, query_text = utc_now(), f"{request.path} {query!r}"
        state, cache_key = ledger_state(organization=self.organization), (self.organization.pk, query_text)
        answer = None
        if not bypasses_cache(request):
            answer = response_cache.get(cache_key, state) or get_cached_response(
                organization=self.organization, query=query_text, state=state
            )
        is_hit = answer is not None
        if answer is None:
            body, headers = make()
            answer = CachedResponse(state, msgspec.json.encode(body), headers)
            cache_response(organization=self.organization, query=query_text, response=answer)
        response_cache.put(cache_key, state, answer)
        return HttpResponse(
            answer.body,
            content_type="application/json",
            headers={
                **answer.headers,
                AS_OF.name: iso(now),
                CACHE_HIT.name: str(int(is_hit)),
                CACHE_TAGS.name: ",".join(self.tags),
            },
        )


class PricingView(_CachedView):
    """`POST /system/pricing`"""

    tags = ("system", "pricing")

    @extend_schema(
        operation_id="system_pricing",
        tags=["system"],
        parameters=[BYPASS, CACHE_HIT, CACHE_TAGS, AS_OF, UNPRICED],
        request=PricingBody,
        responses=PricingAnswer,
        examples=examples.PRICING,
    )
    def post(self, request: Request) -> HttpResponse:
        """Return cost by day and model. The body may be omitted. Days are UTC days, and an end date includes the
        whole day.

        `model_options` and `agent_options` list all models and agents of the window, regardless of the filters.
        """
        params = RequestedRuns.of(_validated(PricingBody(data=request.data)))

        def make() -> tuple[Any, dict[str, str]]:
            report = pricing(organization=self.organization, filters=params.resolved(self.organization))
            return answers.pricing_body(report), {UNPRICED.name: str(report.unpriced_events)}

        return self.cached(request, params, make)


class GroupsView(_CachedView):
    """`POST /system/groups`"""

    tags = ("system", "group")

    @extend_schema(
        operation_id="system_groups",
        tags=["system"],
        parameters=[BYPASS, CACHE_HIT, CACHE_TAGS, AS_OF],
        request=GroupsBody,
        responses=GroupsAnswer,
        examples=examples.GROUPS,
    )
    def post(self, request: Request) -> HttpResponse:
        """Return generation groups and their cost, page by page.

        With a window or a filter, a group shows the sums of its matching runs, and groups without any are left out.
        """
        body = _validated(GroupsBody(data=request.data))
        params, options = RequestedRuns.of(body), body.validated_data
        page, page_size = max(options["page"], 1), options["page_size"]
        query = GroupQuery(
            search=(options.get("search") or "").strip(),
            order=ORDERS[options["sort_by"]],
            ascending=options["sort_order"] == "asc",
            offset=(page - 1) * page_size,
            limit=page_size,
        )

        def make() -> tuple[Any, dict[str, str]]:
            filters = replace(query, runs=params.resolved(self.organization))
            group_page = groups(organization=self.organization, query=filters)
            return answers.groups_body(group_page, page=page, page_size=page_size), {}

        return self.cached(request, (params, query), make)


class ExportView(_SystemView):
    """`POST /system/export`. Open to every role that may read (upstream-compatible), independent of the `exports`
    setting of the plan."""

    @extend_schema(
        operation_id="system_export",
        tags=["system"],
        parameters=[AS_OF, TRUNCATED],
        request=ExportBody,
        responses=ExportAnswer,
        examples=examples.EXPORT,
    )
    def post(self, request: Request) -> Response:
        """Return the runs one by one, newest first, as a ZIP with a CSV file; limited to the newest 100,000.

        Costs include corrections. A cost that is not known yet is an empty cell.
        """
        body = _validated(ExportBody(data=request.data))
        options, now = body.validated_data, utc_now()
        filters = ExportFilter(
            RequestedRuns.of(body).resolved(self.organization),
            group_id=options.get("group_id") or "",
            session_id=options.get("session_id") or "",
        )
        with pricing_zip(organization=self.organization, filters=filters, now=now) as export:
            answer = {
                "content": _base64(export.file),
                "file_name": export.file_name,
                "mime_type": "application/zip",
                "row_count": export.rows,
            }
        headers = {AS_OF.name: iso(now), TRUNCATED.name: str(int(not export.is_complete))}
        return Response(answer, headers=headers)


class RefreshView(_SystemView):
    """`POST /system/refresh`. Open to every role that may read: it changes no figures and its cost is bounded."""

    @extend_schema(
        operation_id="system_refresh",
        tags=["system"],
        parameters=[INVALIDATE_TAGS],
        request=RefreshBody,
        responses=RefreshAnswer,
        examples=examples.REFRESH,
    )
    def post(self, request: Request) -> Response:
        """Drop cached responses and bring the views behind them up to date. Never required, because responses are
        always current."""
        body = RefreshBody(data=request.data)
        body.is_valid(raise_exception=True)
        params = body.validated_data
        is_done = refresh(organization=self.organization, fold_now=not params["soft"], now=utc_now())
        answer = {
            "success": True,
            "refreshed_views": [rollup.name for rollup in ROLLUPS] if is_done else [],
            "invalidated_tags": list(TAGS),
            "idempotency_key": params["idempotency_key"],
        }
        return Response(answer, headers={INVALIDATE_TAGS.name: ",".join(TAGS)})


def _validated(body: T) -> T:
    body.is_valid(raise_exception=True)
    return body


def _base64(file: IO[bytes]) -> str:
    chunks = iter(lambda: file.read(_CHUNK_SIZE), b"")
    return "".join(base64.b64encode(chunk).decode() for chunk in chunks)
