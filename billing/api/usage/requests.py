"""`GET /usage/requests`: model calls one by one."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import operation
from billing.api.usage.figures import UsageBody, UsageView, common_fields
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.reports.cursors import cursor_of, position_of
from billing.reports.usage.request_log import CallFilter, list_calls
from billing.types import Status
from costtrack.responses import Amount, NextCursor, ResponseBody, about
from costtrack.serializers import optional_text, page_cursor, page_size


class RequestsQuery(UsageQuerySerializer):
    endpoint = optional_text()
    limit = page_size()
    cursor = page_cursor()


class RequestBody(ResponseBody):
    id: Annotated[UUID, about("Id of the event, see `/usage/events/{id}`.")]
    event_id: Annotated[str, about("The id from the sender.")]
    request_id: str
    time: Annotated[datetime, about("When the call was made.")]
    endpoint: str
    capability: str
    service: str
    model: str
    client_id: Annotated[str, about("Empty for calls without a credential.")]
    status: Status
    status_code: int | None
    prompt_tokens: Annotated[int, about("All prompt tokens, including cached ones.")]
    completion_tokens: int
    cached_tokens: int
    total_tokens: int
    cost_usd: Annotated[Amount | None, about("Including adjustments. Null while unknown.")]
    voided: Annotated[bool, about("True if the call was voided and is excluded from the figures.")]


class RequestPage(UsageBody):
    results: Annotated[list[RequestBody], about("Newest first.")]
    next_cursor: NextCursor


class UsageRequestsView(UsageView):
    """`GET /usage/requests`"""

    @operation("usage_requests", RequestsQuery, RequestPage)
    def get(self, request: Request) -> Response:
        """List model calls, newest first, with endpoint, time, credential and response status. Costs include
        adjustments."""
        query = usage_query(self, RequestsQuery)
        page = list_calls(
            organization=self.organization,
            filters=CallFilter(query.filters, query.window, endpoint=query.extra.get("endpoint", "")),
            after=position_of(query.extra.get("cursor", "")),
            limit=query.extra["limit"],
        )
        rows = [RequestBody.of(call, time=call.occurred_at, voided=call.is_voided) for call in page.rows]
        return Response(RequestPage(**common_fields(query), results=rows, next_cursor=cursor_of(page.last)))
