"""Spend by tag, compared with all spend (document 004). Read-only.

A call with several tags counts in full under each, so tags may add up to more than the total. Spend without any tag
is unknown, because no rollup counts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.reports.spend.sums import SumQuery, run_queries
from billing.reports.spend.totals import NamedSpend, sort_by_spend
from billing.reports.types import Window
from billing.rollups.definitions import MODEL_DAYS, TAG_DAYS
from costtrack.money import ZERO
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class TagSpend:
    """`tags` are those of `billing.reports.spend.totals.spend_by_tag`, the most expensive first. `spend` and `calls`
    are of everything in the window. Amounts exclude `unpriced` events."""

    tags: Sequence[NamedSpend]
    spend: Decimal
    calls: int
    unpriced: int

    @property
    def min_untagged(self) -> Decimal:
        """A lower bound of the spend without any tag; exact if no call has two tags."""
        return max(self.spend - sum((tag.spend for tag in self.tags), ZERO), ZERO)


def get_tag_spend(*, organization: Organization, window: Window) -> TagSpend:
    """Return spend by tag and in total, from one snapshot."""
    tags, totals = run_queries(organization, SumQuery(TAG_DAYS, ("tag",), window), SumQuery(MODEL_DAYS, (), window))
    return TagSpend(
        tags=sort_by_spend(tags),
        spend=sum((sums.cost for sums in totals), ZERO),
        calls=sum(sums.requests for sums in totals),
        unpriced=sum(sums.unpriced for sums in totals),
    )


def list_tag_days(
    *, organization: Organization, window: Window, tags: Sequence[str]
) -> dict[str, list[tuple[date, Decimal]]]:
    """Return the daily cost of a few tags, for the UTC days on which they were used."""
    days: dict[str, list[tuple[date, Decimal]]] = {tag: [] for tag in tags}
    if tags:
        (rows,) = run_queries(organization, SumQuery(TAG_DAYS, ("day", "tag"), window, {"tag": tuple(tags)}))
        for sums in rows:
            day, tag = sums.key
            days[tag].append((date.fromisoformat(day), sums.cost))
    return days
