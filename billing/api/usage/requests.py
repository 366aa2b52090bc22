"""`GET /usage/requests`: the calls behind the numbers, one by one."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.pagination import cursor_of, position_of
from billing.api.usage.events import AmountField
from billing.api.usage.numbers import UsageView
from billing.api.usage.query import UsageQuerySerializer, usage_query
from billing.api.usage.shapes import AnswerSerializer, Json, head
from billing.reports.usage.calls import Call, CallFilter, list_calls
from billing.types import Status
from costtrack.clock import iso
from costtrack.money import plain


class RequestsQuery(UsageQuerySerializer):
    endpoint = serializers.CharField(required=False, allow_blank=True, max_length=255)
    limit = serializers.IntegerField(default=50, min_value=1, max_value=200)
    cursor = serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text="`next_cursor` of the page before."
    )


class RequestSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="Of the event: see `/usage/events/{id}`.")
    event_id = serializers.CharField(help_text="The id that the sender gave.")
    request_id = serializers.CharField()
    time = serializers.DateTimeField(help_text="When it was made.")
    endpoint = serializers.CharField()
    capability = serializers.CharField()
    service = serializers.CharField()
    model = serializers.CharField()
    client_id = serializers.CharField(help_text="Empty: recorded without a credential.")
    status = serializers.ChoiceField(choices=Status.choices)
    status_code = serializers.IntegerField(allow_null=True)
    prompt_tokens = serializers.IntegerField(help_text="All that was sent, cached tokens included.")
    completion_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    cost_usd = AmountField(allow_null=True, help_text="With its adjustments. Null while it is not known.")
    voided = serializers.BooleanField(help_text="It was taken back and is not in the figures.")


class RequestPageSerializer(AnswerSerializer):
    results = RequestSerializer(many=True, help_text="The newest first.")
    next_cursor = serializers.CharField(allow_null=True, help_text="For the next page; null on the last one.")


class UsageRequestsView(UsageView):
    """`GET /usage/requests`"""

    @extend_schema(
        operation_id="usage_requests", tags=["usage"], parameters=[RequestsQuery], responses=RequestPageSerializer
    )
    def get(self, request: Request) -> Response:
        """Model calls, newest first: endpoint, time, credential and response status. Adjustments are in the costs."""
        query = usage_query(request, self.access, RequestsQuery)
        page = list_calls(
            organization=self.organization,
            filters=CallFilter(query.filters, query.window, endpoint=query.others.get("endpoint", "")),
            after=position_of(query.others.get("cursor", "")),
            limit=query.others["limit"],
        )
        rows = [_row(call) for call in page.calls]
        return Response({**head(query), "results": rows, "next_cursor": cursor_of(page.last)})


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
