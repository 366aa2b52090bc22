"""Manual corrections of an event: void it, or set its cost. Both append an adjustment and are audited."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import F

from billing.archives.lookup import find_archived_event
from billing.ledger.adjustments import adjustment_of, note
from billing.ledger.append import append
from billing.ledger.locks import lock_event_corrections
from billing.ledger.net_cost import AMOUNTS, COUNTS, AdjustedEvent, adjustments_of, load_adjusted_event
from billing.ledger.types import Appended, LedgerEntry
from billing.models import DroppedMonth, UnpricedEvent, UsageEvent
from billing.types import CorrectionKind, EventKind
from costtrack.errors import ConflictError, NotFoundError, field_error
from costtrack.ids import event_ids, received_at
from costtrack.money import DECIMALS, MAX_AMOUNT_USD, plain, to_storable
from costtrack.tenancy import owner_scope, tenant_scope
from costtrack.text import clean_text
from organizations import audit
from organizations.models import Organization

_INSTANT = timedelta(microseconds=1)
# Events that one step corrects. Each takes a lock, and PostgreSQL's lock table is small.
_CHUNK = 500
# The cost of these kinds is compute cost; that of model calls is token cost.
_WITHOUT_TOKENS = (EventKind.TOOL_CALL.value, EventKind.COMPUTE.value)


@dataclass(frozen=True, slots=True)
class Corrected:
    """The appended adjustment, and the cost of its event before (None if unknown) and now."""

    adjustment: UsageEvent
    cost_before_usd: Decimal | None
    cost_now_usd: Decimal


def void(*, organization: Organization, event_id: UUID, reason: str, actor: str, now: datetime) -> Corrected:
    """Remove the current counts and cost of the event from all totals.

    Its key stays, so sending it again is a duplicate. An archived event is corrected, too.

    Raises NotFoundError; ConflictError if the event is already voided or the row cannot be corrected; InvalidError for
    the reason; StorageError if the archive cannot be read.
    """
    reason = clean_text(reason, param="reason")

    def correct(adjusted_event: AdjustedEvent) -> Corrected:
        changes = _negated(adjusted_event)
        return _correct(organization, adjusted_event, CorrectionKind.VOID, changes, reason=reason, actor=actor, now=now)

    return _correct_event(organization, event_id, correct)


def adjust(
    *, organization: Organization, event_id: UUID, cost_usd: Decimal, reason: str, actor: str, now: datetime
) -> Corrected:
    """Set the net cost of the event to `cost_usd`, also if its cost was unknown. Its counts do not change.

    Raises the errors of `void`; ConflictError also if the event already has that cost, InvalidError also for the cost.
    """
    reason, cost_usd = clean_text(reason, param="reason"), _validate_cost(cost_usd)

    def correct(adjusted_event: AdjustedEvent) -> Corrected:
        if adjusted_event.cost_usd == cost_usd:
            raise ConflictError(
                f"cost_usd: The cost of the event is already {plain(cost_usd)} USD.", code="nothing_to_adjust"
            )
        changes = {**_difference(adjusted_event, cost_usd), "unpriced": -adjusted_event.count("unpriced")}
        return _correct(
            organization, adjusted_event, CorrectionKind.ADJUST, changes, reason=reason, actor=actor, now=now
        )

    return _correct_event(organization, event_id, correct)


def take_back(*, organization: Organization, events: Iterable[UsageEvent], reason: str, now: datetime) -> None:
    """Void estimated events, because their usage has arrived from elsewhere. Runs in the caller's transaction."""
    events = list(events)
    for start in range(0, len(events), _CHUNK):
        chunk = events[start : start + _CHUNK]
        lock_event_corrections(organization.pk, (event.pk for event in chunk))
        adjustments = adjustments_of(chunk)
        adjusted_events = (AdjustedEvent(event, adjustments.get(event.pk, ())) for event in chunk)
        voided = [adjusted_event for adjusted_event in adjusted_events if not adjusted_event.is_voided]
        if not voided:
            continue
        metadata = note(CorrectionKind.VOID, actor="", reason=reason)
        entries = [
            adjustment_of(
                adjusted_event.event,
                reason=reason,
                attributed=adjusted_event.attributed,
                metadata=metadata,
                **_negated(adjusted_event),
            )
            for adjusted_event in voided
        ]
        append_adjustments(organization, entries, now, after=chain.from_iterable(adjustments.values()))
        pending = [adjusted_event.event.pk for adjusted_event in voided]
        UnpricedEvent.objects.of(organization).filter(event_id__in=pending).delete()


def _negated(adjusted_event: AdjustedEvent) -> dict[str, Any]:
    """Return the changes that take the current counts and cost of an event out of all totals."""
    changes: dict[str, Any] = {name: -adjusted_event.count(name) for name in COUNTS}
    return changes | {name: -adjusted_event.amount(name) for name in AMOUNTS}


def append_adjustments(
    organization: Organization, entries: Sequence[LedgerEntry], now: datetime, *, after: Iterable[UsageEvent] = ()
) -> Appended:
    """Write adjustments as one batch.

    It is received later than the adjustments that the events already have (`after`), so that their order is the one in
    which they were made. `now` may be earlier, because a correction waits for others of the same event, and clocks
    differ.
    """
    received_at = max((now, *(adjustment.received_at + _INSTANT for adjustment in after)))
    return append(
        organization_id=organization.pk,
        credential_id=None,
        format="adjustment",
        entries=entries,
        rejected=0,
        now=received_at,
    )


def why_not_correctable(adjusted_event: AdjustedEvent) -> ConflictError | None:
    """Return the error if a row of the ledger cannot be corrected."""
    event = adjusted_event.event
    if event.kind == EventKind.ADJUSTMENT.value:
        message = "This row is an adjustment. Correct its event instead."
        return ConflictError(message, code="is_adjustment", extra={"adjusts": str(event.adjusts)})
    if event.kind == EventKind.CREDIT.value:
        return ConflictError("This row is part of a credit. Void the credit instead.", code="is_credit")
    if event.kind == EventKind.SESSION_SUMMARY.value:
        message = "A session summary cannot be corrected. Send another summary to replace it."
        return ConflictError(message, code="is_session_summary")
    if adjusted_event.is_voided:
        return ConflictError("The event is already voided.", code="already_voided")
    return None


def _correct_event(
    organization: Organization, event_id: UUID, correct: Callable[[AdjustedEvent], Corrected]
) -> Corrected:
    """Correct an event of the ledger, or an archived one. Files are read while no lock is held; what they have does not
    change."""
    with tenant_scope(organization.pk):
        adjusted_event = _correctable(organization, event_id)
        if adjusted_event is not None:
            return correct(adjusted_event)
    archived = find_archived_event(organization=organization, event_id=event_id)
    with tenant_scope(organization.pk):
        adjusted_event = _correctable(organization, event_id, archived)
        if adjusted_event is None:
            raise NotFoundError("No such event.")
        return correct(adjusted_event)


def _correctable(
    organization: Organization, event_id: UUID, archived: UsageEvent | None = None
) -> AdjustedEvent | None:
    """Return the event, locked against other corrections and pricing until the transaction ends; None if it is neither
    in the ledger nor `archived`."""
    lock_event_corrections(organization.pk, [event_id])
    event = UsageEvent.objects.of(organization).filter(pk=event_id).first() or archived
    if event is None:
        return None
    adjusted_event = load_adjusted_event(event)
    refusal = why_not_correctable(adjusted_event)
    if refusal is not None:
        raise refusal
    return adjusted_event


def _correct(
    organization: Organization,
    adjusted_event: AdjustedEvent,
    kind: CorrectionKind,
    changes: dict[str, Any],
    *,
    reason: str,
    actor: str,
    now: datetime,
) -> Corrected:
    event, metadata = adjusted_event.event, note(kind, actor=actor, reason=reason)
    entries = [adjustment_of(event, reason=reason, attributed=adjusted_event.attributed, metadata=metadata, **changes)]
    appended = append_adjustments(organization, entries, now, after=adjusted_event.adjustments)
    # The cost is known now.
    UnpricedEvent.objects.of(organization).filter(event_id=event.pk).delete()
    if event.is_archived and changes["unpriced"]:
        _count_as_priced(organization, event, changes["unpriced"])
    adjustment = UsageEvent.objects.of(organization).get(pk=event_ids(appended.batch_id, 1)[0])
    before, after = (
        adjusted_event.cost_usd,
        AdjustedEvent(event, (*adjusted_event.adjustments, adjustment)).known_cost_usd,
    )
    audit.record(
        organization=organization,
        actor=actor,
        action="event.voided" if kind is CorrectionKind.VOID else "event.adjusted",
        subject=str(event.pk),
        reason=reason,
        cost_before_usd=None if before is None else plain(before),
        cost_now_usd=plain(after),
        adjustment=str(adjustment.pk),
    )
    return Corrected(adjustment, before, after)


def _count_as_priced(organization: Organization, event: UsageEvent, change: int) -> None:
    """Correct the number of dropped events without a price, with which the queue of the others is compared."""
    month = received_at(event.pk).date().replace(day=1)
    with owner_scope():  # no tenant may change it otherwise
        DroppedMonth.objects.of(organization).filter(month=month).update(unpriced=F("unpriced") + change)


def _difference(adjusted_event: AdjustedEvent, cost_usd: Decimal) -> dict[str, Decimal]:
    """Return the changes of both costs. The main cost of this kind changes; the other changes only if the main cost
    would become negative."""
    columns = ("token_cost_usd", "compute_cost_usd")
    main, other = reversed(columns) if adjusted_event.event.kind in _WITHOUT_TOKENS else columns
    other_cost = min(adjusted_event.amount(other), cost_usd)
    return {
        main: cost_usd - other_cost - adjusted_event.amount(main),
        other: other_cost - adjusted_event.amount(other),
    }


def _validate_cost(cost_usd: Decimal) -> Decimal:
    if not cost_usd.is_finite() or not 0 <= cost_usd <= MAX_AMOUNT_USD:
        raise field_error("cost_usd", f"Must be an amount from 0 to {MAX_AMOUNT_USD}.")
    storable = to_storable(cost_usd)
    if storable != cost_usd:
        raise field_error("cost_usd", f"At most {DECIMALS} decimals are allowed.")
    return storable
