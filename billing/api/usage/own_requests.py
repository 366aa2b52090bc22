"""`GET /usage/own/requests`: the member's own model calls one by one."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import LimitEndpoint, operation
from billing.api.usage.figures import common_fields
from billing.api.usage.query import RangeQuerySerializer, usage_query
from billing.api.usage.requests import RequestBody, RequestPage
from billing.reports.cursors import cursor_of, position_of
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.request_log import CallFilter, list_calls
from costtrack.serializers import page_cursor, page_size
from organizations.api.base import OrganizationScopedAPIView
from organizations.selectors import own_membership, own_user_ids


class OwnRequestsQuery(RangeQuerySerializer):
    limit = page_size()
    cursor = page_cursor()


class UsageOwnRequestsView(LimitEndpoint, OrganizationScopedAPIView):
    """`GET /usage/own/requests`"""

    is_own: ClassVar[bool] = True
    openapi_tag: ClassVar[str] = "usage"

    @operation("usage_own_requests", OwnRequestsQuery, RequestPage)
    def get(self, request: Request) -> Response:
        """List the model calls with one of the member's `user_id`s, newest first. For users in the browser."""
        user_ids = own_user_ids(self.organization, own_membership(self.access))
        query = usage_query(self, OwnRequestsQuery)
        filters = CallFilter(UsageFilter(), query.window, users=tuple(user_ids))
        page = list_calls(
            organization=self.organization,
            filters=filters,
            after=position_of(query.extra.get("cursor", "")),
            limit=query.extra["limit"],
        )
        rows = [RequestBody.of(call, time=call.occurred_at, voided=call.is_voided) for call in page.rows]
        return Response(RequestPage(**common_fields(query), results=rows, next_cursor=cursor_of(page.last)))
