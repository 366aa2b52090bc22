"""`POST /usage/events/{id}/void` and `/adjust`: correct one event by appending adjustments.

Available in every plan, like recording usage. They need the scope `manage`, because senders of usage may not rewrite
it.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.usage.events import AdjustmentSerializer
from billing.ledger.corrections import Corrected, adjust, void
from costtrack.clock import utc_now
from costtrack.money import DECIMALS, DIGITS, plain
from costtrack.serializers import AmountField, AmountInputField, StrictSerializer, validated
from costtrack.text import MAX_REASON_LENGTH
from organizations.api.base import OrganizationScopedReportViewSet

_NOT_CORRECTABLE = OpenApiResponse(
    description="The event is an adjustment, is in a session with a summary, is voided, or already has this cost."
)


class VoidSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH, help_text="The reason, shown with the correction.")


class AdjustSerializer(VoidSerializer):
    cost_usd = AmountInputField(
        max_digits=DIGITS,
        decimal_places=DECIMALS,
        min_value=Decimal(0),
        help_text="The new total cost: tokens and compute.",
    )


class CorrectedSerializer(AdjustmentSerializer):
    """The appended adjustment and the net cost of its event."""

    cost_now_usd = AmountField()

    class Meta(AdjustmentSerializer.Meta):
        fields = (*AdjustmentSerializer.Meta.fields, "cost_now_usd")  # type: ignore[assignment]


class EventCorrectionViewSet(OrganizationScopedReportViewSet):
    """`POST /usage/events/{id}/void` and `/adjust`"""

    @extend_schema(
        operation_id="usage_event_void",
        request=VoidSerializer,
        responses={201: CorrectedSerializer, 409: _NOT_CORRECTABLE},
    )
    def void(self, request: Request, event_id: UUID) -> Response:
        """Void an event: take back everything it counts and costs. A repeated request is a duplicate."""
        return self._correct(void, validated(VoidSerializer, request.data), event_id)

    @extend_schema(
        operation_id="usage_event_adjust",
        request=AdjustSerializer,
        responses={201: CorrectedSerializer, 409: _NOT_CORRECTABLE},
    )
    def adjust(self, request: Request, event_id: UUID) -> Response:
        """Set the cost of an event, also of one whose cost is unknown. Its counts stay."""
        return self._correct(adjust, validated(AdjustSerializer, request.data), event_id)

    def _correct(self, correct: Callable[..., Corrected], body: dict[str, Any], event_id: UUID) -> Response:
        corrected = correct(
            organization=self.organization, event_id=event_id, **body, actor=self.principal.label, now=utc_now()
        )
        row = AdjustmentSerializer(corrected.adjustment).data
        return Response({**row, "cost_now_usd": plain(corrected.cost_now_usd)}, status=status.HTTP_201_CREATED)
