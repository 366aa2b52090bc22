"""Repricing of model calls at current prices, by adjustments.

Calls with a computed cost are repriced, whether they were priced on arrival or later, and calls at a gateway's estimate
that have a price now. These are left alone:

* calls with a reported cost (they are not selected), and unpriced ones;
* events that a user has corrected: voided, or with a manual cost;
* calls of sessions with a summary, whose totals are authoritative;
* calls that no price covers any more.

A second pass changes nothing. The caller's transaction holds the locks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from billing.ledger.adjustments import REPRICED, adjustment_of
from billing.ledger.calls import call_of, is_flagged
from billing.ledger.corrections import append_adjustments
from billing.ledger.net_cost import AdjustedEvent, adjustments_of
from billing.ledger.price_unpriced import computed_columns
from billing.ledger.types import LedgerEntry
from billing.models import Repricing, Session, UsageEvent
from billing.pricing.agreements import agreement_for
from billing.pricing.cost_choice import choose_cost
from billing.pricing.kinds import TOKEN_COUNTS
from billing.pricing.price_book import PriceBook, identify_model, price_book, quote_at
from billing.pricing.quote import Quote
from billing.types import CostBasis, CostSource, EventKind
from costtrack.money import MAX_AMOUNT_USD, ZERO, plain
from organizations.models import Organization

# The columns that a dry run reads; adjustments copy all of them.
_READ = (
    *("id", "organization", "kind", "occurred_at", "service", "model", "sent_model", "session_id"),
    *("unpriced", "unpriced_reason"),
    *("token_cost_usd", "compute_cost_usd", "price_version", *TOKEN_COUNTS),
    *("other_quantities", "calls", "service_tier", "region", "attributes", "flags", "cost_basis", "gateway_cost_usd"),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Model calls that occurred in [start, end), of one service or model if it is named."""

    start: datetime
    end: datetime
    service: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """The position of an event in the order of time."""

    occurred_at: datetime
    id: UUID


@dataclass(slots=True)
class ModelFigures:
    """Totals of one model: how many calls were repriced (`events`), how many of them changed, how many were left alone,
    and the cost of the repriced ones before and after."""

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

    def add_to(self, totals: "ModelFigures | Repricing") -> None:
        for name in ("events", "changed", "left_alone", "old_usd", "new_usd"):
            setattr(totals, name, getattr(totals, name) + getattr(self, name))

    def as_json(self) -> dict[str, str | int]:
        return {
            **{name: getattr(self, name) for name in ("service", "model", "events", "changed", "left_alone")},
            **{name: plain(getattr(self, name)) for name in ("old_usd", "new_usd")},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ModelFigures":
        return cls(**{**data, "old_usd": Decimal(data["old_usd"]), "new_usd": Decimal(data["new_usd"])})


@dataclass(frozen=True, slots=True)
class StepResult:
    """The figures of a step, and the last event that it examined (None if there are no more)."""

    figures: Sequence[ModelFigures]
    last: Position | None


def selected(organization: Organization, selection: Selection, after: Position | None = None) -> QuerySet[UsageEvent]:
    """Return the calls to reprice after a position, in the order of time, which the index on time supports."""
    events = UsageEvent.objects.of(organization)
    # Exactly one lower bound, at which the index is entered.
    if after is None:
        events = events.filter(occurred_at__gte=selection.start)
    else:
        events = events.after(after.occurred_at, after.id)
    events = events.filter(
        occurred_at__lt=selection.end,
        kind=EventKind.MODEL_CALL.value,
    ).filter(Q(cost_source=CostSource.COMPUTED.value) | Q(cost_basis=CostBasis.GATEWAY.value))
    if selection.service:
        events = events.filter(service=selection.service)
    if selection.model:
        # Events from before models had an identity have the name as sent.
        identity = identify_model(organization.pk, selection.model, now=selection.start)
        events = events.filter(model__in={identity, selection.model})
    return events.order_by("occurred_at", "id")


def reprice_step(
    *,
    organization: Organization,
    selection: Selection,
    after: Position | None,
    limit: int,
    note: dict[str, Any] | None,
    now: datetime,
) -> StepResult:
    """Reprice the next `limit` calls after a position.

    With a note (the metadata of the adjustments) the differences are appended as one batch; without one nothing is
    written.
    """
    events = selected(organization, selection, after)
    if note is None:
        events = events.only(*_READ)
    chunk = list(events[:limit])
    adjustments = adjustments_of(chunk)
    repricer = _Repricer(price_book(organization.pk), _closed_sessions(organization, chunk))
    entries = []
    for event in chunk:
        adjusted_event = AdjustedEvent(event, adjustments.get(event.pk, ()))
        repriced = repricer.price(adjusted_event)
        if note is not None and repriced is not None and repriced.difference_usd:
            entries.append(_adjustment(adjusted_event, repriced, note))
    if entries:
        append_adjustments(organization, entries, now, after=chain.from_iterable(adjustments.values()))
    last = Position(chunk[-1].occurred_at, chunk[-1].pk) if len(chunk) == limit else None
    return StepResult(repricer.figures, last)


def _closed_sessions(organization: Organization, events: Iterable[UsageEvent]) -> frozenset[str]:
    named = {event.session_id for event in events} - {""}
    if not named:
        return frozenset()
    closed = Session.live().objects.of(organization).filter(session_id__in=named, summaries__gt=0)
    return frozenset(closed.values_list("session_id", flat=True))


@dataclass(frozen=True, slots=True)
class _Repriced:
    """The token cost of a call before, and at the current price."""

    old_usd: Decimal
    new_usd: Decimal
    quote: Quote

    @property
    def difference_usd(self) -> Decimal:
        return self.new_usd - self.old_usd


def _adjustment(adjusted_event: AdjustedEvent, repriced: _Repriced, note: dict[str, Any]) -> LedgerEntry:
    return adjustment_of(
        adjusted_event.event,
        reason=REPRICED,
        attributed=adjusted_event.attributed,
        metadata=note,
        token_cost_usd=repriced.difference_usd,
        **computed_columns(repriced.quote),
    )


class _Repricer:
    """Reprices calls and collects the figures."""

    def __init__(self, prices: PriceBook, closed_sessions: frozenset[str]) -> None:
        self._prices = prices
        self._closed_sessions = closed_sessions
        self._figures: dict[tuple[str, str], ModelFigures] = {}

    @property
    def figures(self) -> list[ModelFigures]:
        return list(self._figures.values())

    def price(self, adjusted_event: AdjustedEvent) -> _Repriced | None:
        """Reprice a call; None if it is left alone."""
        event = adjusted_event.event
        figures = self._figures.setdefault((event.service, event.model), ModelFigures(event.service, event.model))
        repriced = self._reprice(adjusted_event)
        if repriced is None:
            figures.left_alone += 1
            return None
        figures.events += 1
        figures.changed += bool(repriced.difference_usd)
        figures.old_usd += repriced.old_usd
        figures.new_usd += repriced.new_usd
        return repriced

    def _reprice(self, adjusted_event: AdjustedEvent) -> _Repriced | None:
        event = adjusted_event.event
        if (
            not adjusted_event.is_priced
            or adjusted_event.has_manual_correction
            or event.session_id in self._closed_sessions
        ):
            return None
        old = adjusted_event.amount("token_cost_usd")
        is_computed = event.cost_basis != CostBasis.GATEWAY
        if is_computed and event.price_version_id is None and event.token_cost_usd is not None:
            # A failed call without token counts is free, whatever the prices are.
            return _Repriced(old, old, Quote())
        call = call_of(event, adjusted_event.adjustments)
        price = self._prices.find(event.service, event.model_as_sent, event.occurred_at)
        if price is None or (not any(call.requests) and not price.charges_requests):
            # The usage of a call without tokens may be zero or unknown.
            return None
        quote = quote_at(price, call, self._prices.agreements)
        agreements, at = self._prices.agreements, event.occurred_at
        agreement = agreement_for(agreements, price.model.platform, price.model.model, at)
        choice = choose_cost(
            quote, gateway_usd=event.gateway_cost_usd, is_flagged=is_flagged(event), agreement=agreement
        )
        cost = choice.amount_usd
        if quote.total_usd is None or cost is None or cost > MAX_AMOUNT_USD:
            return None
        return _Repriced(old, cost, quote)
