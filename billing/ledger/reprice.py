"""What model calls would cost by the prices that hold now, and the adjustments that make them cost that.

Priced anew are the calls whose cost we have computed, when they came or when their price appeared. Left alone are:

* calls whose cost the caller has reported (they are not even looked at), and those that wait for a price;
* what a person has corrected: voided events, and those whose cost was set by hand;
* calls of sessions that a summary has closed: the summary's totals hold;
* calls that no price covers any more: what they cost is not known better now.

So a second pass finds nothing to change. Nothing here keeps others away: the caller's transaction does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from billing.ledger.adjustments import REPRICED, adjustment_of
from billing.ledger.append import append
from billing.ledger.net_cost import AdjustedEvent, adjustments_of
from billing.ledger.price_unpriced import cost_of
from billing.ledger.types import LedgerEntry
from billing.models import LiveSessionTotal, UsageEvent
from billing.pricing.cache import PriceBook, price_book
from billing.pricing.types import TOKEN_COUNTS, TokenUsage
from billing.types import CostSource, EventKind
from costtrack.money import ZERO, plain
from organizations.models import Organization

# What a dry run reads of an event; adjustments copy all of it.
_READ = (
    *("id", "organization", "kind", "occurred_at", "service", "model", "session_id", "unpriced", "unpriced_reason"),
    *("token_cost_usd", "compute_cost_usd", "price_version", *TOKEN_COUNTS),
)

_NO_TOKENS = TokenUsage()


@dataclass(frozen=True, slots=True)
class Selection:
    """Model calls that occurred in [start, end), of one service or model if it is named."""

    start: datetime
    end: datetime
    service: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """An event's place in the order of time."""

    occurred_at: datetime
    id: UUID


@dataclass(slots=True)
class ModelFigures:
    """One model's calls: how many were priced anew, how many of them cost something else then, how many were left
    alone, and what those priced anew cost before and after."""

    service: str
    model: str
    events: int = 0
    changed: int = 0
    left_alone: int = 0
    old_usd: Decimal = ZERO
    new_usd: Decimal = ZERO

    @property
    def difference_usd(self) -> Decimal:
        return self.new_usd - self.old_usd

    def add(self, other: "ModelFigures") -> None:
        for name in ("events", "changed", "left_alone", "old_usd", "new_usd"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_json(self) -> dict[str, str | int]:
        return {
            **{name: getattr(self, name) for name in ("service", "model", "events", "changed", "left_alone")},
            **{name: plain(getattr(self, name)) for name in ("old_usd", "new_usd")},
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "ModelFigures":
        return cls(**{**kept, "old_usd": Decimal(kept["old_usd"]), "new_usd": Decimal(kept["new_usd"])})


@dataclass(frozen=True, slots=True)
class Part:
    """What a step has found, and the last event it looked at (None: there are no more)."""

    figures: Sequence[ModelFigures]
    last: Position | None


def selected(organization: Organization, selection: Selection, after: Position | None = None) -> QuerySet[UsageEvent]:
    """The calls that are looked at, in the order of time, from just after a position on: the index on time serves."""
    events = UsageEvent.objects.of(organization)
    # One lower bound and no more: the index is entered there.
    if after is None:
        events = events.filter(occurred_at__gte=selection.start)
    else:
        events = events.after(after.occurred_at, after.id)
    events = events.filter(
        occurred_at__lt=selection.end,
        kind=EventKind.MODEL_CALL.value,
        cost_source=CostSource.COMPUTED.value,
    )
    named = {name: value for name in ("service", "model") if (value := getattr(selection, name))}
    return events.filter(**named).order_by("occurred_at", "id")


def reprice_some(
    *,
    organization: Organization,
    selection: Selection,
    after: Position | None,
    most: int,
    note: dict[str, Any] | None,
    now: datetime,
) -> Part:
    """Look at the next `most` calls after a position. With a note (the adjustments' metadata) the differences are
    appended as one batch; without one nothing is written."""
    events = selected(organization, selection, after)
    if note is None:
        events = events.only(*_READ)
    chunk = list(events[:most])
    adjustments = adjustments_of(chunk)
    work = _Work(price_book(organization.pk), _closed_sessions(organization, chunk))
    entries = []
    for event in chunk:
        anew = work.price(AdjustedEvent(event, adjustments.get(event.pk, ())))
        if note is not None and anew is not None and anew.difference_usd:
            entries.append(_adjustment(event, anew, note))
    _append(organization, entries, now)
    last = Position(chunk[-1].occurred_at, chunk[-1].pk) if len(chunk) == most else None
    return Part(work.figures, last)


def _append(organization: Organization, entries: Sequence[LedgerEntry], now: datetime) -> None:
    if entries:
        append(
            organization_id=organization.pk,
            credential_id=None,
            format="adjustment",
            entries=entries,
            rejected=0,
            now=now,
        )


def _closed_sessions(organization: Organization, events: Iterable[UsageEvent]) -> frozenset[str]:
    named = {event.session_id for event in events} - {""}
    if not named:
        return frozenset()
    closed = LiveSessionTotal.objects.of(organization).filter(session_id__in=named, summaries__gt=0)
    return frozenset(closed.values_list("session_id", flat=True))


@dataclass(frozen=True, slots=True)
class _Anew:
    """What a call's tokens cost before, and by the price that holds now."""

    old_usd: Decimal
    new_usd: Decimal
    price_version_id: int | None

    @property
    def difference_usd(self) -> Decimal:
        return self.new_usd - self.old_usd


def _adjustment(event: UsageEvent, anew: _Anew, note: dict[str, Any]) -> LedgerEntry:
    return adjustment_of(
        event,
        reason=REPRICED,
        metadata=note,
        token_cost_usd=anew.difference_usd,
        price_version_id=anew.price_version_id,
    )


class _Work:
    """Prices calls anew and counts them."""

    def __init__(self, book: PriceBook, closed_sessions: frozenset[str]) -> None:
        self._book = book
        self._closed_sessions = closed_sessions
        self._figures: dict[tuple[str, str], ModelFigures] = {}

    @property
    def figures(self) -> list[ModelFigures]:
        return list(self._figures.values())

    def price(self, adjusted_event: AdjustedEvent) -> _Anew | None:
        """None: the call is left alone."""
        event = adjusted_event.event
        figures = self._figures.setdefault((event.service, event.model), ModelFigures(event.service, event.model))
        anew = self._anew(adjusted_event)
        if anew is None:
            figures.left_alone += 1
            return None
        figures.events += 1
        figures.changed += bool(anew.difference_usd)
        figures.old_usd += anew.old_usd
        figures.new_usd += anew.new_usd
        return anew

    def _anew(self, adjusted_event: AdjustedEvent) -> _Anew | None:
        event = adjusted_event.event
        if (
            not adjusted_event.is_priced
            or adjusted_event.has_manual_correction
            or event.session_id in self._closed_sessions
        ):
            return None
        old = adjusted_event.amount("token_cost_usd")
        if event.price_version_id is None and event.token_cost_usd is not None:
            # A failed call without token counts is free, whatever the prices are.
            return _Anew(old, old, None)
        price = self._book.find(event.service, event.model, event.occurred_at)
        if price is None or (TokenUsage.of(event) == _NO_TOKENS and not price.charges_requests):
            # Of a call without tokens the ledger does not know whether it used none or never said.
            return None
        cost = cost_of(event, price)
        return None if cost is None else _Anew(old, cost, price.price_version_id)
