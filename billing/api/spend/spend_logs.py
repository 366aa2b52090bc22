"""Document 004 (AlphaNeural, LiteLLM): `GET /spend/logs`, and the paged `GET /spend/logs/v2`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer, extend_schema_view
from msgspec import Meta
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF
from billing.api.operations import operation
from billing.api.spend.params import (
    API_KEY,
    UNPRICED,
    BadParameterError,
    RequiredWindowFilterSet,
    SpendEndpoint,
    WindowFilterSet,
    exact_text,
    key_hashes,
    response_headers,
    text,
)
from billing.pricing.price_book import identify_model
from billing.reports.event_query import Sort
from billing.reports.spend.keys import credentials_by_id, key_hash, list_credentials_named, resolve_credentials
from billing.reports.spend.spend_logs import MAX_ROWS, Exactness, LogFilter, LogRow, newest_rows, page_of_rows
from billing.reports.spend.totals import TEAM_TAG_PREFIX, DaySpend, spend_by_day, spend_of_rows_by_day
from billing.types import EventKind, Status
from costtrack.clock import utc_now
from costtrack.filters import ParameterFilter, ParameterOption
from costtrack.money import number
from costtrack.responses import OneOf, ResponseBody, about, choice
from costtrack.serializers import AmountInputField
from organizations.api.base import OrganizationScopedReportViewSet
from organizations.models import APICredential, Organization

PAGED_PATH = "/spend/logs/v2"
TRUNCATED = OpenApiParameter(
    "X-Costtrack-Truncated",
    OpenApiTypes.BOOL,
    OpenApiParameter.HEADER,
    description=f"true: there are more rows than the newest {MAX_ROWS}. `Link` has the paged endpoint.",
    response=True,
)
TOTAL = OpenApiParameter(
    "X-Costtrack-Total",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    enum=[str(exactness) for exactness in Exactness],
    description="What `total` counts. exact: rows. calls: model calls that were not voided, if there are too many. "
    f"at_least: there are more rows than {MAX_ROWS}.",
    response=True,
)

# LiteLLM call types by capability, if the event has no call type.
_CALL_TYPES = {
    "chat": "completion",
    "completions": "text_completion",
    "responses": "responses",
    "embeddings": "embedding",
    "images": "image_generation",
    "video": "video_generation",
    "audio": "transcription",
    "rerank": "rerank",
    "moderation": "moderation",
    "search": "search",
    "ocr": "ocr",
}
_TOOL_CALL = "call_mcp_tool"


class SpendLog(ResponseBody, kw_only=True):
    """One call. Its spend is the net cost, including corrections."""

    request_id: Annotated[
        str,
        about("Id of the request, or of the event if that is more specific or there is no request id.", "chatcmpl-1"),
    ]
    call_type: Annotated[str, about("For example acompletion, or session_summary or compute.", "acompletion")]
    api_key: Annotated[str, about("SHA-256 of the Client ID, never the key itself. Empty without a credential.")]
    spend: Annotated[float, about("In USD. 0 while the cost is unknown; metadata has the reason.", 0.000123)]
    total_tokens: Annotated[int, Meta(examples=[30])]
    prompt_tokens: Annotated[int, about("Including cached tokens.", 10)]
    completion_tokens: Annotated[int, Meta(examples=[20])]
    startTime: datetime  # noqa: N815 - LiteLLM's spelling
    endTime: datetime  # noqa: N815
    request_duration_ms: Annotated[int | None, Meta(examples=[1500])]
    completionStartTime: Annotated[datetime | None, about("Not stored, always null.")] = None  # noqa: N815
    model: Annotated[str, Meta(examples=["gpt-4o-mini"])]
    model_id: Annotated[str, about("LiteLLM deployment.")]
    model_group: Annotated[str, about("The requested model name.", "gpt-4o-mini")]
    custom_llm_provider: Annotated[str, Meta(examples=["openai"])]
    api_base: Annotated[str, about("Not stored, always empty.")] = ""
    user: Annotated[str, Meta(examples=["ada"])]
    metadata: Annotated[dict[str, Any], about("LiteLLM keys, plus the event id in `costtrack`.")]
    cache_hit: Annotated[str, choice(["True", "False"])]
    cache_key: Annotated[str, about("Not stored, always empty.")] = ""
    request_tags: Annotated[list[str], Meta(examples=[["project:search", "env:staging"]])]
    team_id: Annotated[str | None, about("LiteLLM team, else the first tag that begins with team:.")]
    organization_id: Annotated[str, about("LiteLLM organization, else the slug of the organization.", "acme")]
    end_user: str | None
    requester_ip_address: Annotated[str | None, about("Not stored, always null.")] = None
    messages: Annotated[dict[str, Any], about("Not stored, always empty.")] = {}
    response: Annotated[dict[str, Any], about("Not stored, always empty.")] = {}
    session_id: str | None
    status: Annotated[str, choice(Status.choices)]
    mcp_namespaced_tool_name: str | None
    agent_id: str | None
    created_at: Annotated[datetime, about("When it was received.")]
    updated_at: datetime


class SpendDay(ResponseBody):
    """Spend of a UTC day. In addition to these keys, the hash of each API key is a key with its spend."""

    startTime: date  # noqa: N815 - LiteLLM's spelling
    spend: Annotated[float, Meta(examples=[0.0123])]
    users: Annotated[dict[str, float], Meta(examples=[{"ada": 0.01, "grace": 0.0023}])]
    models: Annotated[dict[str, float], Meta(examples=[{"gpt-4o": 0.01, "gpt-4o-mini": 0.0023}])]


@extend_schema_serializer(many=False)
class SpendLogsPage(ResponseBody):
    data: list[SpendLog]
    total: Annotated[int, about("Of all pages.")]
    page: int
    page_size: int
    total_pages: int


class SpendLogFilterSet(WindowFilterSet):
    request_id = ParameterFilter(exact_text("Only this request, by its own id or the ledger id of its event."))
    api_key = ParameterFilter(text(API_KEY), method="filter_api_key")
    user_id = ParameterFilter(text("Only this user."), method="filter_user")

    def narrow(self, query: LogFilter) -> LogFilter:
        narrowed: LogFilter = super().narrow(query)
        return replace(narrowed, window=self.window)

    def filter_user(self, query: LogFilter, name: str, value: str) -> LogFilter:
        return replace(query, user=self.organization.user_name(value))

    def filter_api_key(self, query: LogFilter, name: str, value: str) -> LogFilter:
        return replace(query, credentials=resolve_credentials(organization=self.organization, text=value))


class SpendLogListFilterSet(SpendLogFilterSet):
    summarize = ParameterOption(
        serializers.BooleanField(
            default=True, help_text="With both dates: true returns spend by day, false single calls."
        )
    )


_SORTS = {"startTime": None, "endTime": Sort.ENDED, "spend": Sort.COST, "total_tokens": Sort.TOKENS}
_MAX_PAGE = 1_000_000_000


def _cost() -> AmountInputField:
    return AmountInputField(required=False, max_digits=36, decimal_places=24)


class SpendLogPageFilterSet(SpendLogFilterSet, RequiredWindowFilterSet):
    key_alias = ParameterFilter(text("Only keys with this name."), method="filter_key_alias")
    end_user = ParameterFilter(text("Only this customer."))
    team_id = ParameterFilter(text("Only this team: a LiteLLM team or a tag `team:...`."), "team")
    model = ParameterFilter(text("Only this model, in any spelling."), method="filter_model")
    model_id = ParameterFilter(text("Only this LiteLLM deployment."), "deployment")
    status_filter = ParameterFilter(serializers.ChoiceField(required=False, choices=Status.choices), "status")
    error_code = ParameterFilter(
        serializers.IntegerField(
            required=False, min_value=0, max_value=999, help_text="Only calls with this HTTP status."
        ),
        "status_code",
    )
    min_spend = ParameterFilter(_cost(), "min_cost")
    max_spend = ParameterFilter(_cost(), "max_cost")
    page = ParameterOption(serializers.IntegerField(default=1, min_value=1, max_value=_MAX_PAGE))
    page_size = ParameterOption(serializers.IntegerField(default=50, min_value=1, max_value=100))
    sort_by = ParameterOption(serializers.ChoiceField(default="startTime", choices=list(_SORTS)))
    sort_order = ParameterOption(serializers.ChoiceField(default="desc", choices=["asc", "desc"]))

    def __init__(self, view: OrganizationScopedReportViewSet, query: LogFilter) -> None:
        if view.request.query_params.get("error_message"):  # ignored, it would return rows that do not match
            raise BadParameterError("error_message: error messages are not stored.", param="error_message")
        super().__init__(view, query)

    def narrow(self, query: LogFilter) -> LogFilter:
        query = super().narrow(query)
        if query.min_cost is not None and query.max_cost is not None and query.min_cost > query.max_cost:
            raise BadParameterError("max_spend: must not be less than min_spend.", param="max_spend")
        return query

    def filter_model(self, query: LogFilter, name: str, value: str) -> LogFilter:
        return replace(query, model=identify_model(self.organization.pk, value, now=utc_now()))

    def filter_key_alias(self, query: LogFilter, name: str, value: str) -> LogFilter:
        named = list_credentials_named(organization=self.organization, name=value)
        chosen = query.credentials
        return replace(query, credentials=named if chosen is None else tuple(pk for pk in chosen if pk in named))


class SpendLogViewSet(SpendEndpoint, OrganizationScopedReportViewSet):
    """`GET /spend/logs`"""

    @operation(
        "spend_logs", SpendLogListFilterSet, OneOf("SpendLogOrDay", (SpendLog, SpendDay)), AS_OF, UNPRICED, TRUNCATED
    )
    def list(self, request: Request) -> Response:
        """Get spend by day if both dates are given, else single calls, newest first. All given filters apply. Up to
        10,000 calls are returned; a header says if there are more."""
        now, filterset = utc_now(), SpendLogListFilterSet(self, LogFilter())
        filters: LogFilter = filterset.qs
        if filterset.options["summarize"] and filters.window.start is not None and filters.window.end is not None:
            days = _days(self.organization, filters)
            body = _day_objects(self.organization, days)
            return Response(body, headers=response_headers(now, sum(day.unpriced for day in days)))
        rows = newest_rows(organization=self.organization, filters=filters)
        row_headers = response_headers(now, sum(not row.is_priced for row in rows.rows))
        if rows.is_truncated:
            row_headers |= {TRUNCATED.name: "true", "Link": f'<{PAGED_PATH}>; rel="alternate"'}
        return Response(_logs(self.organization, rows.rows), headers=row_headers)


class SpendLogPageViewSet(SpendEndpoint, OrganizationScopedReportViewSet):
    """`GET /spend/logs/v2`"""

    @operation("spend_logs_v2", SpendLogPageFilterSet, SpendLogsPage, AS_OF, UNPRICED, TOTAL)
    def list(self, request: Request) -> Response:
        """List single calls of a window, page by page. The first 10,000 rows are available. Sorting by anything but
        startTime, and filters by team, deployment, error code and spend, need a window of up to 200,000 calls."""
        now, filterset = utc_now(), SpendLogPageFilterSet(self, LogFilter())
        options = filterset.options
        page, size = options["page"], options["page_size"]
        log_page = page_of_rows(
            organization=self.organization,
            filters=filterset.qs,
            sort=_SORTS[options["sort_by"]],
            descending=options["sort_order"] == "desc",
            offset=(page - 1) * size,
            limit=size,
        )
        body = SpendLogsPage(
            data=_logs(self.organization, log_page.rows),
            total=log_page.total,
            page=page,
            page_size=size,
            total_pages=-(-log_page.total // size),
        )
        row_headers = response_headers(now, sum(not row.is_priced for row in log_page.rows))
        return Response(body, headers={**row_headers, TOTAL.name: str(log_page.exactness)})


@extend_schema_view(list=extend_schema(operation_id="spend_logs_ui"))
class SpendLogUiViewSet(SpendLogPageViewSet):
    """`GET /spend/logs/ui`: the same, under the path that the LiteLLM dashboard uses."""


def _days(organization: Organization, filters: LogFilter) -> list[DaySpend]:
    """Return the days of a bounded window."""
    if filters.request_id is not None:
        return spend_of_rows_by_day(newest_rows(organization=organization, filters=filters).rows, window=filters.window)
    return spend_by_day(
        organization=organization, window=filters.window, credentials=filters.credentials, user=filters.user
    )


def _day_objects(organization: Organization, days: list[DaySpend]) -> list[dict[str, Any]]:
    hashes = key_hashes(organization, {credential for day in days for credential in day.credentials})
    return [
        {
            **msgspec.structs.asdict(_day(day)),
            **{hashes[pk]: number(amount) for pk, amount in day.credentials.items() if pk in hashes},
        }
        for day in days
    ]


def _day(day: DaySpend) -> SpendDay:
    return SpendDay(startTime=day.day, spend=number(day.spend), users=_numbers(day.users), models=_numbers(day.models))


def _numbers(amounts: Mapping[str, Decimal]) -> dict[str, float]:
    return {name: number(amount) for name, amount in amounts.items()}


def _logs(organization: Organization, rows: Sequence[LogRow]) -> list[SpendLog]:
    credentials = credentials_by_id(organization=organization, ids=(row.credential_id for row in rows))
    hashes = {pk: key_hash(credential.client_id) for pk, credential in credentials.items()}
    return [
        _log(row, organization, hashes.get(row.credential_id or 0, ""), credentials.get(row.credential_id or 0))
        for row in rows
    ]


def _log(row: LogRow, organization: Organization, api_key: str, credential: APICredential | None) -> SpendLog:
    gateway = row.gateway
    duration = row.duration_ms if row.duration_ms is not None and row.kind != EventKind.SESSION_SUMMARY.value else None
    team = gateway.get("team_id") or _team(row.tags)
    return SpendLog(
        request_id=_request_id(row),
        call_type=gateway.get("call_type") or _call_type(row),
        api_key=api_key,
        spend=number(row.cost_usd),
        total_tokens=row.total_tokens,
        prompt_tokens=row.net_prompt_tokens,
        completion_tokens=row.net_output_tokens,
        startTime=row.occurred_at,
        endTime=row.occurred_at + timedelta(milliseconds=float(duration or 0)),
        request_duration_ms=round(duration) if duration is not None else None,
        model=row.model,
        model_id=gateway.get("model_id") or "",
        model_group=gateway.get("model_group") or row.model_as_sent,
        custom_llm_provider=row.service,
        user=row.user_ref,
        metadata=_metadata(row, gateway, api_key, credential, team),
        cache_hit="True" if row.was_cached else "False",
        request_tags=row.tags,
        team_id=team,
        organization_id=gateway.get("organization_id") or organization.slug,
        end_user=row.end_user or None,
        session_id=row.session_id or gateway.get("trace_id"),
        status=row.status,
        mcp_namespaced_tool_name=row.tool or None,
        agent_id=row.agent_id or None,
        created_at=row.received_at,
        updated_at=row.received_at,
    )


def _metadata(
    row: LogRow, gateway: Mapping[str, str], api_key: str, credential: APICredential | None, team: str | None
) -> dict[str, Any]:
    """Build the metadata with the keys of LiteLLM: what its proxy reported about the key of the caller, else what is
    known about the credential."""
    caller_metadata = {name: value for name, value in row.metadata.items() if name != "litellm"}
    own_metadata: dict[str, Any] = {"id": str(row.id), "kind": row.kind}
    if not row.is_priced:
        own_metadata["unpriced_reason"] = row.unpriced_reason
    error = {"error_code": str(row.status_code or ""), "error_class": gateway.get("error_class") or ""}
    return {
        "user_api_key": gateway.get("api_key_hash") or api_key or None,
        "user_api_key_alias": gateway.get("api_key_alias") or (credential.name if credential is not None else None),
        "user_api_key_team_id": team,
        "user_api_key_team_alias": gateway.get("team_alias"),
        "user_api_key_org_id": gateway.get("organization_id"),
        "user_api_key_user_id": row.user_ref or None,
        "spend_logs_metadata": caller_metadata or None,
        "additional_usage_values": {
            "cache_read_input_tokens": row.net_cache_read_tokens,
            "cache_creation_input_tokens": row.net_cache_creation_tokens,
        },
        "error_information": error if row.status == Status.FAILURE.value else None,
        "status": row.status,
        "costtrack": own_metadata,
    }


def _request_id(row: LogRow) -> str:
    """Return a unique id, as in LiteLLM: several attempts at one request share its id, and the ids of their events
    begin with it."""
    if row.request_id and not row.event_id.startswith(row.request_id):
        return row.request_id
    return row.event_id or str(row.id)


def _call_type(row: LogRow) -> str:
    if row.kind == EventKind.TOOL_CALL.value:
        return _TOOL_CALL
    if row.kind != EventKind.MODEL_CALL.value:
        return row.kind
    return _CALL_TYPES.get(row.capability, row.capability or "completion")


def _team(tags: Sequence[str]) -> str | None:
    return next((tag.removeprefix(TEAM_TAG_PREFIX) for tag in tags if tag.startswith(TEAM_TAG_PREFIX)), None)
