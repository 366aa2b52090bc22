"""`/usage/credits`: credits and refunds of providers that belong to no single event."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.windows import WindowEndField, WindowStartField
from billing.ledger.credits import DIMENSIONS, MAX_DAYS, NewCredit, create_credit, void_credit
from billing.models import Credit
from costtrack.clock import utc_now
from costtrack.money import DECIMALS, DIGITS
from costtrack.serializers import AmountField, AmountInputField, StrictSerializer, optional_text, validated
from costtrack.text import MAX_REASON_LENGTH
from organizations.api.base import OrganizationScopedViewSet
from organizations.types import Scope

MAX_TAGS = 50


class CreditSerializer(serializers.ModelSerializer[Credit]):
    """A credit. Its rows in the ledger are events of the kind `credit`, with negative costs."""

    amount_usd = AmountField()
    start_date = serializers.DateTimeField(source="start")
    end_date = serializers.DateTimeField(source="end", help_text="Excluded.")
    dimensions = serializers.DictField(help_text="What the credit is about, by name.")
    actor = serializers.CharField(help_text="Email address or Client ID.")
    voided_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = Credit
        fields = (
            *("id", "amount_usd", "reason", "start_date", "end_date", "dimensions", "actor", "created_at"),
            *("voided_at", "voided_by", "void_reason"),
        )


class NewCreditSerializer(StrictSerializer):
    amount_usd = AmountInputField(
        max_digits=DIGITS, decimal_places=DECIMALS, help_text="What the provider has credited: more than 0."
    )
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH)
    start_date = WindowStartField(required=False, help_text="The credited period begins. Default: this hour.")
    end_date = WindowEndField(
        required=False,
        help_text=f"It ends; a date is included. At most {MAX_DAYS} days, each of which gets the same share.",
    )
    service = optional_text()
    model = optional_text()
    capability = optional_text()
    user_id = optional_text()
    team = optional_text()
    end_user = optional_text()
    agent_id = optional_text()
    workflow_id = optional_text()
    run_id = optional_text()
    client_id = optional_text()
    tags = serializers.ListField(required=False, child=serializers.CharField(max_length=255), max_length=MAX_TAGS)


class VoidCreditSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH)


class CreditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[Credit]):
    """Credits, newest first."""

    queryset = Credit.objects.order_by("-id")
    serializer_class = CreditSerializer
    filterset_class = None
    scopes_by_action = {"list": Scope.COSTS_READ, "retrieve": Scope.COSTS_READ}

    @extend_schema(operation_id="usage_credits_create", request=NewCreditSerializer, responses={201: CreditSerializer})
    def create(self, request: Request, **_: str) -> Response:
        """Record a credit or refund of a provider. It reduces spend, and the spend of limits, in its period."""
        body = NewCreditSerializer(data=request.data, context={"calendar": self.organization.calendar})
        body.is_valid(raise_exception=True)
        given = dict(body.validated_data)
        credit = NewCredit(
            amount_usd=given["amount_usd"],
            reason=given["reason"],
            start=given.get("start_date"),
            end=given.get("end_date"),
            dimensions={name: given[name] for name in (*DIMENSIONS, "tags") if name in given},
        )
        row = create_credit(organization=self.organization, credit=credit, actor=self.principal.label, now=utc_now())
        return Response(CreditSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="usage_credits_void",
        request=VoidCreditSerializer,
        responses={200: CreditSerializer, 409: OpenApiResponse(description="The credit is already voided.")},
    )
    @action(detail=True, methods=["post"])
    def void(self, request: Request, **_: Any) -> Response:
        """Take a credit back: its amount counts as spent again."""
        body = validated(VoidCreditSerializer, request.data)
        row = void_credit(
            organization=self.organization,
            credit_id=self.get_object().pk,
            **body,
            actor=self.principal.label,
            now=utc_now(),
        )
        return Response(CreditSerializer(row).data)
