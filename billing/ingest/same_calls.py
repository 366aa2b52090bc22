"""Completion of an event by later reports of the same call from other sources (docs/ingestion.md).

A later report is a duplicate. What it knows and the event does not (session, user, tags, tier, caches, a cost, a better
witness of the cost) is added by adjustments. If dimensions change, one adjustment takes the event out of the old ones
and another one puts it into the new ones, so every rollup stays right.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from billing.ingest.types import ParsedEvent
from billing.ledger.adjustments import adjustment_of, note
from billing.ledger.calls import CONDITION_COLUMNS, MERGED, call_of, conditions_of, is_flagged
from billing.ledger.corrections import append_adjustments
from billing.ledger.locks import lock_event_corrections
from billing.ledger.net_cost import AMOUNTS, COUNTS, AdjustedEvent, adjustments_of
from billing.ledger.price_unpriced import computed_columns
from billing.ledger.types import LedgerEntry
from billing.models import Session, UnpricedEvent, UsageEvent
from billing.pricing.agreements import agreement_for
from billing.pricing.canonical import service_name
from billing.pricing.cost_choice import CostChoice, choose_cost
from billing.pricing.kinds import (
    TOKEN_COUNTS,
    TOKEN_KINDS,
    Quantities,
    Quantity,
    from_counts,
    quantities_as_json,
    to_columns,
)
from billing.pricing.price_book import PriceBook, price_book
from billing.pricing.quote import Call, Quote
from billing.types import CorrectionKind, EventKind
from costtrack.money import MAX_AMOUNT_USD
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

Report = tuple[UUID, ParsedEvent, LedgerEntry]
"""The event of a call, and a later report of it."""

# Events that one transaction completes. Each takes a lock, and PostgreSQL's lock table is small.
_CHUNK = 500
# What a later report may add to the dimensions of an event. (Its service and model are what it was priced as.)
_DIMENSIONS = (
    "cost_group",
    "run_id",
    "workflow_id",
    "execution_id",
    "phase_id",
    "workspace_id",
    "session_id",
    "group_id",
    "group_name",
    "agent_id",
    "agent_name",
    "end_user",
    "team",
    "tool",
)
_COSTS = ("provider_cost_usd", "stated_cost_usd", "gateway_cost_usd")
_MODEL = ("service", "model", "sent_model")
_PARTS = TOKEN_KINDS - {"input", "output"}


def complete_events(organization: Organization, reports: Sequence[Report], now: datetime) -> None:
    """Add to the events what the reports know besides. Events that a user has corrected, that retention has dropped, or
    whose session has a summary are left alone."""
    by_event: dict[UUID, list[Report]] = {}
    for report in reports:
        by_event.setdefault(report[0], []).append(report)
    event_ids = sorted(by_event)
    for start in range(0, len(event_ids), _CHUNK):
        _complete(organization, {event_id: by_event[event_id] for event_id in event_ids[start : start + _CHUNK]}, now)


def _complete(organization: Organization, by_event: Mapping[UUID, Sequence[Report]], now: datetime) -> None:
    with tenant_scope(organization.pk):
        events = UsageEvent.objects.of(organization).filter(id__in=by_event, kind=EventKind.MODEL_CALL.value)
        candidates = [event for event in events if any(_may_add(event, report) for report in by_event[event.pk])]
        if not candidates:
            return
        lock_event_corrections(organization.pk, (event.pk for event in candidates))
        adjustments = adjustments_of(candidates)
        completed = [
            _Completion(AdjustedEvent(event, adjustments.get(event.pk, ())), by_event[event.pk]) for event in candidates
        ]
        closed = _closed_sessions(organization, completed)
        prices = price_book(organization.pk)
        entries = [
            entry
            for completion in completed
            if not closed.intersection(completion.sessions)
            for entry in completion.entries(prices)
        ]
        if entries:
            append_adjustments(organization, entries, now, after=chain.from_iterable(adjustments.values()))
            _update_queue(organization, entries)


def _update_queue(organization: Organization, entries: Iterable[LedgerEntry]) -> None:
    """Remove the events that are priced now from the queue, and name the models of the others in it."""
    pending: dict[UUID, int] = {}
    models: dict[UUID, LedgerEntry] = {}
    for entry in entries:
        if entry.adjusts is not None:
            pending[entry.adjusts] = pending.get(entry.adjusts, 0) + entry.unpriced
            models[entry.adjusts] = entry
    queue = UnpricedEvent.objects.of(organization)
    queue.filter(event_id__in=[event_id for event_id, unpriced in pending.items() if unpriced < 0]).delete()
    for queued in queue.filter(event_id__in=models.keys(), model=""):
        queued.service, queued.model = models[queued.event_id].service or "", models[queued.event_id].model or ""
        queued.save(update_fields=("service", "model"))


def _may_add(event: UsageEvent, report: Report) -> bool:
    """Whether the report has something that the event as it was stored has not. (Its adjustments are read later.)"""
    _, parsed, entry = report
    return (
        event.token_cost_usd is None
        or parsed.is_from_provider
        or any(
            getattr(entry, name) and not getattr(event, name) for name in (*_DIMENSIONS, *CONDITION_COLUMNS, "user_ref")
        )
        or bool(entry.tags and not event.tags)
        or bool(entry.authorization_id and not event.authorization_id)
        or any(getattr(entry, name) is not None and getattr(event, name) is None for name in _COSTS)
        or any((getattr(entry, name) or 0) > getattr(event, name) for name in TOKEN_COUNTS)
    )


def _closed_sessions(organization: Organization, completions: Iterable["_Completion"]) -> frozenset[str]:
    named = {session for completion in completions for session in completion.sessions}
    if not named:
        return frozenset()
    closed = Session.live().objects.of(organization).filter(session_id__in=named, summaries__gt=0)
    return frozenset(closed.values_list("session_id", flat=True))


class _Completion:
    """What the reports of one call add to its event."""

    def __init__(self, adjusted_event: AdjustedEvent, reports: Sequence[Report]) -> None:
        self._event = adjusted_event.event
        self._adjusted_event = adjusted_event
        self._current = adjusted_event.attributed
        self._reports = reports
        self._dimensions = {
            name: value
            for name in (*_DIMENSIONS, "user_ref", "tags", *(() if self._current.model else _MODEL))
            if not getattr(self._current, name)
            and (value := next((getattr(entry, name) for _, _, entry in reports if getattr(entry, name)), None))
        }
        authorization = next((entry.authorization_id for _, _, entry in reports if entry.authorization_id), None)
        if authorization and not any(row.authorization_id for row in (self._event, *adjusted_event.adjustments)):
            self._dimensions["authorization_id"] = authorization

    @property
    def sessions(self) -> frozenset[str]:
        return frozenset({self._current.session_id, self._dimensions.get("session_id", "")}) - {""}

    def entries(self, prices: PriceBook) -> list[LedgerEntry]:
        """Return the adjustments, none if nothing changes."""
        adjusted_event = self._adjusted_event
        if adjusted_event.has_manual_correction:
            return []
        changes = self._cost_changes(prices)
        metadata = note(CorrectionKind.MERGED, actor="", reason=MERGED)
        if self._dimensions:
            now: dict[str, Any] = {name: adjusted_event.count(name) for name in COUNTS}
            now |= {name: adjusted_event.amount(name) for name in AMOUNTS}
            entering: dict[str, Any] = {
                "cost_basis": self._current.cost_basis or self._event.cost_basis,
                "flags": self._event.flags,
            }
            entering |= {**now, **changes}
            entering |= {name: total + changes.get(name, 0) for name, total in now.items()}
            leaving = {name: -total for name, total in now.items()}
            leaving |= {"cost_basis": entering["cost_basis"], "flags": entering["flags"]}
            return [
                self._adjustment(metadata=metadata, **leaving),
                self._adjustment(metadata=metadata, **entering, **self._dimensions),
            ]
        return [self._adjustment(metadata=metadata, **changes)] if changes else []

    def _adjustment(self, **changes: Any) -> LedgerEntry:
        return adjustment_of(self._event, reason=MERGED, attributed=self._current, **changes)

    def _cost_changes(self, prices: PriceBook) -> dict[str, Any]:
        """Return the changes of counts and cost, if a report knows more of the usage, its conditions or its costs."""
        event, adjusted_event = self._event, self._adjusted_event
        call = call_of(event, adjusted_event.adjustments)
        requests, conditions = call.requests, dict(call.attributes)
        costs = {name: getattr(self._current, name) or getattr(event, name) for name in _COSTS}
        is_uncertain = is_flagged(event)
        model = call.model
        before = (requests, dict(conditions), model, costs["provider_cost_usd"], costs["stated_cost_usd"])
        for _, parsed, entry in self._reports:
            reported = _requests(parsed)
            if _is_better(reported, requests, is_from_provider=parsed.is_from_provider):
                requests, is_uncertain = reported, is_flagged(entry)
            for name, value in conditions_of(entry).items():
                conditions.setdefault(name, value)
            for name in _COSTS:
                costs[name] = getattr(entry, name) if costs[name] is None else costs[name]
            model = model or entry.sent_model or entry.model or ""
        service = self._dimensions.get("service", call.service)
        has_usage = call.has_usage or any(requests)
        quote = prices.quote(Call(service, model, call.occurred_at, requests, conditions, has_usage, call.sum_of))
        choice = self._choose(quote, costs, prices, is_uncertain=is_uncertain)
        cost_changes: dict[str, Any] = {}
        if choice.amount_usd is not None and choice.amount_usd <= MAX_AMOUNT_USD:
            cost_changes = {
                **computed_columns(quote),
                **costs,
                "cost_basis": choice.basis.value,
                "token_cost_usd": choice.amount_usd - adjusted_event.amount("token_cost_usd"),
                "unpriced": -max(adjusted_event.count("unpriced"), 0),
            }
        after = (requests, conditions, model, costs["provider_cost_usd"], costs["stated_cost_usd"])
        if not cost_changes and adjusted_event.is_priced:
            return {}
        if before == after and bool(cost_changes) == adjusted_event.is_priced:
            return {}
        counts, others = to_columns(_sum(requests))
        return {
            **cost_changes,
            **{name: counts[name] - adjusted_event.count(name) for name in TOKEN_COUNTS},
            "other_quantities": quantities_as_json(others) or None,
            "calls": list(map(quantities_as_json, requests)),
            "flags": event.flags if is_uncertain else None,
            "attributes": {name: value for name, value in conditions.items() if name not in CONDITION_COLUMNS} or None,
            **{name: conditions.get(name) for name in CONDITION_COLUMNS},
        }

    def _choose(self, quote: Quote, costs: dict[str, Any], prices: PriceBook, *, is_uncertain: bool) -> CostChoice:
        platform = service_name(self._event.service) if quote.model is None else quote.model.platform
        model = self._event.model if quote.model is None else quote.model.model
        return choose_cost(
            quote,
            provider_usd=costs["provider_cost_usd"],
            sender_usd=costs["stated_cost_usd"],
            gateway_usd=costs["gateway_cost_usd"],
            is_flagged=is_uncertain,
            agreement=agreement_for(prices.agreements, platform, model, self._event.occurred_at),
        )


def _requests(parsed: ParsedEvent) -> tuple[Quantities, ...]:
    """Return the quantities of a report; without any if its usage is not known."""
    if parsed.reading is not None:
        return parsed.reading.calls if parsed.reading.reason is None else ()
    counts = from_counts([getattr(parsed.event, name) for name in TOKEN_COUNTS])
    return (counts,) if counts else ()


def _is_better(reported: tuple[Quantities, ...], present: tuple[Quantities, ...], *, is_from_provider: bool) -> bool:
    """Whether a report knows the usage better: it has more parts, or the provider itself reports it."""
    if not any(reported):
        return False
    new, old = _sum(reported), _sum(present)
    return not old or _has_more_parts(new, old) or (is_from_provider and new != old and not _has_more_parts(old, new))


def _has_more_parts(new: Quantities, old: Quantities) -> bool:
    """Whether the new quantities divide the same tokens further: into caches, their lifetimes, reasoning, media."""
    if any(new.get(kind, 0) < old.get(kind, 0) for kind in _PARTS if kind != "cache_creation"):
        return False
    return any(new.get(kind, 0) > old.get(kind, 0) for kind in _PARTS)


def _sum(requests: Iterable[Quantities]) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for quantities in requests:
        for kind, quantity in quantities.items():
            total[kind] = total.get(kind, 0) + quantity
    return total
