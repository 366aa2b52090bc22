"""`/organizations/{slug}/prices`: the prices of the organization and the shared prices."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import django_filters
from django.db.models import F, Q, QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from billing.models import PriceVersion
from billing.models.prices import PriceVersionQuerySet
from billing.pricing import services
from billing.pricing.conditions import Rates
from billing.pricing.kinds import KINDS, PRICE_COLUMNS
from billing.pricing.price_fields import (
    OTHER_UNIT_PRICES,
    UNIT_PRICE_COLUMNS,
    parse_other_unit_prices,
    parse_tiers,
)
from billing.reports.unpriced import missed_events
from costtrack.clock import utc_now
from costtrack.date_fields import EndField, StartField
from costtrack.errors import ForbiddenError
from costtrack.filters import TimestampFilter
from costtrack.money import plain
from costtrack.serializers import AmountInputField, StrictSerializer, validated
from organizations.api.base import OrganizationScopedViewSet
from organizations.types import Scope

_TIER_PRICE_SCHEMA: dict[str, Any] = {
    "type": ["string", "number"],
    "format": "decimal",
    "pattern": r"^\d{1,12}(\.\d{1,12})?$",
    "minimum": 0,
}
_OTHER_PRICES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "propertyNames": {"enum": [kind for kind in KINDS if kind not in PRICE_COLUMNS]},
    "additionalProperties": _TIER_PRICE_SCHEMA,
}
_TIER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["above_input_tokens"],
    "additionalProperties": False,
    "properties": {
        "above_input_tokens": {"type": "integer", "minimum": 1},
        **dict.fromkeys(UNIT_PRICE_COLUMNS, _TIER_PRICE_SCHEMA),
        OTHER_UNIT_PRICES: _OTHER_PRICES_SCHEMA,
    },
}


class UnitPriceField(AmountInputField):
    """US dollars: accepts a string or a number, returns a plain decimal string."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=24, decimal_places=12, required=False, allow_null=True, **options)

    def to_representation(self, value: Decimal) -> str:
        return plain(value)


@extend_schema_field({"type": "array", "items": _TIER_SCHEMA})
class TiersField(serializers.Field[Any, Any, Any, Any]):
    """Unit prices that replace the others for calls with more input tokens (including caches) than a tier names."""

    def to_internal_value(self, data: Any) -> tuple[tuple[int, dict[str, Decimal]], ...]:
        return parse_tiers(data)

    def to_representation(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return value


@extend_schema_field(_OTHER_PRICES_SCHEMA)
class OtherUnitPricesField(serializers.Field[Any, Any, Any, Any]):
    """Unit prices in US dollars of the kinds without a field of their own, each per its unit (docs/prices.md)."""

    def to_internal_value(self, data: Any) -> dict[str, Decimal]:
        return parse_other_unit_prices(data)

    def to_representation(self, value: dict[str, str]) -> dict[str, str]:
        return value


class UnitPricesSerializer(serializers.Serializer[Any]):
    """One field for each frequent kind of usage, and a map of the others."""

    input_usd_per_million = UnitPriceField()
    output_usd_per_million = UnitPriceField()
    cache_read_usd_per_million = UnitPriceField(
        help_text="Null: as the vendor documents, else charged as input and flagged."
    )
    cache_creation_usd_per_million = UnitPriceField(
        help_text="5-minute cache writes. Null: as the vendor documents, else charged as input and flagged."
    )
    cache_creation_1h_usd_per_million = UnitPriceField(
        help_text="1-hour cache writes. Null: as the vendor documents, else as 5-minute ones and flagged."
    )
    reasoning_usd_per_million = UnitPriceField(help_text="Null: reasoning is charged as output.")
    audio_input_usd_per_million = UnitPriceField(help_text="Null: the cost of audio input is unknown.")
    audio_output_usd_per_million = UnitPriceField(help_text="Null: the cost of audio output is unknown.")
    request_usd = UnitPriceField(help_text="Charged per call.")
    other_unit_prices = OtherUnitPricesField(default=dict)
    tiers = TiersField(default=())


class PriceSerializer(UnitPricesSerializer):
    """A price version."""

    id = serializers.IntegerField()
    is_own = serializers.SerializerMethodField(
        help_text="True for a price of the organization, false for a shared price."
    )
    provider = serializers.CharField(help_text="Empty: any provider.")
    model = serializers.CharField()
    aliases = serializers.ListField(child=serializers.CharField())
    effective_from = serializers.DateTimeField()
    effective_to = serializers.DateTimeField(allow_null=True)
    conditions = serializers.JSONField(
        help_text="Prices of calls with a certain service tier, speed or region, or at certain hours of the day (UTC)."
    )
    source = serializers.CharField()  # type: ignore[assignment] # DRF takes declared fields out of the class
    created_at = serializers.DateTimeField()

    def get_is_own(self, price: PriceVersion) -> bool:
        return price.organization_id is not None


class MissedEventsSerializer(serializers.Serializer[Any]):
    """Unpriced events of the model that occurred before this price begins. To price them, create a price that begins at
    `first_at`."""

    events = serializers.IntegerField()
    first_at = serializers.DateTimeField(allow_null=True)


class CreatedPriceSerializer(PriceSerializer):
    """A new price version, and the unpriced events that it does not cover."""

    missed = MissedEventsSerializer()


class NewPriceSerializer(UnitPricesSerializer, StrictSerializer):
    """A new price version."""

    provider = serializers.CharField(
        max_length=64, allow_blank=True, default="", help_text="The `service` of events. Empty: any provider."
    )
    model = serializers.CharField(max_length=255, help_text="`*` matches any characters.")
    aliases = serializers.ListField(
        child=serializers.CharField(max_length=255), default=list, help_text="Other names of the model."
    )
    effective_from = StartField(required=False, help_text="Default: now.")
    effective_to = EndField(allow_null=True, default=None, help_text="A date is included. Null: no end.")

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Combine the unit prices and tiers into one value, `rates`."""
        fields: dict[str, Any] = super().to_internal_value(data)
        given = {kind: fields.pop(column, None) for kind, column in PRICE_COLUMNS.items()}
        unit_prices = {kind: price for kind, price in given.items() if price is not None}
        rates = Rates({**unit_prices, **fields.pop(OTHER_UNIT_PRICES)}, fields.pop("tiers"))
        return {**fields, "rates": rates}


class PriceEndSerializer(StrictSerializer):
    effective_to = EndField(help_text="When the price stops being effective. A date is included.")


class PriceFilter(django_filters.FilterSet):
    provider = django_filters.CharFilter(lookup_expr="iexact")
    model = django_filters.CharFilter(method="filter_model", label="Model name (case-insensitive) or an alias.")
    active_at = TimestampFilter(method="filter_active_at", label="Prices that are effective at this instant.")

    class Meta:
        model = PriceVersion
        fields = ("provider", "model", "active_at")

    def filter_model(self, queryset: PriceVersionQuerySet, name: str, value: str) -> QuerySet[PriceVersion]:
        return queryset.filter(Q(model__iexact=value) | Q(aliases__contains=[value]))

    def filter_active_at(self, queryset: PriceVersionQuerySet, name: str, value: datetime) -> QuerySet[PriceVersion]:
        return queryset.active_at(value)


class PriceViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[PriceVersion]):
    """Prices of the organization come first and take precedence over shared prices."""

    queryset = PriceVersion.objects.order_by(
        F("organization").asc(nulls_last=True), "provider", "model", "-effective_from", "-id"
    )
    serializer_class = PriceSerializer
    filterset_class = PriceFilter
    scopes_by_action = {"list": Scope.COSTS_READ, "retrieve": Scope.COSTS_READ}
    shows_shared_rows = True

    @extend_schema(request=NewPriceSerializer, responses={201: CreatedPriceSerializer})
    def create(self, request: Request, **_: str) -> Response:
        """Create a price of the organization. The price version that is effective at its start ends there."""
        body = validated(NewPriceSerializer, request.data, self.organization.calendar)
        fields = {"effective_from": utc_now(), **body}
        price = services.create_price(organization=self.organization, **fields, actor=self.principal.label)
        missed = MissedEventsSerializer(missed_events(price)).data
        return Response({**PriceSerializer(price).data, "missed": missed}, status=status.HTTP_201_CREATED)

    @extend_schema(
        request=PriceEndSerializer,
        responses={200: PriceSerializer, 409: OpenApiResponse(description="The price has already ended.")},
    )
    @action(detail=True, methods=["post"])
    def end(self, request: Request, **_: Any) -> Response:
        """End a price of the organization."""
        price = self.get_object()
        if price.organization_id is None:
            message = "This price is shared by all organizations. Create your own price to override it."
            raise ForbiddenError(message, code="shared_price")
        body = validated(PriceEndSerializer, request.data, self.organization.calendar)
        price = services.end_price(
            organization=self.organization,
            price=price,
            effective_to=body["effective_to"],
            actor=self.principal.label,
        )
        return Response(PriceSerializer(price).data)
