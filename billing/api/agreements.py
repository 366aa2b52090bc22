"""`/organizations/{slug}/agreements`: the organization's terms with providers."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from billing.models import Agreement
from billing.pricing.agreement_services import AgreementTerms, create_agreement, end_agreement
from billing.pricing.kinds import KINDS
from costtrack.date_fields import DayField
from costtrack.money import plain
from costtrack.serializers import AmountInputField, StrictSerializer, validated
from organizations.api.base import OrganizationScopedViewSet
from organizations.permissions import PRICES


class AgreementSerializer(serializers.Serializer[Any]):
    """Terms that never change. `starts` and `ends` are the first and the last day, in the organization's time zone."""

    id = serializers.IntegerField()
    provider = serializers.CharField()
    model_patterns = serializers.ListField(child=serializers.CharField(), help_text="Empty: every model.")
    discount_percent = serializers.SerializerMethodField()
    kinds = serializers.ListField(child=serializers.CharField(), help_text="What the discount is for. Empty: all.")
    unit_prices = serializers.DictField(child=serializers.CharField(), help_text="US dollars by kind.")
    starts = serializers.DateField(allow_null=True)
    ends = serializers.DateField(allow_null=True)
    created_at = serializers.DateTimeField()

    def get_discount_percent(self, agreement: Agreement) -> str:
        return plain(agreement.discount_percent)


class NewAgreementSerializer(StrictSerializer):
    provider = serializers.CharField(
        max_length=64, help_text="Who bills the calls, for example openai, azure or aws. A * means any provider."
    )
    model_patterns = serializers.ListField(
        child=serializers.CharField(max_length=255),
        default=list,
        help_text="Names of models of the catalog. A * matches any characters. Empty: every model.",
    )
    discount_percent = AmountInputField(
        max_digits=9, decimal_places=6, default=Decimal(0), min_value=Decimal(0), max_value=Decimal(100)
    )
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=list(KINDS)), default=list, help_text="What the discount is for."
    )
    unit_prices = serializers.DictField(
        child=AmountInputField(max_digits=24, decimal_places=12),
        default=dict,
        help_text="US dollars by kind, each per its unit, instead of the list's. Conditions change them by the same "
        "ratio as the list's price.",
    )
    starts = DayField(
        allow_null=True, default=None, help_text="The first day, in the organization's time zone. Null: always."
    )
    ends = DayField(allow_null=True, default=None, help_text="The last day with the terms. Null: no end.")


class AgreementEndSerializer(StrictSerializer):
    ends = DayField(help_text="The last day with the terms, in the organization's time zone.")


class AgreementViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[Agreement]):
    """Discounts and unit prices that an organization has agreed on with providers."""

    queryset = Agreement.objects.select_related("organization").order_by("id")
    serializer_class = AgreementSerializer
    filterset_class = None
    resource = PRICES

    @extend_schema(request=NewAgreementSerializer, responses={201: AgreementSerializer})
    def create(self, request: Request, **_: str) -> Response:
        """Create an agreement. It applies to calls from now on; reprice a period to apply it to earlier ones."""
        body = validated(NewAgreementSerializer, request.data)
        agreement = create_agreement(
            organization=self.organization, terms=AgreementTerms(**body), actor=self.principal.label
        )
        return Response(AgreementSerializer(agreement).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        request=AgreementEndSerializer,
        responses={200: AgreementSerializer, 409: OpenApiResponse(description="The agreement has already ended.")},
    )
    @action(detail=True, methods=["post"])
    def end(self, request: Request, **_: Any) -> Response:
        """End an agreement."""
        body = validated(AgreementEndSerializer, request.data)
        agreement = end_agreement(
            organization=self.organization, agreement=self.get_object(), ends=body["ends"], actor=self.principal.label
        )
        return Response(AgreementSerializer(agreement).data)
