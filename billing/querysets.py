"""Querysets with filters and annotations that several callers use."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import models
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from django.db.models.functions import Coalesce

from billing.types import RepricingState
from costtrack.ids import last_event_id
from costtrack.money import DECIMALS, DIGITS, ZERO
from organizations.querysets import OrganizationScopedQuerySet

if TYPE_CHECKING:
    from uuid import UUID

    from billing.models import PriceVersion, Repricing, SpendLimit, UsageEvent  # noqa: F401 - named in the bases below


def _unknown_to_the_planner(*values: "datetime | UUID") -> tuple[models.Func, ...]:
    """Hide the values from the planner, which estimates a row comparison by its first column alone.

    If all remaining events had the same time it would expect none, and sort all of them instead of scanning the index.
    """
    return tuple(models.Func(models.Value(value), template="(SELECT %(expressions)s)") for value in values)


_POSITION = Tuple(models.F("occurred_at"), models.F("id"))
MONEY: "models.DecimalField[Decimal, Decimal]" = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)


class UsageEventQuerySet(OrganizationScopedQuerySet["UsageEvent"]):
    def of_batch(self, batch_id: "UUID") -> "UsageEventQuerySet":
        """The events of a batch, which are a range of the primary key (`costtrack.ids`)."""
        return self.filter(id__gt=batch_id, id__lte=last_event_id(batch_id))

    def before(self, occurred_at: datetime, event_id: "UUID") -> "UsageEventQuerySet":
        """The events before a position in the order of (occurred_at, id).

        A row comparison is a bound of the index on time. "Earlier, or at the same time with a smaller id" is not: the
        scan would begin at the first event of that time, and there may be any number of them.
        """
        return self.filter(TupleLessThan(_POSITION, _unknown_to_the_planner(occurred_at, event_id)))

    def after(self, occurred_at: datetime, event_id: "UUID") -> "UsageEventQuerySet":
        """The events after a position in the order of (occurred_at, id)."""
        return self.filter(TupleGreaterThan(_POSITION, _unknown_to_the_planner(occurred_at, event_id)))

    def total_cost(self) -> Decimal:
        """The exact sum of known costs; unpriced events add their compute cost only."""
        total: Decimal | None = self.aggregate(total=models.Sum(COST))["total"]
        return total if total is not None else ZERO


# The known cost of a row of the ledger, in SQL (over a row `event`), Django and Python. `billing.ledger.net_cost` adds
# the adjustments.
COST_SQL = "coalesce(event.token_cost_usd, 0) + event.compute_cost_usd"
COST = models.ExpressionWrapper(
    Coalesce(models.F("token_cost_usd"), models.Value(ZERO), output_field=MONEY) + models.F("compute_cost_usd"),
    output_field=MONEY,
)


def known_cost(token_cost_usd: Decimal | None, compute_cost_usd: Decimal) -> Decimal:
    return (ZERO if token_cost_usd is None else token_cost_usd) + compute_cost_usd


class PriceVersionQuerySet(OrganizationScopedQuerySet["PriceVersion"]):
    def catalogue(self) -> "PriceVersionQuerySet":
        """Everyone's prices."""
        return self.filter(organization=None)

    def visible_to(self, organization_ids: list[int]) -> "PriceVersionQuerySet":
        """The organizations' own prices and everyone's."""
        return self.filter(models.Q(organization=None) | models.Q(organization__in=organization_ids))

    def in_force(self) -> "PriceVersionQuerySet":
        """Without withdrawn versions, which end where they begin."""
        return self.exclude(effective_to=models.F("effective_from"))

    def active_at(self, instant: datetime) -> "PriceVersionQuerySet":
        ends_later = models.Q(effective_to=None) | models.Q(effective_to__gt=instant)
        return self.filter(ends_later, effective_from__lte=instant)


class RepricingQuerySet(OrganizationScopedQuerySet["Repricing"]):
    def unfinished(self) -> "RepricingQuerySet":
        return self.filter(state__in=[state.value for state in RepricingState if not state.is_final])


class SpendLimitQuerySet(OrganizationScopedQuerySet["SpendLimit"]):
    def not_removed(self) -> "SpendLimitQuerySet":
        """Limits that have not been removed, including those that begin later or have ended."""
        return self.filter(removed_at=None)
