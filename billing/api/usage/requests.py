"""`GET /usage/requests`: model calls one by one."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.usage.events import AmountField
from billing.api.usage.numbers import UsageView
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.api.usage.shapes import AnswerSerializer, Json, common_fields
from billing.reports.cursors import cursor_of, position_of
from billing.reports.usage.calls import Call, CallFilter, list_calls
from billing.types import Status
from costtrack.clock import iso
from costtrack.money import plain


class RequestsQuery(UsageQuerySerializer):
    endpoint = serializers.CharField(required=False, allow_blank=True, max_length=255)
    limit = serializers.IntegerField(default=50, min_value=1, max_value=200)
    cursor = serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text="`next_cursor` of the previous page."
    )


class RequestSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="Id of the event, see `/usage/events/{id}`.")
    event_id = serializers.CharField(help_text="The id from the sender.")
    request_id = serializers.CharField()
    time = serializers.DateTimeField(help_text="When the call was made.")
    endpoint = serializers.CharField()
    capability = serializers.CharField()
    service = serializers.CharField()
    model = serializers.CharField()
    client_id = serializers.CharField(help_text="Empty for calls without a credential.")
    status = serializers.ChoiceField(choices=Status.choices)
    status_code = serializers.IntegerField(allow_null=True)
    prompt_tokens = serializers.IntegerField(help_text="All prompt tokens, including cached ones.")
    completion_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    cost_usd = AmountField(allow_null=True, help_text="Including adjustments. Null while unknown.")
    voided = serializers.BooleanField(help_text="True if the call was voided and is excluded from the figures.")


class RequestPageSerializer(AnswerSerializer):
    results = RequestSerializer(many=True, help_text="Newest first.")
    next_cursor = serializers.CharField(allow_null=True, help_text="Cursor of the next page; null on the last page.")


class UsageRequestsView(UsageView):
    """`GET /usage/requests`"""

    @extend_schema(
        operation_id="usage_requests", tags=["usage"], parameters=[RequestsQuery], responses=RequestPageSerializer
    )
    def get(self, request: Request) -> Response:
        """List model calls, newest first, with endpoint, time, credential and response status. Costs include
        adjustments."""
        query = usage_query(request, self.access, RequestsQuery)
        page = list_calls(
            organization=self.organization,
            filters=CallFilter(query.filters, query.window, endpoint=query.extra.get("endpoint", "")),
            after=position_of(query.extra.get("cursor", "")),
            limit=query.extra["limit"],
        )
        rows = [_row(call) for call in page.rows]
        return Response({**common_fields(query), "results": rows, "next_cursor": cursor_of(page.last)})


def _row(call: Call) -> Json:
    return {
        "id": str(call.id),
        "event_id": call.event_id,
        "request_id": call.request_id,
        "time": iso(call.occurred_at),
        "endpoint": call.endpoint,
        "capability": call.capability,
        "service": call.service,
        "model": call.model,
        "client_id": call.client_id,
        "status": call.status,
        "status_code": call.status_code,
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "cached_tokens": call.cached_tokens,
        "total_tokens": call.total_tokens,
        "cost_usd": plain(call.cost_usd) if call.cost_usd is not None else None,
        "voided": call.is_voided,
    }
