"""Document 004 (AlphaNeural, LiteLLM): `GET /spend/logs`, and the paged `GET /spend/logs/v2`."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.headers import AS_OF
from billing.api.spend.params import (
    API_KEY,
    UNPRICED,
    BadParameterError,
    RequiredWindowQuery,
    SpendView,
    WindowQuery,
    credentials_from,
    response_headers,
    text_field,
    validated_params,
    window_from,
)
from billing.api.spend.rows import SpendLogSerializer, log_objects
from billing.reports.event_query import Sort
from billing.reports.spend.keys import credentials_by_id, key_hash, list_credentials_named
from billing.reports.spend.logs import MAX_ROWS, Exactness, LogFilter, newest_rows, page_of_rows
from billing.reports.spend.totals import DaySpend, spend_by_day, spend_of_rows_by_day
from billing.types import Status
from costtrack.clock import utc_now
from costtrack.money import number
from organizations.models import Organization

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

_LOG_EXAMPLE = {
    "request_id": "chatcmpl-1",
    "call_type": "acompletion",
    "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
    "spend": 0.000123,
    "total_tokens": 30,
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "startTime": "2026-11-02T09:00:00Z",
    "endTime": "2026-11-02T09:00:01.500000Z",
    "request_duration_ms": 1500,
    "completionStartTime": None,
    "model": "gpt-4o-mini",
    "model_id": "",
    "model_group": "gpt-4o-mini",
    "custom_llm_provider": "openai",
    "api_base": "",
    "user": "ada",
    "metadata": {"user_api_key_alias": "gateway", "status": "success"},
    "cache_hit": "False",
    "cache_key": "",
    "request_tags": ["project:search", "env:staging"],
    "team_id": None,
    "organization_id": "acme",
    "end_user": None,
    "requester_ip_address": None,
    "messages": {},
    "response": {},
    "session_id": None,
    "status": "success",
    "mcp_namespaced_tool_name": None,
    "agent_id": None,
    "created_at": "2026-11-02T09:00:02Z",
    "updated_at": "2026-11-02T09:00:02Z",
}
_DAY_EXAMPLE = {
    "startTime": "2026-11-02",
    "spend": 0.0123,
    "users": {"ada": 0.01, "grace": 0.0023},
    "models": {"gpt-4o": 0.01, "gpt-4o-mini": 0.0023},
    "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b": 0.0123,
}


class SpendDaySerializer(serializers.Serializer[Any]):
    """Spend of a UTC day. In addition to these keys, the hash of each API key is a key with its spend."""

    startTime = serializers.DateField()  # noqa: N815 - LiteLLM's spelling
    spend = serializers.FloatField()
    users = serializers.DictField(child=serializers.FloatField())
    models = serializers.DictField(child=serializers.FloatField())


class SpendLogsQuery(WindowQuery):
    request_id = text_field("Only this request, by its own id or the ledger id of its event.")
    api_key = text_field(API_KEY)
    user_id = text_field("Only this user.")
    summarize = serializers.BooleanField(
        default=True, help_text="With both dates: true returns spend by day, false single calls."
    )


class SpendLogsView(SpendView):
    """`GET /spend/logs`"""

    @extend_schema(
        operation_id="spend_logs",
        tags=["spend"],
        parameters=[SpendLogsQuery, AS_OF, UNPRICED, TRUNCATED],
        responses=PolymorphicProxySerializer(
            component_name="SpendLogOrDay",
            serializers=[SpendLogSerializer, SpendDaySerializer],
            resource_type_field_name=None,
            many=True,
        ),
        examples=[
            OpenApiExample("Calls", _LOG_EXAMPLE, response_only=True),
            OpenApiExample("Days", _DAY_EXAMPLE, response_only=True),
        ],
    )
    def get(self, request: Request) -> Response:
        """Get spend by day if both dates are given, else single calls, newest first. All given filters apply. Up to
        10,000 calls are returned; a header says if there are more."""
        now, query = utc_now(), validated_params(request, SpendLogsQuery)
        filters = LogFilter(
            window=window_from(query),
            credentials=credentials_from(self.organization, query),
            user=query.get("user_id"),
            request_id=query.get("request_id"),
        )
        if query["summarize"] and filters.window.start is not None and filters.window.end is not None:
            days = _days(self.organization, filters)
            body = _day_objects(self.organization, days)
            return Response(body, headers=response_headers(now, sum(day.unpriced for day in days)))
        rows = newest_rows(organization=self.organization, filters=filters)
        row_headers = response_headers(now, sum(not row.is_priced for row in rows.rows))
        if rows.is_cut:
            row_headers |= {TRUNCATED.name: "true", "Link": f'<{PAGED_PATH}>; rel="alternate"'}
        return Response(log_objects(self.organization, rows.rows), headers=row_headers)


def _days(organization: Organization, filters: LogFilter) -> list[DaySpend]:
    """Return the days of a bounded window."""
    if filters.request_id is not None:
        return spend_of_rows_by_day(newest_rows(organization=organization, filters=filters).rows, window=filters.window)
    return spend_by_day(
        organization=organization, window=filters.window, credentials=filters.credentials, user=filters.user
    )


def _day_objects(organization: Organization, days: list[DaySpend]) -> list[dict[str, Any]]:
    ids = {credential for day in days for credential in day.credentials}
    credentials = credentials_by_id(organization=organization, ids=ids)
    hashes = {pk: key_hash(credential.client_id) for pk, credential in credentials.items()}
    return [
        {
            "startTime": day.day.isoformat(),
            "spend": number(day.spend),
            "users": {user: number(amount) for user, amount in day.users.items()},
            "models": {model: number(amount) for model, amount in day.models.items()},
            **{hashes[pk]: number(amount) for pk, amount in day.credentials.items() if pk in hashes},
        }
        for day in days
    ]


_SORTS = {"startTime": None, "endTime": Sort.ENDED, "spend": Sort.COST, "total_tokens": Sort.TOKENS}
_MAX_PAGE = 1_000_000_000


class SpendLogsPageQuery(RequiredWindowQuery):
    request_id = text_field("Only this request, by its own id or the ledger id of its event.")
    api_key = text_field(API_KEY)
    key_alias = text_field("Only keys with this name.")
    user_id = text_field("Only this user.")
    end_user = text_field("Only this customer.")
    team_id = text_field("Only this team: a LiteLLM team or a tag `team:...`.")
    model = text_field("Only this model.")
    model_id = text_field("Only this LiteLLM deployment.")
    status_filter = serializers.ChoiceField(required=False, choices=Status.choices)
    error_code = serializers.IntegerField(
        required=False, min_value=0, max_value=999, help_text="Only calls with this HTTP status."
    )
    min_spend = serializers.DecimalField(required=False, max_digits=36, decimal_places=24)
    max_spend = serializers.DecimalField(required=False, max_digits=36, decimal_places=24)
    page = serializers.IntegerField(default=1, min_value=1, max_value=_MAX_PAGE)
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=100)
    sort_by = serializers.ChoiceField(default="startTime", choices=list(_SORTS))
    sort_order = serializers.ChoiceField(default="desc", choices=["asc", "desc"])


class SpendLogsPageSerializer(serializers.Serializer[Any]):
    data = SpendLogSerializer(many=True)  # type: ignore[assignment]  # LiteLLM's name for it
    total = serializers.IntegerField(help_text="Of all pages.")
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    total_pages = serializers.IntegerField()


class SpendLogsPageView(SpendView):
    """`GET /spend/logs/v2`"""

    @extend_schema(
        operation_id="spend_logs_v2",
        tags=["spend"],
        parameters=[SpendLogsPageQuery, AS_OF, UNPRICED, TOTAL],
        responses=SpendLogsPageSerializer,
        examples=[
            OpenApiExample(
                "A page",
                {"data": [_LOG_EXAMPLE], "total": 1, "page": 1, "page_size": 50, "total_pages": 1},
                response_only=True,
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """List single calls of a window, page by page. The first 10,000 rows are available. Sorting by anything but
        startTime, and filters by team, deployment, error code and spend, need a window of up to 200,000 calls."""
        now, query = utc_now(), validated_params(request, SpendLogsPageQuery)
        page, size = query["page"], query["page_size"]
        log_page = page_of_rows(
            organization=self.organization,
            filters=_filter(self.organization, query),
            sort=_SORTS[query["sort_by"]],
            descending=query["sort_order"] == "desc",
            offset=(page - 1) * size,
            limit=size,
        )
        body = {
            "data": log_objects(self.organization, log_page.rows),
            "total": log_page.total,
            "page": page,
            "page_size": size,
            "total_pages": -(-log_page.total // size),
        }
        row_headers = response_headers(now, sum(not row.is_priced for row in log_page.rows))
        return Response(body, headers={**row_headers, TOTAL.name: str(log_page.exactness)})


@extend_schema_view(get=extend_schema(operation_id="spend_logs_ui"))
class SpendLogsUiView(SpendLogsPageView):
    """`GET /spend/logs/ui`: the same, under the path that the LiteLLM dashboard uses."""


def _filter(organization: Organization, query: Mapping[str, Any]) -> LogFilter:
    min_cost, max_cost = query.get("min_spend"), query.get("max_spend")
    if min_cost is not None and max_cost is not None and min_cost > max_cost:
        raise BadParameterError("max_spend: must not be less than min_spend.", param="max_spend")
    credentials = credentials_from(organization, query)
    if "key_alias" in query:
        named = list_credentials_named(organization=organization, name=query["key_alias"])
        credentials = named if credentials is None else tuple(pk for pk in credentials if pk in named)
    return LogFilter(
        window=window_from(query),
        credentials=credentials,
        user=query.get("user_id"),
        end_user=query.get("end_user"),
        model=query.get("model"),
        status=query.get("status_filter"),
        status_code=query.get("error_code"),
        team=query.get("team_id"),
        deployment=query.get("model_id"),
        min_cost=min_cost,
        max_cost=max_cost,
        request_id=query.get("request_id"),
    )
