"""Authorizations: reserve the cost of a call if every limit that covers the call has room for it.

The reserved amount of a limit is the sum of its open authorizations. It is read under the limit's lock together with
the spend (docs/decisions/013-authorizations.md, docs/decisions/017-exact-limits.md). An authorization ends by the event
of its call (`billing.ledger.settle_authorizations`), by `release`, or when it expires, and is deleted 30 days later.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F

from billing.ingest.authorized import remember
from billing.limits.balances import read_balances
from billing.limits.cache import LimitSet, cached_limit_set, limit_set, limit_set_of_revision
from billing.limits.caps import (
    AcceptedCaps,
    Cap,
    CappedCall,
    alternatives,
    dimensions_with_model,
    fit_call,
    left_usd,
)
from billing.limits.covered_spend import cover_unfolded_spend
from billing.limits.estimate import Estimate, is_free, reserved_amount
from billing.limits.evaluate import fits_at
from billing.limits.refusal import Reason, Refusal, SpendLimitExceededError, refusal
from billing.limits.reserve import lock_rules, requested, set_transaction_options, try_extend, try_reserve
from billing.limits.types import Balance, Dimensions, Rule
from billing.models import Authorization
from billing.types import AuthorizationStatus, LimitScope, LimitUnit
from costtrack.errors import ConflictError, DomainError, InvalidError
from costtrack.ids import ids_at, new_id
from costtrack.metrics.instruments import AUTHORIZATIONS, AUTHORIZE_SECONDS
from costtrack.money import ZERO
from costtrack.tenancy import tenant_reads, tenant_scope
from organizations.failures import log_failure
from organizations.idempotency import IdempotencyKeyReusedError
from organizations.models import APICredential, Organization

_RESERVED = AuthorizationStatus.RESERVED.value
_MAX_ATTEMPTS = 5
_NAMES = tuple(field.name for field in fields(Dimensions) if field.name not in ("credential_id", "tags"))


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """The maximum cost of a call and its dimensions. An idempotency key may only be used with one `payload_hash`.

    A call that `is_free` is refused by manual pauses only.
    """

    dimensions: Dimensions
    amount_usd: Decimal
    ttl: timedelta
    is_free: bool = False
    accepted_caps: AcceptedCaps | None = None
    idempotency_key: str = ""
    payload_hash: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class GrantedLimit:
    """A limit that the authorization counts against.

    `remaining_usd` is a lower bound: spend of the whole hour in which a rolling window begins is counted.
    """

    rule: Rule
    remaining_usd: Decimal


@dataclass(frozen=True, slots=True)
class Grant:
    """An authorization and the remaining amounts of its limits. `limits` is empty if the authorization is not new.

    The `caps` of the authorization say what the client must do differently.
    """

    authorization: Authorization
    limits: tuple[GrantedLimit, ...] = ()
    is_new: bool = True


def _new_authorization(
    organization: Organization, credential: APICredential | None, request: AuthorizationRequest, now: datetime
) -> Authorization:
    """Return the row of a request, which is not stored yet."""
    return Authorization(
        id=new_id(now),
        organization=organization,
        credential_id=credential.pk if credential is not None else None,
        status=_RESERVED,
        amount_usd=request.amount_usd,
        tokens=request.tokens,
        created_at=now,
        expires_at=now + request.ttl,
        idempotency_key=request.idempotency_key,
        payload_hash=request.payload_hash,
        **{name: getattr(request.dimensions, name) for name in _NAMES},
        tags=list(request.dimensions.tags),
    )


def authorize(
    *, organization: Organization, credential: APICredential | None, request: AuthorizationRequest, now: datetime
) -> Grant:
    """Reserve the amount. Raises SpendLimitExceededError, IdempotencyKeyReusedError, ConflictError.

    The row is written with asynchronous commit, because it expires anyway. Do not call this inside a transaction: the
    locks would be held, and the reservation would be invisible to others, until that transaction commits.
    """
    answer = "failed"
    try:
        with AUTHORIZE_SECONDS.time():
            grant = _authorize(organization, credential, request, now)
        answer = _answer(grant)
    except SpendLimitExceededError:
        answer = "refused"
        raise
    except DomainError:
        answer = "invalid"
        raise
    finally:
        AUTHORIZATIONS.labels(answer).inc()
    return grant


def _answer(grant: Grant) -> str:
    if not grant.is_new:
        return "repeated"
    return "capped" if grant.authorization.caps else "granted"


def _authorize(
    organization: Organization, credential: APICredential | None, request: AuthorizationRequest, now: datetime
) -> Grant:
    authorization = _new_authorization(organization, credential, request, now)
    all_limits = cached_limit_set(organization)
    _check_required(organization, all_limits, request.dimensions, now)
    for _ in range(_MAX_ATTEMPTS):
        rules = _rules_for(all_limits, request.dimensions, is_free=request.is_free, now=now)
        result = try_reserve(
            organization=organization,
            rules=rules,
            revision=all_limits.revision,
            authorization=authorization,
            credential_check=credential.pending_check if credential is not None else None,
        )
        cover_unfolded_spend(organization, all_limits, uncovered_events=result.uncovered_events, now=now)
        if result.is_granted:
            left = zip(rules, result.left_usd, strict=True)
            limits = tuple(GrantedLimit(rule, max(left_usd, ZERO)) for rule, left_usd in left)
            remember(authorization)
            return Grant(authorization, limits)
        if result.revision != all_limits.revision:
            all_limits = limit_set_of_revision(organization, result.revision)
            _check_required(organization, all_limits, request.dimensions, now)
            continue
        with tenant_reads(organization.pk):
            granted = _find_by_idempotency_key(organization, authorization)
        balances: list[Balance] = []
        if granted is None and not result.is_certain:
            try:
                granted, balances = _grant_by_exact_balances(organization, all_limits, rules, authorization)
            except IntegrityError:
                continue  # a concurrent request has used the idempotency key
        if granted is not None:
            return granted
        with tenant_reads(organization.pk):
            reason = refusal(
                organization=organization,
                rules=rules,
                balances=balances or _read_balances(organization, all_limits, rules, now),
                authorization=authorization,
                now=now,
            )
        if reason is not None:
            try:
                capped = _grant_with_caps(organization, authorization, request, reason)
            except IntegrityError:
                continue  # a concurrent request has used the idempotency key
            if capped is None:
                raise SpendLimitExceededError(reason)
            return capped
    raise ConflictError("The limits are being changed. Try again.", code="limits_changing")


_FIELDS = {
    LimitScope.USER: "user_id",
    LimitScope.TAG: "tags",
    LimitScope.PROVIDER: "service",
    LimitScope.AGENT: "agent_id",
    LimitScope.WORKFLOW: "workflow_id",
    LimitScope.RUN: "run_id",
    LimitScope.SESSION: "session_id",
}
"""The field of a call that has the value of a scope, where it is not the scope's name."""


class DimensionRequiredError(InvalidError):
    """A limit for every value of a scope refuses calls without one, so that they cannot pass it."""

    code = "dimension_required"


def _check_required(organization: Organization, all_limits: LimitSet, call: Dimensions, now: datetime) -> None:
    if all_limits.missing_scope(call, now=now) is None:
        return
    # The cached limits may be old.
    scope = limit_set(organization).missing_scope(call, now=now)
    if scope is not None:
        field = _FIELDS.get(scope, scope.value)
        raise DimensionRequiredError(
            f"{field}: Required, because of a limit for each {scope.label.lower()}.", param=field
        )


def _rules_for(all_limits: LimitSet, call: Dimensions, *, is_free: bool, now: datetime) -> list[Rule]:
    """Return the rules of the limits that cover the call. Those of a free call ignore spend."""
    rules = all_limits.rules_for(call, now=now)
    if not is_free:
        return rules
    return [replace(rule, ignores_spend=rule.unit is LimitUnit.USD) for rule in rules]


def release(*, organization: Organization, authorization_id: UUID, now: datetime) -> None:
    """End an authorization whose call does not take place. Releasing it again changes nothing.

    Raises ConflictError if the authorization is settled.
    """
    with tenant_reads(organization.pk):
        reserved = Authorization.objects.of(organization).filter(pk=authorization_id, status=_RESERVED)
        if reserved.update(status=AuthorizationStatus.RELEASED.value, ended_at=now):
            return
        status = _get(organization, authorization_id).status
    if status == AuthorizationStatus.SETTLED.value:
        raise ConflictError("The authorization is already settled.", code="authorization_ended")


def extend(*, organization: Organization, authorization_id: UUID, ttl: timedelta, now: datetime) -> Authorization:
    """Let the authorization expire `ttl` from now, and return it.

    Raises ConflictError if it has ended, because its amount may be reserved by others. It also counts as ended if a
    server whose clock is ahead has authorized a call after it expired; the locks of its limits decide the order.
    """
    with tenant_reads(organization.pk):
        authorization = _get(organization, authorization_id)
        rules = limit_set(organization).rules_for(_dimensions(authorization), now=now)
        is_extended = try_extend(authorization, rules=rules, expires_at=now + ttl, now=now)
        while not is_extended:
            before, authorization = authorization, _get(organization, authorization_id)
            if authorization.expires_at == before.expires_at:
                break
            is_extended = try_extend(authorization, rules=rules, expires_at=now + ttl, now=now)
    if not is_extended:
        status = AuthorizationStatus(authorization.status)
        ended = AuthorizationStatus.EXPIRED if status is AuthorizationStatus.RESERVED else status
        raise ConflictError(f"The authorization is {ended.value}. Create a new one.", code="authorization_ended")
    return authorization


def expire(*, now: datetime) -> int:
    """Mark authorizations of all organizations as expired, and return how many.

    Balances ignore an authorization from `expires_at` on, whether it is marked or not.
    """
    due = Authorization.objects.filter(status=_RESERVED, expires_at__lte=now)
    expired = 0
    for organization_id in due.order_by("organization_id").values_list("organization_id", flat=True).distinct():
        with log_failure(organization_id, "authorizations could not be marked as expired"):
            expired += due.filter(organization=organization_id).update(
                status=AuthorizationStatus.EXPIRED.value, ended_at=F("expires_at")
            )
    return expired


def _find_by_idempotency_key(organization: Organization, authorization: Authorization) -> Grant | None:
    """Return the authorization that was created with the same idempotency key, if any."""
    if not authorization.idempotency_key:
        return None
    existing = Authorization.objects.of(organization).filter(idempotency_key=authorization.idempotency_key).first()
    if existing is None:
        return None
    if existing.payload_hash != authorization.payload_hash:
        raise IdempotencyKeyReusedError(
            "idempotency_key: Already used for a different request.", param="idempotency_key"
        )
    return Grant(existing, is_new=False)


def _grant_by_exact_balances(
    organization: Organization, all_limits: LimitSet, rules: Sequence[Rule], authorization: Authorization
) -> tuple[Grant | None, list[Balance]]:
    """Authorize by exact balances, where `try_reserve` could not prove that the limits have room, and return them.

    The grant is None if a limit has no room, or if the limits have changed; then there are no balances.
    """
    with tenant_scope(organization.pk):
        set_transaction_options()
        lock_rules(rules)
        if limit_set(organization).revision != all_limits.revision:
            return None, []
        now = authorization.created_at
        balances = _read_balances(organization, all_limits, rules, now)
        if not _fit(organization, rules, balances, authorization, now):
            return None, balances
        authorization.save(force_insert=True)
    return Grant(authorization, _granted_limits(rules, balances, authorization)), balances


def _read_balances(
    organization: Organization, all_limits: LimitSet, rules: Sequence[Rule], now: datetime
) -> list[Balance]:
    return read_balances(organization=organization, rules=rules, now=now, revision=all_limits.revision)


def _grant_with_caps(
    organization: Organization, authorization: Authorization, request: AuthorizationRequest, refused: Refusal
) -> Grant | None:
    """Authorize another call than the requested one, if the client accepts it and it fits. Return None otherwise."""
    now = authorization.created_at
    for cap, call in _alternatives(organization, request, refused, now):
        all_limits = limit_set(organization)
        rules = all_limits.rules_for(call, now=now)
        with tenant_scope(organization.pk):
            set_transaction_options()
            lock_rules(rules)
            if limit_set(organization).revision != all_limits.revision:
                continue
            balances = _read_balances(organization, all_limits, rules, now)
            capped = _fit_capped(organization, request, cap, call, rules, balances, now)
            if capped is None:
                continue
            _apply(authorization, capped)
            if not _fit(organization, rules, balances, authorization, now):
                continue
            authorization.save(force_insert=True)
        remember(authorization)
        return Grant(authorization, _granted_limits(rules, balances, authorization))
    return None


def dry_run(
    *, organization: Organization, credential: APICredential | None, request: AuthorizationRequest, now: datetime
) -> Grant:
    """Return what `authorize` would grant, without reserving anything. Raises SpendLimitExceededError."""
    authorization = _new_authorization(organization, credential, request, now)
    all_limits = limit_set(organization)
    rules = _rules_for(all_limits, request.dimensions, is_free=request.is_free, now=now)
    balances = _read_balances(organization, all_limits, rules, now)
    _check_required(organization, all_limits, request.dimensions, now)
    if _fit(organization, rules, balances, authorization, now):
        return Grant(authorization, _granted_limits(rules, balances, authorization))
    reason = refusal(organization=organization, rules=rules, balances=balances, authorization=authorization, now=now)
    if reason is None:
        return Grant(authorization, _granted_limits(rules, balances, authorization))
    for cap, call in _alternatives(organization, request, reason, now):
        rules = all_limits.rules_for(call, now=now)
        balances = _read_balances(organization, all_limits, rules, now)
        capped = _fit_capped(organization, request, cap, call, rules, balances, now)
        if capped is not None:
            _apply(authorization, capped)
            return Grant(authorization, _granted_limits(rules, balances, authorization))
    raise SpendLimitExceededError(reason)


def _alternatives(
    organization: Organization, request: AuthorizationRequest, refused: Refusal, now: datetime
) -> Iterator[tuple[Cap, Dimensions]]:
    """Yield the caps to try, with the dimensions of the call that they lead to."""
    if request.accepted_caps is None or refused.reason is Reason.PAUSED_MANUALLY:
        return
    cheaper_models = refused.rule.cheaper_models
    for cap, model in alternatives(request.dimensions, request.accepted_caps, cheaper_models):
        if cap is Cap.MAX_TOKENS:
            yield cap, request.dimensions
        else:
            yield cap, dimensions_with_model(organization, request.dimensions, model, now)


def _fit_capped(
    organization: Organization,
    request: AuthorizationRequest,
    cap: Cap,
    call: Dimensions,
    rules: Sequence[Rule],
    balances: Sequence[Balance],
    now: datetime,
) -> CappedCall | None:
    """Return the capped call if it fits under its limits now."""
    if request.accepted_caps is None or any(rule.is_paused_manually for rule in rules):
        return None
    return fit_call(organization, cap, call, request.accepted_caps, left_usd(rules, balances), now)


def _apply(authorization: Authorization, capped: CappedCall) -> None:
    authorization.amount_usd, authorization.caps = capped.amount_usd, capped.caps
    authorization.tokens = capped.tokens
    for name in _NAMES:
        setattr(authorization, name, getattr(capped.dimensions, name))


def _granted_limits(
    rules: Sequence[Rule], balances: Sequence[Balance], authorization: Authorization
) -> tuple[GrantedLimit, ...]:
    return tuple(
        GrantedLimit(rule, max(rule.amount_usd - balance.committed_usd - requested(rule, authorization), ZERO))
        for rule, balance in zip(rules, balances, strict=True)
    )


def _fit(
    organization: Organization,
    rules: Sequence[Rule],
    balances: Sequence[Balance],
    authorization: Authorization,
    now: datetime,
) -> bool:
    """Whether a call fits under every limit now."""
    calendar = organization.calendar
    return all(
        fits_at(rule, balance, usd=requested(rule, authorization), calendar=calendar, now=now) == now
        for rule, balance in zip(rules, balances, strict=True)
    )


def _dimensions(authorization: Authorization) -> Dimensions:
    names = {name: getattr(authorization, name) for name in _NAMES}
    return Dimensions(credential_id=authorization.credential_id, **names, tags=tuple(authorization.tags))


def _get(organization: Organization, authorization_id: UUID) -> Authorization:
    authorizations = Authorization.objects.of(organization).select_related("credential")
    return authorizations.get_or_not_found("authorization", pk=authorization_id)


@dataclass(frozen=True, slots=True)
class Access:
    """Whether a call would be authorized. `is_free`: it costs nothing, so spend does not matter."""

    refusal: Refusal | None
    is_free: bool


def check_access(
    *, organization: Organization, call: Dimensions, estimated_usd: Decimal | None, now: datetime
) -> Access:
    """Return whether a call would be authorized, and why not.

    Without an estimate the call of a model that is not free is checked as one that costs next to nothing. Raises
    UnpricedModelError if the only obstacle is that the model has no price, and DimensionRequiredError.
    """
    usd = estimated_usd if estimated_usd is not None else ZERO
    free = is_free(organization=organization, call=call, amount_usd=usd, now=now)
    authorization = Authorization(amount_usd=usd)
    all_limits = limit_set(organization)
    _check_required(organization, all_limits, call, now)
    rules = _rules_for(all_limits, call, is_free=free, now=now)
    balances = _read_balances(organization, all_limits, rules, now)
    refused = None
    if not _fit(organization, rules, balances, authorization, now):  # the reasons take more queries
        refused = refusal(
            organization=organization, rules=rules, balances=balances, authorization=authorization, now=now
        )
    if refused is None and call.model:
        reserved_amount(organization=organization, call=call, estimate=Estimate(usd=usd), now=now)
    return Access(refused, free)


RETENTION = timedelta(days=30)
"""How long an authorization can be retrieved, and its idempotency key is remembered."""

_DELETE_BATCH_SIZE = 10_000


def delete_old_authorizations(*, now: datetime) -> int:
    """Delete ended authorizations older than `RETENTION`, in batches, and return how many."""
    first_retained_id = ids_at(now - RETENTION)[0]
    deleted = 0
    for organization in Organization.objects.order_by("pk"):
        own = Authorization.objects.of(organization)
        ended = own.filter(id__lt=first_retained_id).exclude(status=AuthorizationStatus.RESERVED.value)
        with log_failure(organization.pk, "old authorizations could not be deleted"):
            while ids := list(ended.order_by("id").values_list("id", flat=True)[:_DELETE_BATCH_SIZE]):
                deleted += own.filter(id__in=ids).delete()[0]
    return deleted
