"""Tags beside all that was spent (document 004). Read-only.

A call with several tags counts in full under each, so what tags cost may add up to more than everything together. What
was spent without any tag is not known: no rollup counts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.reports.spend.sums import Question, ask
from billing.reports.spend.totals import Named, by_spend
from billing.reports.types import Window
from billing.rollups.definitions import MODEL_DAYS, TAG_DAYS
from costtrack.money import ZERO
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class TagSpend:
    """`tags` are those of `billing.reports.spend.totals.spend_by_tag`, the dearest first. `spend` and `calls` are of
    everything in the window, with tags or without. `unpriced` events are not in the amounts."""

    tags: Sequence[Named]
    spend: Decimal
    calls: int
    unpriced: int

    @property
    def least_untagged(self) -> Decimal:
        """At least so much was spent without any tag; exactly so much, if no call bears two."""
        return max(self.spend - sum((tag.spend for tag in self.tags), ZERO), ZERO)


def tag_spend(*, organization: Organization, window: Window) -> TagSpend:
    """All of it at one moment."""
    tags, whole = ask(organization, Question(TAG_DAYS, ("tag",), window), Question(MODEL_DAYS, (), window))
    return TagSpend(
        tags=by_spend(tags),
        spend=sum((sums.cost for sums in whole), ZERO),
        calls=sum(sums.requests for sums in whole),
        unpriced=sum(sums.unpriced for sums in whole),
    )


def days_of_tags(
    *, organization: Organization, window: Window, tags: Sequence[str]
) -> dict[str, list[tuple[date, Decimal]]]:
    """What each of a few tags cost on each UTC day that it was used on."""
    days: dict[str, list[tuple[date, Decimal]]] = {tag: [] for tag in tags}
    if tags:
        (found,) = ask(organization, Question(TAG_DAYS, ("day", "tag"), window, {"tag": tuple(tags)}))
        for sums in found:
            day, tag = sums.key
            days[tag].append((date.fromisoformat(day), sums.cost))
    return days
