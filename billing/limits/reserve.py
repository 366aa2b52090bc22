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

import msgspec
from django.db import connection

from billing.limits.balances import rule_parameters, window_starts
from billing.limits.covered_spend import covered_parameters
from billing.limits.evaluate import max_committed_usd
from billing.limits.types import Rule
from billing.models import Authorization
from billing.types import LimitUnit
from costtrack.database.local_settings import execute_together
from costtrack.ids import ids_at
from costtrack.tenancy import tenant_reads
from organizations.credential_check import CredentialCheck, make_with_next_statement
from organizations.models import Organization

# A request that waits longer than this for a lock gets a 503.
_LOCK_TIMEOUT = ("SET LOCAL lock_timeout = '5s'", ())
_PREPARE = (("SET LOCAL synchronous_commit = off", ()), _LOCK_TIMEOUT)
_LOCK = "SELECT pg_advisory_xact_lock(keys.key) FROM unnest(%s::bigint[]) AS keys (key)"
# billing/migrations/sql/0027_limit_reserve.sql. A constant, because composing the statement would take as long as
# executing it.
_RESERVE = """
SELECT * FROM billing_reserve(
    %s, %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[],
    %s, %s, %s::numeric[], %s::numeric[], %s::numeric[], %s, %s)
"""
_EXTEND = """
UPDATE billing_authorization AS reservation SET expires_at = %s
WHERE reservation.organization_id = %s AND reservation.id = %s AND reservation.status = 'reserved'
    AND reservation.expires_at = %s AND reservation.expires_at > %s
    AND NOT EXISTS (
        SELECT FROM billing_authorization AS later WHERE later.organization_id = %s AND later.id >= %s
    )
"""
_COLUMNS = tuple(field.attname for field in Authorization._meta.concrete_fields)  # noqa: SLF001 - documented for this
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ReservationResult:
    """The result of `try_reserve`. `revision` is that of the current limits; `left_usd` has a lower bound of the
    remaining amount for each rule."""

    is_granted: bool
    revision: int
    left_usd: tuple[Decimal, ...] = ()
    is_certain: bool = True
    """Whether a refusal is exact, because no upper bound was used."""
    uncovered_events: int = 0
    """How many unfolded events were added up (`billing.limits.covered_spend`)."""


def try_reserve(
    *,
    organization: Organization,
    rules: Sequence[Rule],
    revision: int,
    authorization: Authorization,
    credential_check: CredentialCheck | None = None,
) -> ReservationResult:
    """Insert the authorization, unless a limit has no room, the limits have changed, or the idempotency key was used.

    `authorization` is a row that is not stored yet. Raises CredentialChangedError if the credential has changed.
    """
    starts = window_starts(organization, rules, authorization.created_at)
    parameters: list[Any] = [
        organization.pk,
        lock_keys(rules),
        *rule_parameters(rules, starts),
        *covered_parameters(organization.pk, rules, starts, revision=revision),
        [max_committed_usd(rule) for rule in rules],
        revision,
        _encode({name: getattr(authorization, name) for name in _COLUMNS}).decode(),
    ]
    with (
        tenant_reads(organization.pk),
        make_with_next_statement([credential_check]),
        connection.cursor() as cursor,
    ):
        execute_together(cursor, *_PREPARE, (_RESERVE, parameters))
        rows = cursor.fetchall()
    balances = [row[2:5] for row in rows if row[2] is not None]
    left = tuple(
        rule.amount_usd - spent - edge - reserved for rule, (spent, edge, reserved) in zip(rules, balances, strict=True)
    )
    is_granted = rows[0][0]
    return ReservationResult(
        is_granted=is_granted,
        revision=rows[0][1],
        left_usd=tuple(
            amount - requested(rule, authorization) if is_granted else amount
            for rule, amount in zip(rules, left, strict=True)
        ),
        is_certain=not any(edge for _, edge, _ in balances),
        uncovered_events=rows[0][5] or 0,
    )


def try_extend(authorization: Authorization, *, rules: Sequence[Rule], expires_at: datetime, now: datetime) -> bool:
    """Let the authorization expire at another time, behind the locks of its limits, in one message.

    Returns False and changes nothing if it has ended, if its expiry is another one by now, or if another authorization
    has begun after it.
    """
    organization_id, first_later_id = authorization.organization_id, ids_at(authorization.expires_at)[0]
    parameters: list[Any] = [
        expires_at,
        organization_id,
        authorization.pk,
        authorization.expires_at,
        now,
        organization_id,
        first_later_id,
    ]
    with connection.cursor() as cursor:
        execute_together(cursor, _LOCK_TIMEOUT, (_LOCK, [lock_keys(rules)]), (_EXTEND, parameters))
        is_extended: bool = cursor.rowcount == 1
    if is_extended:
        authorization.expires_at = expires_at
    return is_extended


def requested(rule: Rule, authorization: Authorization) -> Decimal:
    """Return what an authorization reserves under a limit, in the limit's unit."""
    match rule.unit:
        case LimitUnit.TOKENS:
            return Decimal(authorization.tokens)
        case LimitUnit.REQUESTS:
            return Decimal(1)
    return authorization.amount_usd


def lock_keys(rules: Sequence[Rule]) -> list[int]:
    """Return the advisory lock keys of the limits and values, in the order in which they must be taken."""
    return sorted({_lock_key(rule) for rule in rules if max_committed_usd(rule) is not None})


def set_transaction_options() -> None:
    """Set asynchronous commit and the lock timeout for the current transaction."""
    with connection.cursor() as cursor:
        execute_together(cursor, *_PREPARE)


def lock_rules(rules: Sequence[Rule]) -> None:
    """Lock the rules' limits and values in the current transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [lock_keys(rules)])


def _lock_key(rule: Rule) -> int:
    digest = blake2b(f"limit {rule.limit_id} {rule.value}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
