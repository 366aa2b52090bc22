"""Reserve an amount in one round trip to PostgreSQL, which locks, reads, decides and writes.

Authorizations of an organization usually share a limit, so the time for which its lock is held bounds the throughput.
This fast path counts all spend of the hour in which a rolling window begins. If it cannot prove that a limit has room,
it refuses, and `billing.limits.authorize` retries with exact balances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.db import connection

from billing.limits.evaluate import window_span
from billing.limits.types import Dimensions, Rule
from costtrack.tenancy import tenant_reads
from organizations.models import Organization

# A request that waits longer than this for a lock gets a 503.
_PREPARE = "SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '5s'"
_LOCK = "SELECT pg_advisory_xact_lock(keys.key) FROM unnest(%s::bigint[]) AS keys (key)"
# billing/migrations/sql/0004_limit_reserve.sql. A constant, because composing the statement would take as long as
# executing it.
_RESERVE = """
SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '5s'; SELECT * FROM billing_reserve(
    %s, %s::bigint[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s, %s, %s, %s, %s, %s,
    %s, %s, %s, %s, %s, %s, %s, %s, %s::text[])
"""
_SETTINGS = 2


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """The reservation to make."""

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
    """The result of `try_reserve`. `revision` is that of the current limits; `left_usd` has a lower bound of the
    remaining amount for each rule."""

    is_granted: bool
    revision: int
    left_usd: tuple[Decimal, ...] = ()
    is_certain: bool = True
    """Whether a refusal is exact, because no upper bound was used."""


def try_reserve(
    *, organization: Organization, rules: Sequence[Rule], revision: int, reservation_request: ReservationRequest
) -> ReservationResult:
    """Reserve the amount, unless a limit has no room, the limits have changed, or the idempotency key was used."""
    now, call = reservation_request.created_at, reservation_request.dimensions
    parameters = [
        organization.pk,
        lock_keys(rules),
        [rule.scope.value for rule in rules],
        [rule.value for rule in rules],
        [window_span(rule.window, organization.calendar, now).start for rule in rules],
        [rule.fallback_price for rule in rules],
        [_max_committed_usd(rule) for rule in rules],
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
    balances = [row[2:] for row in rows if row[2] is not None]
    left = tuple(
        rule.amount_usd - spent - edge - reserved for rule, (spent, edge, reserved) in zip(rules, balances, strict=True)
    )
    is_granted = rows[0][0]
    return ReservationResult(
        is_granted=is_granted,
        revision=rows[0][1],
        left_usd=tuple(amount - reservation_request.amount_usd for amount in left) if is_granted else left,
        is_certain=not any(edge for _, edge, _ in balances),
    )


def lock_keys(rules: Sequence[Rule]) -> list[int]:
    """Return the advisory lock keys of the limits and values, in the order in which they must be taken."""
    return sorted({_lock_key(rule) for rule in rules if _max_committed_usd(rule) is not None})


def _max_committed_usd(rule: Rule) -> Decimal | None:
    """Return the maximum of spent and reserved amounts; None if the limit refuses nothing."""
    if rule.is_paused_manually:
        return Decimal("-Infinity")
    return rule.amount_usd if rule.pauses else None


def set_transaction_options() -> None:
    """Set asynchronous commit and the lock timeout for the current transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_PREPARE)


def lock_rules(rules: Sequence[Rule]) -> None:
    """Lock the rules' limits and values in the current transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [lock_keys(rules)])


def to_columns(reservation_request: ReservationRequest) -> dict[str, Any]:
    """Return the columns of the authorization's row other than its state, amount and creation time."""
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
