"""`/organizations/{slug}/prices/reprice`: price the usage of a period again."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.windows import WindowEndField, WindowStartField
from billing.ledger.reprice import Selection
from billing.ledger.repricings import figures_of, request_repricing
from billing.models import Repricing
from billing.types import RepricingState
from costtrack.clock import utc_now
from costtrack.serializers import AmountField, StrictSerializer, optional_text, validated
from costtrack.text import MAX_REASON_LENGTH
from organizations.api.base import OrganizationScopedViewSet
from organizations.types import Scope


class NewRepricingSerializer(StrictSerializer):
    start = WindowStartField(help_text="Calls that occurred from this date or time on.")
    end = WindowEndField(help_text="Calls that occurred before this time, or until this date (inclusive).")
    service = optional_text("The value in events.")
    model = optional_text("The model in any spelling.")
    dry_run = serializers.BooleanField(default=True, help_text="Only report what would change.")
    reason = serializers.CharField(
        default="", allow_blank=True, max_length=MAX_REASON_LENGTH, help_text="The reason. Optional for a dry run."
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Combine the fields that select calls into one value, `selection`."""
        fields: dict[str, Any] = super().to_internal_value(data)
        start, end = fields.pop("start"), fields.pop("end")
        named = {name: fields.pop(name, "") for name in ("service", "model")}
        return {**fields, "selection": Selection(start, end, **named)}


class ModelFiguresSerializer(serializers.Serializer[Any]):
    service = serializers.CharField()
    model = serializers.CharField()
    events = serializers.IntegerField(help_text="Calls that were priced again.")
    changed = serializers.IntegerField(help_text="Calls whose cost changed.")
    skipped = serializers.IntegerField(
        source="left_alone",
        help_text="Calls that were corrected manually, are unpriced, belong to a session with a summary, or have no "
        "current price.",
    )
    old_usd = AmountField(help_text="The previous cost of the repriced calls.")
    new_usd = AmountField()
    difference_usd = AmountField()


class RepricingSerializer(serializers.ModelSerializer[Repricing]):
    """A repricing; poll until `state` is `done` or `failed`. A dry run reports what would change."""

    old_usd = AmountField(help_text="The previous cost of the repriced calls.")
    new_usd = AmountField()
    difference_usd = AmountField()
    processed = serializers.IntegerField(help_text="Progress, out of `total`.")
    total = serializers.IntegerField(allow_null=True, help_text="Null until it has started.")
    skipped = serializers.IntegerField(source="left_alone")
    models = serializers.SerializerMethodField(help_text="By model, the largest change first.")
    state = serializers.ChoiceField(choices=RepricingState.choices)

    class Meta:
        model = Repricing
        fields = (
            *("id", "state", "dry_run", "start", "end", "service", "model", "reason", "actor"),
            *("created_at", "finished_at", "processed", "total", "events", "changed", "skipped"),
            *("old_usd", "new_usd", "difference_usd", "models"),
        )

    @extend_schema_field(ModelFiguresSerializer(many=True))
    def get_models(self, repricing: Repricing) -> Any:
        return ModelFiguresSerializer(figures_of(repricing), many=True).data


class RepricingViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationScopedViewSet[Repricing]):
    """`GET` and `POST .../prices/reprice`, `GET .../prices/reprice/{id}`"""

    queryset = Repricing.objects.order_by("-id")
    serializer_class = RepricingSerializer
    filterset_class = None
    scopes_by_action = {"list": Scope.COSTS_READ, "retrieve": Scope.COSTS_READ}

    @extend_schema(
        request=NewRepricingSerializer,
        responses={
            200: OpenApiResponse(RepricingSerializer, description="The dry run is complete."),
            202: OpenApiResponse(RepricingSerializer, description="Started in the background. Poll it by its id."),
            409: OpenApiResponse(description="Another repricing is in progress."),
        },
    )
    def create(self, request: Request, **_: str) -> Response:
        """Reprice the usage of a period with current prices, by adjustments. Start with a dry run."""
        body = validated(NewRepricingSerializer, request.data, self.organization.calendar)
        repricing = request_repricing(organization=self.organization, **body, actor=self.principal.label, now=utc_now())
        code = status.HTTP_200_OK if repricing.is_finished else status.HTTP_202_ACCEPTED
        return Response(RepricingSerializer(repricing).data, status=code)
