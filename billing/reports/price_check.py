"""How far the costs of model calls can be relied on, and where two known costs of a call differ. Read-only.

The figures are those of the events as they were stored, without later adjustments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Case, Count, F, Q, QuerySet, Sum, Value, When
from django.db.models.fields import CharField
from django.db.models.functions import Coalesce

from billing.models import UsageEvent
from billing.types import ESTIMATED_FLAG, CostBasis, CostSource, EventKind, Exactness
from costtrack.calendar import Span
from organizations.models import Organization

_MAX_MODELS = 500
_PERCENT = 100
_BILLED = (CostBasis.PROVIDER.value, CostBasis.SENDER.value)
# An estimated unit price is always the last flag.
_IS_ESTIMATED = Q(cost_basis=CostBasis.GATEWAY.value) | Q(flags__0__code=ESTIMATED_FLAG)
_IS_REPORTED = Q(cost_basis__in=_BILLED) | Q(cost_basis="", cost_source=CostSource.REPORTED.value)
_EXACTNESS = Case(
    When(token_cost_usd=None, then=Value(Exactness.UNKNOWN.value)),
    When(_IS_REPORTED, then=Value(Exactness.REPORTED.value)),
    When(_IS_ESTIMATED, then=Value(Exactness.ESTIMATED.value)),
    When(flags__0__isnull=False, then=Value(Exactness.FLAGGED.value)),
    default=Value(Exactness.COMPUTED.value),
    output_field=CharField(),
)
_REPORTED = Coalesce("provider_cost_usd", "stated_cost_usd", "gateway_cost_usd")
_COMPUTED = Case(When(cost_basis=CostBasis.COMPUTED.value, then=F("token_cost_usd")), default=F("computed_cost_usd"))


@dataclass(frozen=True, slots=True)
class ExactnessFigures:
    """Calls of one model with costs of one exactness, and their cost (None: unknown)."""

    service: str
    model: str
    exactness: str
    events: int
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class CostDifference:
    """Calls of one model whose reported and computed costs are both known, and their sums."""

    service: str
    model: str
    events: int
    reported_usd: Decimal
    computed_usd: Decimal

    @property
    def difference_usd(self) -> Decimal:
        return self.reported_usd - self.computed_usd

    def exceeds(self, percent: Decimal) -> bool:
        return abs(self.difference_usd) * _PERCENT > percent * self.computed_usd


def exactness_by_model(organization: Organization, window: Span) -> Sequence[ExactnessFigures]:
    """Return the figures of each model, the largest cost first."""
    groups = (
        _calls(organization, window)
        .annotate(exactness=_EXACTNESS)
        .values("service", "model", "exactness")
        .annotate(events=Count("id"), cost_usd=Sum("token_cost_usd"))
        .order_by(F("cost_usd").desc(nulls_last=True), "service", "model", "exactness")
    )
    return [ExactnessFigures(**group) for group in groups[:_MAX_MODELS]]


def cost_differences(organization: Organization, window: Span, *, percent: Decimal) -> Sequence[CostDifference]:
    """Return the models whose reported and computed costs differ by more than that percentage of the computed cost."""
    groups = (
        _calls(organization, window)
        .annotate(reported=_REPORTED, computed=_COMPUTED)
        .filter(reported__isnull=False, computed__isnull=False)
        .values("service", "model")
        .annotate(events=Count("id"), reported_usd=Sum("reported"), computed_usd=Sum("computed"))
        .order_by("service", "model")
    )
    differences = [CostDifference(**group) for group in groups]
    return [difference for difference in differences if difference.exceeds(percent)]


def _calls(organization: Organization, window: Span) -> "QuerySet[UsageEvent]":
    return UsageEvent.objects.of(organization).filter(
        kind=EventKind.MODEL_CALL.value, occurred_at__gte=window.start, occurred_at__lt=window.end
    )
