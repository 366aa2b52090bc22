"""Corrections of one event by a person: void it, or say what it costs. Both append an adjustment and are audited."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.ledger.adjustments import adjustment_of, note
from billing.ledger.append import append
from billing.ledger.locks import correction_lock
from billing.ledger.net_cost import AMOUNTS, COUNTS, AdjustedEvent, load_adjusted_event
from billing.models import UnpricedEvent, UsageEvent
from billing.types import CorrectionKind, EventKind
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from costtrack.ids import event_ids
from costtrack.money import DECIMALS, LARGEST, plain, to_storable
from costtrack.tenancy import tenant_scope
from organizations import audit
from organizations.models import Organization

MAX_REASON_LENGTH = 255

# What these cost is compute cost; what model calls cost is token cost.
_WITHOUT_TOKENS = (EventKind.TOOL_CALL.value, EventKind.COMPUTE.value)


@dataclass(frozen=True, slots=True)
class Corrected:
    """The adjustment that was appended, and what its event cost before (None: it was not known) and costs now."""

    adjustment: UsageEvent
    cost_before_usd: Decimal | None
    cost_now_usd: Decimal


def void(*, organization: Organization, event_id: UUID, reason: str, actor: str, now: datetime) -> Corrected:
    """Take back all that the event counts and costs now: every sum is as if it had not been.

    Its id stays known, so sent again it is a duplicate. Raises NotFoundError; ConflictError for an event that is
    voided already and for rows that are no events of their own; InvalidError for the reason.
    """
    reason = checked_reason(reason)
    with tenant_scope(organization.pk):
        adjusted_event = _correctable(organization, event_id)
        changes: dict[str, Any] = {name: -adjusted_event.count(name) for name in COUNTS}
        changes |= {name: -adjusted_event.amount(name) for name in AMOUNTS}
        return _correct(organization, adjusted_event, CorrectionKind.VOID, changes, reason=reason, actor=actor, now=now)


def adjust(
    *, organization: Organization, event_id: UUID, cost_usd: Decimal, reason: str, actor: str, now: datetime
) -> Corrected:
    """Make the event cost exactly `cost_usd` now, also one whose cost was not known. Its counts stay.

    Raises what `void` raises; ConflictError also if it costs that already, InvalidError also for the cost.
    """
    reason, cost_usd = checked_reason(reason), _checked_cost(cost_usd)
    with tenant_scope(organization.pk):
        adjusted_event = _correctable(organization, event_id)
        if adjusted_event.cost_usd == cost_usd:
            raise ConflictError(f"cost_usd: the event costs {plain(cost_usd)} USD already.", code="nothing_to_adjust")
        changes = {**_difference(adjusted_event, cost_usd), "unpriced": -adjusted_event.count("unpriced")}
        return _correct(
            organization, adjusted_event, CorrectionKind.ADJUST, changes, reason=reason, actor=actor, now=now
        )


def checked_reason(reason: str) -> str:
    """The reason on one line. Raises InvalidError."""
    reason = " ".join(reason.split())
    if not reason:
        raise InvalidError("reason: A reason is required.", param="reason")
    if len(reason) > MAX_REASON_LENGTH:
        raise InvalidError(f"reason: at most {MAX_REASON_LENGTH} characters.", param="reason")
    if "\0" in reason:
        raise InvalidError("reason: no NUL characters.", param="reason")
    return reason


def why_not_correctable(adjusted_event: AdjustedEvent) -> ConflictError | None:
    """What keeps a row of the ledger from being corrected, if anything."""
    event = adjusted_event.event
    if event.kind == EventKind.ADJUSTMENT.value:
        message = "This row is an adjustment. Correct the event that it belongs to."
        return ConflictError(message, code="is_adjustment", extra={"adjusts": str(event.adjusts)})
    if event.kind == EventKind.SESSION_SUMMARY.value:
        message = "A session's summary is corrected by sending another one, which takes its place."
        return ConflictError(message, code="is_session_summary")
    if adjusted_event.is_voided:
        return ConflictError("The event is voided already.", code="already_voided")
    return None


def _correctable(organization: Organization, event_id: UUID) -> AdjustedEvent:
    """The event as it stands, and stays until the transaction ends: other corrections, and what would price it,
    wait."""
    correction_lock(organization.pk, event_id)
    event = UsageEvent.objects.of(organization).filter(pk=event_id).first()
    if event is None:
        raise NotFoundError("No such event.")
    UnpricedEvent.objects.of(organization).select_for_update().filter(event_id=event_id).first()
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
    appended = append(
        organization_id=organization.pk,
        credential_id=None,
        format="adjustment",
        entries=[adjustment_of(event, reason=reason, metadata=metadata, **changes)],
        rejected=0,
        now=now,
    )
    # Whatever it was, its cost is known now.
    UnpricedEvent.objects.of(organization).filter(event_id=event.pk).delete()
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


def _difference(adjusted_event: AdjustedEvent, cost_usd: Decimal) -> dict[str, Decimal]:
    """The change goes to the part that this kind of event is about; only what would make it negative goes to the
    other."""
    parts = ("token_cost_usd", "compute_cost_usd")
    main, other = reversed(parts) if adjusted_event.event.kind in _WITHOUT_TOKENS else parts
    other_cost = min(adjusted_event.amount(other), cost_usd)
    return {
        main: cost_usd - other_cost - adjusted_event.amount(main),
        other: other_cost - adjusted_event.amount(other),
    }


def _checked_cost(cost_usd: Decimal) -> Decimal:
    if not cost_usd.is_finite() or not 0 <= cost_usd <= LARGEST:
        raise InvalidError(f"cost_usd: an amount from 0 to {LARGEST}.", param="cost_usd")
    storable = to_storable(cost_usd)
    if storable != cost_usd:
        raise InvalidError(f"cost_usd: at most {DECIMALS} decimals.", param="cost_usd")
    return storable
