"""Authorizations: a reservation is granted when every limit that covers the call has room for it, all or none.

What is held of a limit is the sum of open reservations, read under the limit's lock together with what is spent
(docs/decisions/013-authorizations.md, docs/decisions/017-exact-limits.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import IntegrityError
from django.db.models import Exists, F

from billing.limits.balances import read_balances
from billing.limits.cache import LimitSet, cached_limit_set, limit_set, limit_set_of_revision
from billing.limits.evaluate import fits_at
from billing.limits.refusal import SpendLimitExceededError, refusal
from billing.limits.reserve import ReservationRequest, columns, grant, lock, prepare
from billing.limits.types import Dimensions, Rule
from billing.models import Authorization
from billing.types import AuthorizationStatus
from costtrack.errors import ConflictError, InvalidError, NotFoundError
from costtrack.ids import ids_at, new_id
from costtrack.money import ZERO
from costtrack.tenancy import tenant_reads, tenant_scope
from organizations.models import APICredential, Organization

_RESERVED = AuthorizationStatus.RESERVED.value
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What a call may cost at most, and whose it is. The same idempotency key always stands for the same payload."""

    dimensions: Dimensions
    amount_usd: Decimal
    ttl: timedelta
    idempotency_key: str = ""
    payload_hash: int = 0


@dataclass(frozen=True, slots=True)
class GrantedLimit:
    """`remaining_usd` is what is at least left: of the hour in which a rolling window begins, all counts."""

    rule: Rule
    remaining_usd: Decimal


@dataclass(frozen=True, slots=True)
class Grant:
    """A reservation, and what it leaves of each limit; of one that was there already, nothing is told."""

    authorization: Authorization
    limits: tuple[GrantedLimit, ...] = ()
    is_new: bool = True


class IdempotencyKeyReusedError(InvalidError):
    """The key stands for another request."""

    code = "idempotency_key_reused"


def authorize(
    *, organization: Organization, credential: APICredential | None, request: AuthorizationRequest, now: datetime
) -> Grant:
    """Reserve the amount. Raises SpendLimitExceededError, IdempotencyKeyReusedError.

    The row is written with asynchronous commit: it expires anyway. (Not inside another transaction, which would commit
    later: others would not see the reservation, and wait for its locks.)
    """
    reservation_request = ReservationRequest(
        id=new_id(now),
        credential_id=credential.pk if credential is not None else None,
        dimensions=request.dimensions,
        amount_usd=request.amount_usd,
        created_at=now,
        expires_at=now + request.ttl,
        idempotency_key=request.idempotency_key,
        payload_hash=request.payload_hash,
    )
    book = cached_limit_set(organization)
    for _ in range(_ATTEMPTS):
        rules = book.rules_for(request.dimensions, now=now)
        answer = grant(
            organization=organization, rules=rules, revision=book.revision, reservation_request=reservation_request
        )
        if answer.is_granted:
            left = zip(rules, answer.left_usd, strict=True)
            limits = tuple(GrantedLimit(rule, max(left_usd, ZERO)) for rule, left_usd in left)
            return Grant(_row(organization, reservation_request), limits)
        if answer.revision != book.revision:
            book = limit_set_of_revision(organization.pk, answer.revision)
            continue
        with tenant_reads(organization.pk):
            granted = _granted_before(organization, reservation_request)
        if granted is None and not answer.is_sure:
            try:
                granted = _look_closely(organization, book, rules, reservation_request)
            except IntegrityError:
                continue  # somebody has used the idempotency key since it was looked for
        if granted is not None:
            return granted
        with tenant_reads(organization.pk):
            found = refusal(
                organization=organization, rules=rules, requested_usd=reservation_request.amount_usd, now=now
            )
        if found is not None:
            raise SpendLimitExceededError(found)
    raise ConflictError("The limits are changing; try again.", code="limits_changing")


def release(*, organization: Organization, authorization_id: UUID, now: datetime) -> Authorization:
    """Give back what is held: the call does not take place. Releasing again changes nothing; a settled one is a
    ConflictError."""
    with tenant_scope(organization.pk):
        Authorization.objects.of(organization).filter(pk=authorization_id, status=_RESERVED).update(
            status=AuthorizationStatus.RELEASED.value, ended_at=now
        )
        authorization = _found(organization, authorization_id)
    if authorization.status == AuthorizationStatus.SETTLED.value:
        raise ConflictError("The authorization is settled: its call has taken place.", code="authorization_ended")
    return authorization


def extend(*, organization: Organization, authorization_id: UUID, ttl: timedelta, now: datetime) -> Authorization:
    """Let it hold for `ttl` from now on. One that has ended is a ConflictError: others may have what it held. So is one
    that had run out by the clock of somebody who has taken another one since; its limits' locks tell who came first."""
    with tenant_scope(organization.pk):
        call = _dimensions(_found(organization, authorization_id))
        lock(limit_set(organization).rules_for(call, now=now))
        authorization = _found(organization, authorization_id)
        is_open = Authorization.objects.of(organization).filter(
            ~Exists(Authorization.objects.of(organization).filter(id__gte=ids_at(authorization.expires_at)[0])),
            pk=authorization_id,
            status=_RESERVED,
            expires_at__gt=now,
        )
        is_extended = is_open.update(expires_at=now + ttl)
        authorization = _found(organization, authorization_id)
    if not is_extended:
        status = AuthorizationStatus(authorization.status)
        ended = AuthorizationStatus.EXPIRED if status is AuthorizationStatus.RESERVED else status
        raise ConflictError(f"The authorization is {ended.value}; take a new one.", code="authorization_ended")
    return authorization


def expire(*, now: datetime) -> int:
    """Say of every organization's reservations which have run out. (They hold nothing since that moment anyway.)"""
    return Authorization.objects.filter(status=_RESERVED, expires_at__lte=now).update(
        status=AuthorizationStatus.EXPIRED.value, ended_at=F("expires_at")
    )


def _granted_before(organization: Organization, reservation_request: ReservationRequest) -> Grant | None:
    """What the idempotency key stands for, if it was used."""
    if not reservation_request.idempotency_key:
        return None
    kept = Authorization.objects.of(organization).filter(idempotency_key=reservation_request.idempotency_key).first()
    if kept is None:
        return None
    if kept.payload_hash != reservation_request.payload_hash:
        raise IdempotencyKeyReusedError("idempotency_key: another request has used it.", param="idempotency_key")
    return Grant(kept, is_new=False)


def _look_closely(
    organization: Organization, book: LimitSet, rules: Sequence[Rule], reservation_request: ReservationRequest
) -> Grant | None:
    """Grant by what was spent since the very instant at which each window begins. None: there is no room, or the limits
    have changed."""
    with tenant_scope(organization.pk):
        prepare()
        lock(rules)
        if limit_set(organization).revision != book.revision:
            return None
        found = read_balances(organization=organization, rules=rules, now=reservation_request.created_at)
        left = []
        for rule, balance in zip(rules, found, strict=True):
            at = fits_at(
                rule,
                balance,
                usd=reservation_request.amount_usd,
                calendar=organization.calendar,
                now=reservation_request.created_at,
            )
            if at is None or at > reservation_request.created_at:
                return None
            left.append(
                max(rule.amount_usd - balance.spent_usd - balance.reserved_usd - reservation_request.amount_usd, ZERO)
            )
        row = _row(organization, reservation_request)
        row.save(force_insert=True)
    return Grant(row, tuple(GrantedLimit(rule, left_usd) for rule, left_usd in zip(rules, left, strict=True)))


def _row(organization: Organization, reservation_request: ReservationRequest) -> Authorization:
    return Authorization(
        organization=organization,
        credential_id=reservation_request.credential_id,
        status=_RESERVED,
        amount_usd=reservation_request.amount_usd,
        created_at=reservation_request.created_at,
        **columns(reservation_request),
    )


def _dimensions(authorization: Authorization) -> Dimensions:
    names = (each.name for each in fields(Dimensions) if each.name != "tags")
    return Dimensions(**{name: getattr(authorization, name) for name in names}, tags=tuple(authorization.tags))


def _found(organization: Organization, authorization_id: UUID) -> Authorization:
    authorization = Authorization.objects.of(organization).filter(pk=authorization_id).first()
    if authorization is None:
        raise NotFoundError("No such authorization.")
    return authorization
