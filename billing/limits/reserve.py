"""Granting an authorization by one message to PostgreSQL: it locks, reads, decides and writes, and nobody waits for
Python meanwhile. Authorizations of one organization mostly share a limit, so how long its lock is held is how many of
them there can be.

What it cannot tell for sure it does not grant (`billing.limits.authorize` looks more closely then): of the hour in
which a rolling window begins it takes all that it may have cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.db import connection

from billing.limits.evaluate import span_of
from billing.limits.types import Dimensions, Rule
from costtrack.tenancy import tenant_reads
from organizations.models import Organization

# Whoever waits for a lock for longer than this is told to try again (503).
_PREPARE = "SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '5s'"
_LOCK = "SELECT pg_advisory_xact_lock(told.key) FROM unnest(%s::bigint[]) AS told (key)"
# billing/migrations/0015. Written once: composing takes as long as asking.
_RESERVE = """
SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '5s'; SELECT * FROM billing_reserve(
    %s, %s::bigint[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s, %s, %s, %s, %s, %s,
    %s, %s, %s, %s, %s, %s, %s, %s, %s::text[])
"""
_SETTINGS = 2


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """A reservation to be."""

    id: UUID
    credential_id: int | None
    dimensions: Dimensions
    amount_usd: Decimal
    created_at: datetime
    expires_at: datetime
    idempotency_key: str
    payload_hash: int


@dataclass(frozen=True, slots=True)
class ReservationResult:
    """`revision` is that of the limits at that moment; `left_usd`, for each rule, what is at least left."""

    is_granted: bool
    revision: int
    left_usd: tuple[Decimal, ...] = ()
    is_sure: bool = True
    """Whether a refusal is certain: nothing had to be taken at its most."""


def grant(
    *, organization: Organization, rules: Sequence[Rule], revision: int, reservation_request: ReservationRequest
) -> ReservationResult:
    """Reserve, unless a limit has no room, the limits have changed, or the idempotency key was used."""
    now, call = reservation_request.created_at, reservation_request.dimensions
    parameters = [
        organization.pk,
        lock_keys(rules),
        [rule.scope.value for rule in rules],
        [rule.value for rule in rules],
        [span_of(rule.window, organization.calendar, now).start for rule in rules],
        [rule.fallback_price for rule in rules],
        [_bound(rule) for rule in rules],
        revision,
        *(
            reservation_request.id,
            reservation_request.credential_id,
            reservation_request.amount_usd,
            now,
            reservation_request.expires_at,
            reservation_request.idempotency_key,
            reservation_request.payload_hash,
        ),
        *(call.service, call.model, call.user_ref, call.workflow_id, call.run_id, call.session_id, list(call.tags)),
    ]
    with tenant_reads(organization.pk), connection.cursor() as cursor:
        cursor.execute(_RESERVE, parameters)
        for _ in range(_SETTINGS):
            cursor.nextset()
        rows = cursor.fetchall()
    metered = [row[2:] for row in rows if row[2] is not None]
    left = tuple(
        rule.amount_usd - spent - edge - held for rule, (spent, edge, held) in zip(rules, metered, strict=True)
    )
    is_granted = rows[0][0]
    return ReservationResult(
        is_granted=is_granted,
        revision=rows[0][1],
        left_usd=tuple(amount - reservation_request.amount_usd for amount in left) if is_granted else left,
        is_sure=not any(edge for _, edge, _ in metered),
    )


def lock_keys(rules: Sequence[Rule]) -> list[int]:
    """What authorizations under these limits lock, in the one order: a key for each limit and value."""
    return sorted({_lock_key(rule) for rule in rules if _bound(rule) is not None})


def _bound(rule: Rule) -> Decimal | None:
    """What spend and holds must not pass; None: whatever they are."""
    if rule.is_paused_by_hand:
        return Decimal("-Infinity")
    return rule.amount_usd if rule.pauses else None


def prepare() -> None:
    """What every granting transaction begins with."""
    with connection.cursor() as cursor:
        cursor.execute(_PREPARE)


def lock(rules: Sequence[Rule]) -> None:
    """Take the locks in the transaction that is open."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [lock_keys(rules)])


def columns(reservation_request: ReservationRequest) -> dict[str, Any]:
    """What the reservation's row holds, without the moment and the amount."""
    call = reservation_request.dimensions
    return {
        "id": reservation_request.id,
        "expires_at": reservation_request.expires_at,
        "idempotency_key": reservation_request.idempotency_key,
        "payload_hash": reservation_request.payload_hash,
        "service": call.service,
        "model": call.model,
        "user_ref": call.user_ref,
        "workflow_id": call.workflow_id,
        "run_id": call.run_id,
        "session_id": call.session_id,
        "tags": list(call.tags),
    }


def _lock_key(rule: Rule) -> int:
    digest = blake2b(f"limit {rule.limit_id} {rule.value}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
