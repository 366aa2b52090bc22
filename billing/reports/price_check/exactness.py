"""How exact the costs of model calls are, by model. Read-only.

Costs include later corrections: an event that was priced or read again afterwards counts with what is known now.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Case, Count, F, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.fields import CharField
from django.db.models.fields.json import KT

from billing.ledger.adjustments import IN_SUMMARY
from billing.ledger.calls import MERGED, REREAD
from billing.models import UsageEvent
from billing.models.ledger import UsageEventQuerySet
from billing.reports.price_check.selection import CallSelection
from billing.types import (
    AUTHORIZATION_MISMATCH_FLAG,
    ESTIMATED_FLAG,
    POSSIBLE_DUPLICATE_FLAG,
    CorrectionKind,
    CostBasis,
    EventKind,
    Exactness,
)
from costtrack.money import ZERO
from organizations.models import Organization

BILLED = (CostBasis.PROVIDER.value, CostBasis.SENDER.value)
_MANUAL = (CorrectionKind.VOID.value, CorrectionKind.ADJUST.value)
# An estimated unit price is behind the flags of the usage, and a mismatch behind that.
_IS_ESTIMATED = Q(cost_basis=CostBasis.GATEWAY.value) | Q(flags__0__code=ESTIMATED_FLAG)
_BESIDE_USAGE = (AUTHORIZATION_MISMATCH_FLAG, POSSIBLE_DUPLICATE_FLAG)
_EXACTNESS = Case(
    When(cost_basis__in=BILLED, then=Value(Exactness.REPORTED.value)),
    When(token_cost_usd=None, then=Value(Exactness.UNKNOWN.value)),
    When(_IS_ESTIMATED, then=Value(Exactness.ESTIMATED.value)),
    When(Q(flags__0__isnull=False) & ~Q(flags__0__code__in=_BESIDE_USAGE), then=Value(Exactness.FLAGGED.value)),
    default=Value(Exactness.COMPUTED.value),
    output_field=CharField(),
)


@dataclass(slots=True)
class Spend:
    """Calls and their cost."""

    events: int = 0
    cost_usd: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class ModelExactness:
    """The spend of one model by exactness."""

    service: str
    model: str
    by_exactness: Mapping[Exactness, Spend] = field(default_factory=lambda: defaultdict(Spend))

    @property
    def events(self) -> int:
        return sum(spend.events for spend in self.by_exactness.values())

    @property
    def cost_usd(self) -> Decimal:
        return sum((spend.cost_usd for spend in self.by_exactness.values()), ZERO)

    def spend(self, exactness: Exactness) -> Spend:
        return self.by_exactness.get(exactness, Spend())


def exactness_by_model(organization: Organization, selection: CallSelection) -> Sequence[ModelExactness]:
    """Return the spend of each model, the largest first."""
    models: dict[tuple[str, str], ModelExactness] = {}

    def spend_of(row: Mapping[str, Any], exactness: str) -> Spend:
        key = (row["service"], row["model"])
        return models.setdefault(key, ModelExactness(*key)).by_exactness[Exactness(exactness)]

    rows = UsageEvent.objects.of(organization).filter(**selection.conditions)
    for row in _original_costs(rows):
        _add(spend_of(row, row["exactness"]), row["events"], row["sum_usd"])
    for row in _corrections(organization, rows):
        exactness, moved = _exactness_now(row)
        _add(spend_of(row, exactness), row["events"] + moved, row["sum_usd"])
        _add(spend_of(row, row["original"]), -moved, None)
    return sorted(models.values(), key=lambda model: (-model.cost_usd, model.service, model.model))


def _add(spend: Spend, events: int, cost_usd: Decimal | None) -> None:
    spend.events += events
    spend.cost_usd += cost_usd or ZERO


def total_exactness(models: Sequence[ModelExactness]) -> Mapping[Exactness, Spend]:
    """Return the spend of all models by exactness."""
    totals = {exactness: Spend() for exactness in Exactness}
    for model in models:
        for exactness, spend in model.by_exactness.items():
            _add(totals[exactness], spend.events, spend.cost_usd)
    return totals


def _original_costs(rows: UsageEventQuerySet) -> Any:
    calls = rows.filter(kind=EventKind.MODEL_CALL.value).annotate(exactness=_EXACTNESS)
    return (
        calls.values("service", "model", "exactness")
        .annotate(events=Sum("requests"), sum_usd=Sum("token_cost_usd"))
        .order_by("service", "model", "exactness")
    )


def _corrections(organization: Organization, rows: UsageEventQuerySet) -> Any:
    """Return the sums of corrections, by the original exactness of the call's cost. `became_known` of the `corrected`
    calls had no cost before; those that another source has only moved to other dimensions cancel each other out."""
    calls = UsageEvent.objects.of(organization).filter(id=OuterRef("adjusts"), kind=EventKind.MODEL_CALL.value)
    return (
        rows.filter(kind=EventKind.ADJUSTMENT.value)
        .annotate(
            original=Subquery(calls.annotate(exactness=_EXACTNESS).values("exactness")),
            correction=KT("metadata__correction__kind"),
            now=_EXACTNESS,
        )
        .exclude(original=None)
        .values("service", "model", "original", "correction", "adjustment_reason", "now")
        .annotate(
            events=Sum("requests"),
            sum_usd=Sum("token_cost_usd"),
            corrected=Count("adjusts", distinct=True),
            became_known=Sum(-F("unpriced")),
        )
        .order_by("service", "model", "original")
    )


def _exactness_now(row: dict[str, Any]) -> tuple[str, int]:
    """Return the new exactness of a group of corrected calls, and how many calls it moves."""
    original: str = row["original"]
    is_unknown = original == Exactness.UNKNOWN
    moved: int = row["became_known"] if is_unknown else 0
    if row["adjustment_reason"] in (REREAD, MERGED):
        now = str(row["now"])
        return now, moved if is_unknown or now == original else row["corrected"]
    if not is_unknown:
        return original, 0
    is_stated = row["correction"] in _MANUAL or row["adjustment_reason"] == IN_SUMMARY
    return (Exactness.REPORTED if is_stated else Exactness.COMPUTED).value, moved
