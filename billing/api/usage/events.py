"""`GET /usage/events`: list ledger rows. (`POST` to the same path is in `billing.api.intake`.)"""

from dataclasses import asdict
from decimal import Decimal
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api import intake
from billing.api.headers import CACHE_HEADERS
from billing.api.response_cache import cache_until_ledger_changes
from billing.api.windows import DateOrDateTimeField, window_of
from billing.ledger.adjustments import Correction
from billing.models import UsageEvent
from billing.pricing.types import PriceKind
from billing.reports.cursors import cursor_of, position_of
from billing.reports.events import EventFilter, explain, get_event, list_events
from billing.types import CorrectionKind, Status
from costtrack.money import plain
from costtrack.openapi import DECIMAL_OUT
from costtrack.serializers import StrictSerializer
from costtrack.tenancy import tenant_reads
from organizations.api.base import OrganizationScopedAPIView
from organizations.types import Scope

PRICE_KINDS = [kind.value for kind in PriceKind]


class EventsQuery(StrictSerializer):
    """Filters; an empty value is ignored."""

    run_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    session_id = serializers.CharField(required=False, allow_blank=True, max_length=255)
    model = serializers.CharField(required=False, allow_blank=True, max_length=255)
    service = serializers.CharField(required=False, allow_blank=True, max_length=255)
    status = serializers.ChoiceField(required=False, allow_blank=True, choices=Status.choices)
    source = serializers.CharField(required=False, allow_blank=True, max_length=64)  # type: ignore[assignment] # DRF's
    event_id = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="The id from the sender. Without `source`, the sources api and litellm are searched.",
    )
    start_date = DateOrDateTimeField(required=False, help_text="Events that occurred from this date or time on.")
    end_date = DateOrDateTimeField(
        required=False, help_text="Events that occurred until this date (inclusive) or time."
    )
    limit = serializers.IntegerField(default=50, min_value=1, max_value=200)
    cursor = serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text="`next_cursor` of the previous page."
    )


@extend_schema_field({"type": "string", **DECIMAL_OUT})
class AmountField(serializers.Field[Decimal, Any, str, Any]):
    """US dollars as a plain decimal string."""

    def to_representation(self, value: Decimal) -> str:
        return plain(value)


class UsageEventSerializer(serializers.ModelSerializer[UsageEvent]):
    """A ledger row. Fields that were not sent are empty."""

    duration_ms = serializers.FloatField(allow_null=True)
    user_id = serializers.CharField(source="user_ref")
    metadata = serializers.DictField(allow_null=True)
    cost_usd = AmountField(allow_null=True, help_text="Tokens and compute. Null while unknown, see `unpriced_reason`.")
    token_cost_usd = AmountField(allow_null=True)
    compute_cost_usd = AmountField()
    computed_cost_usd = AmountField(
        allow_null=True, help_text="For a reported token cost: the cost by configured prices."
    )
    price_version_id = serializers.IntegerField(allow_null=True, help_text="The price version used.")
    adjusts = serializers.UUIDField(allow_null=True, help_text="The event that this adjustment corrects.")

    class Meta:
        model = UsageEvent
        fields = (
            "id",
            "event_id",
            "source",
            "request_id",
            "kind",
            "occurred_at",
            "received_at",
            "duration_ms",
            "status",
            "status_code",
            "endpoint",
            "capability",
            "service",
            "model",
            "cost_group",
            "tool",
            "run_id",
            "workflow_id",
            "execution_id",
            "phase_id",
            "workspace_id",
            "session_id",
            "group_id",
            "group_name",
            "agent_id",
            "agent_name",
            "user_id",
            "end_user",
            "tags",
            "metadata",
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_creation_tokens",
            "cache_creation_1h_tokens",
            "reasoning_tokens",
            "audio_input_tokens",
            "audio_output_tokens",
            "tool_use_tokens",
            "tool_result_tokens",
            "cost_usd",
            "token_cost_usd",
            "compute_cost_usd",
            "computed_cost_usd",
            "cost_source",
            "unpriced_reason",
            "price_version_id",
            "adjusts",
            "adjustment_reason",
        )

    def to_representation(self, instance: UsageEvent) -> dict[str, Any]:
        """Build the row from attributes directly, which is ten times faster than the fields: a page has thousands of
        values."""
        row = dict(zip(UsageEventSerializer.Meta.fields, _values_of(instance), strict=True))
        for name in _AMOUNTS:
            if row[name] is not None:
                row[name] = plain(row[name])
        if row["duration_ms"] is not None:
            row["duration_ms"] = float(row["duration_ms"])
        return row


_AMOUNTS = ("cost_usd", "token_cost_usd", "compute_cost_usd", "computed_cost_usd")
_values_of = attrgetter(*("user_ref" if name == "user_id" else name for name in UsageEventSerializer.Meta.fields))


class EventPageSerializer(serializers.Serializer[Any]):
    results = UsageEventSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="Cursor of the next page; null on the last page.")


class PriceLineSerializer(serializers.Serializer[Any]):
    """quantity x unit price = amount. The unit price is per million tokens or per request."""

    kind = serializers.ChoiceField(choices=PRICE_KINDS)
    quantity = serializers.IntegerField()
    unit_price_usd = AmountField()
    amount_usd = AmountField()


class CorrectionSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=CorrectionKind.choices)
    actor = serializers.CharField(help_text="E-mail address or Client ID; empty for costtrack itself.")
    reason = serializers.CharField()
    at = serializers.DateTimeField()


class AdjustmentSerializer(UsageEventSerializer):
    """An adjustment of an event. Its amounts and counts are differences."""

    correction = serializers.SerializerMethodField(help_text="Kind, actor, reason and time of the correction.")

    class Meta(UsageEventSerializer.Meta):
        fields = (*UsageEventSerializer.Meta.fields, "correction")  # type: ignore[assignment]

    def to_representation(self, instance: UsageEvent) -> dict[str, Any]:
        return {**super().to_representation(instance), "correction": self.get_correction(instance)}

    @extend_schema_field(CorrectionSerializer)
    def get_correction(self, adjustment: UsageEvent) -> Any:
        return CorrectionSerializer(Correction.of(adjustment)).data


class ExplainedEventSerializer(UsageEventSerializer):
    """An event with its price lines and adjustments."""

    voided = serializers.BooleanField(help_text="True if the event was voided.")
    cost_now_usd = AmountField(allow_null=True, help_text="Net cost, including adjustments. Null while unknown.")
    lines = PriceLineSerializer(many=True, help_text="By the last applied price version.")
    adjustments = AdjustmentSerializer(many=True)

    class Meta(UsageEventSerializer.Meta):
        fields = (*UsageEventSerializer.Meta.fields, "voided", "cost_now_usd", "lines", "adjustments")  # type: ignore[assignment]


class EventsView(intake.EventsView):
    """`GET` and `POST /usage/events`"""

    scopes_by_action = {"get": Scope.COSTS_READ}
    requires_api_plan: ClassVar[bool] = True
    actions_of_every_plan: ClassVar[frozenset[str]] = frozenset({"post"})

    @extend_schema(
        operation_id="usage_events_list",
        tags=["usage"],
        parameters=[EventsQuery, *CACHE_HEADERS],
        responses=EventPageSerializer,
    )
    @cache_until_ledger_changes
    def get(self, request: Request) -> Response:
        """List the ledger of the organization, newest first. Adjustments are separate rows."""
        given = request.query_params.copy()
        given.pop("organization", None)
        query = EventsQuery(data=given)
        query.is_valid(raise_exception=True)
        params = query.validated_data
        window = window_of(params.pop("start_date", None), params.pop("end_date", None))
        after, limit = position_of(params.pop("cursor", "")), params.pop("limit")
        with tenant_reads(self.organization.pk):
            page = list_events(
                organization=self.organization, filters=EventFilter(window=window, **params), after=after, limit=limit
            )
        results = UsageEventSerializer(page.rows, many=True).data
        return Response({"results": results, "next_cursor": cursor_of(page.last)})


class EventView(OrganizationScopedAPIView):
    """`GET /usage/events/{id}`"""

    required_scope: ClassVar[Scope] = Scope.COSTS_READ
    requires_api_plan: ClassVar[bool] = True

    @extend_schema(
        operation_id="usage_event", tags=["usage"], parameters=[*CACHE_HEADERS], responses=ExplainedEventSerializer
    )
    @cache_until_ledger_changes
    def get(self, request: Request, event_id: UUID) -> Response:
        """Get one event and the calculation of its cost."""
        event = get_event(organization=self.organization, event_id=event_id)
        explanation = explain(event)
        answer = {
            **UsageEventSerializer(event).data,
            "voided": explanation.adjusted_event.is_voided,
            "cost_now_usd": plain(explanation.cost_now_usd) if explanation.cost_now_usd is not None else None,
            "lines": PriceLineSerializer([asdict(line) for line in explanation.calculation.lines], many=True).data,
            "adjustments": AdjustmentSerializer(explanation.adjusted_event.adjustments, many=True).data,
        }
        return Response(answer)
