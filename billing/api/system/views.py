"""Document 000 (Glow): costs by day and model, generation groups, an export, and refreshing what is cached.

Glow's run is one model call; what answers say of people, agents and models they say by UUIDs
(`billing.api.system.ids`).
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
from billing.api.response_cache import answers as answers_here
from billing.api.response_cache import bypasses_cache
from billing.api.system import answers, examples
from billing.api.system.headers import CACHE_TAGS, INVALIDATE_TAGS, TAGS, TRUNCATED
from billing.api.system.ids import agent_uuid, model_uuid, user_uuid, with_uuids
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
from billing.reports.pricing.groups import GroupQuestion, groups
from billing.reports.pricing.run_filter import RunFilter, known_agents, known_models, known_users
from billing.reports.response_cache_redis import Answer, cache_response, cached_response, ledger_state
from billing.reports.types import Window
from billing.rollups.definitions import ROLLUPS
from billing.rollups.refresh import refresh
from costtrack.clock import iso, utc_now
from costtrack.error_formats import DETAIL, Dialect
from organizations.api.base import OrganizationScopedAPIView
from organizations.models import Organization
from organizations.types import Scope

T = TypeVar("T", bound=RunsBody)

_WHOLE_GROUPS_OF_THREE = 3 * 1024 * 64  # base64 of each part is a part of the base64 of all


@dataclass(frozen=True, slots=True)
class AskedRuns:
    """Which runs a body asks for. Empty: all."""

    window: Window
    models: tuple[UUID, ...]
    agents: tuple[UUID, ...]
    users: tuple[UUID, ...]

    @classmethod
    def of(cls, body: RunsBody) -> "AskedRuns":
        return cls(body.window(), *(_ids(body.validated_data, kind) for kind in ("model", "agent", "profile")))

    def resolved(self, organization: Organization) -> RunFilter:
        """With the ledger's words in place of UUIDs."""
        models, agents, users = self.models, self.agents, self.users
        return RunFilter(
            window=self.window,
            models=with_uuids(known_models(organization=organization), model_uuid, models) if models else None,
            agents=with_uuids(known_agents(organization=organization), agent_uuid, agents) if agents else None,
            users=with_uuids(known_users(organization=organization), user_uuid, users) if users else None,
        )


def _ids(asked: dict[str, Any], kind: str) -> tuple[UUID, ...]:
    """`model_ids`, else `model_id`; in one order, so that the same question looks the same."""
    one = asked.get(f"{kind}_id")
    return tuple(sorted(set(asked.get(f"{kind}_ids") or ([one] if one else []))))


class _SystemView(OrganizationScopedAPIView):
    dialect: ClassVar[Dialect] = DETAIL
    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True


class _CachedView(_SystemView):
    only_reads: ClassVar[bool] = True
    tags: ClassVar[tuple[str, ...]]
    """What the answer is about, in the words of `/system/refresh`."""

    def cached(self, request: Request, query: object, make: Callable[[], tuple[Any, dict[str, str]]]) -> HttpResponse:
        """The answer that was kept, by this process or in Redis by another, or else the one that `make` makes: a body
        and its headers. The question is all that it depends on, beside the organization and its ledger."""
        now, place = utc_now(), f"{request.path} {query!r}"
        state, here = ledger_state(organization=self.organization), (self.organization.pk, place)
        answer = None
        if not bypasses_cache(request):
            answer = answers_here.get(here, state) or cached_response(
                organization=self.organization, query=place, state=state
            )
        is_hit = answer is not None
        if answer is None:
            body, headers = make()
            answer = Answer(state, msgspec.json.encode(body), headers)
            cache_response(organization=self.organization, query=place, answer=answer)
        answers_here.keep(here, answer)
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
        """Costs by day and model. The body may be left out; a day is a UTC day, and an end date is a whole day.

        Models and agents to filter by are in `model_options` and `agent_options`: those of the window, whichever were
        asked for.
        """
        asked = AskedRuns.of(_checked(PricingBody(data=request.data)))

        def make() -> tuple[Any, dict[str, str]]:
            report = pricing(organization=self.organization, filters=asked.resolved(self.organization))
            return answers.of_pricing(report), {UNPRICED.name: str(report.unpriced_events)}

        return self.cached(request, asked, make)


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
        """Generation groups and what they cost, page by page.

        With a window or a filter, a group shows what its runs in there add up to, and groups without any are left out.
        """
        body = _checked(GroupsBody(data=request.data))
        asked, options = AskedRuns.of(body), body.validated_data
        page, page_size = max(options["page"], 1), options["page_size"]
        query = GroupQuestion(
            search=(options.get("search") or "").strip(),
            order=ORDERS[options["sort_by"]],
            ascending=options["sort_order"] == "asc",
            offset=(page - 1) * page_size,
            limit=page_size,
        )

        def make() -> tuple[Any, dict[str, str]]:
            filters = replace(query, runs=asked.resolved(self.organization))
            found = groups(organization=self.organization, query=filters)
            return answers.of_groups(found, page=page, page_size=page_size), {}

        return self.cached(request, (asked, query), make)


class ExportView(_SystemView):
    """`POST /system/export`. For every role that may look (upstream-compatible), whatever the plan says of exports of
    `/usage`."""

    @extend_schema(
        operation_id="system_export",
        tags=["system"],
        parameters=[AS_OF, TRUNCATED],
        request=ExportBody,
        responses=ExportAnswer,
        examples=examples.EXPORT,
    )
    def post(self, request: Request) -> Response:
        """The runs one by one, newest first, as a ZIP with a CSV file in it; at most the newest 100,000.

        Costs are what runs cost now, with their corrections. A cost that is not known yet is an empty cell.
        """
        body = _checked(ExportBody(data=request.data))
        options, now = body.validated_data, utc_now()
        filters = ExportFilter(
            AskedRuns.of(body).resolved(self.organization),
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
    """`POST /system/refresh`. Whoever may read may refresh: it changes no figure, only how soon the next one comes,
    and what it costs is bounded."""

    @extend_schema(
        operation_id="system_refresh",
        tags=["system"],
        parameters=[INVALIDATE_TAGS],
        request=RefreshBody,
        responses=RefreshAnswer,
        examples=examples.REFRESH,
    )
    def post(self, request: Request) -> Response:
        """Drop cached answers and bring the views behind them up to date. Never needed: answers are always current."""
        body = RefreshBody(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        is_done = refresh(organization=self.organization, fold_now=not asked["soft"], now=utc_now())
        answer = {
            "success": True,
            "refreshed_views": [rollup.name for rollup in ROLLUPS] if is_done else [],
            "invalidated_tags": list(TAGS),
            "idempotency_key": asked["idempotency_key"],
        }
        return Response(answer, headers={INVALIDATE_TAGS.name: ",".join(TAGS)})


def _checked(body: T) -> T:
    body.is_valid(raise_exception=True)
    return body


def _base64(file: IO[bytes]) -> str:
    parts = iter(lambda: file.read(_WHOLE_GROUPS_OF_THREE), b"")
    return "".join(base64.b64encode(part).decode() for part in parts)
