"""What holds instead of a limit for a while: another amount, or that it is paused or open by hand.

`value` names one value of a limit that each has for itself (a credential by its Client ID); empty, it is about all that
the limit is about. For one value there is one raise at a time, and it is paused, open or neither: what comes later ends
what was there.
"""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.limits.cache import announce_limit_change
from billing.limits.locks import limit_in_place, lock_limits
from billing.limits.scope_values import display_value, stored_value
from billing.limits.selectors import holding
from billing.limits.services.limits import check_plan_has_api
from billing.limits.validation import check_amount, check_end, check_plan_allows, checked_text
from billing.models import LimitException, SpendLimit
from billing.types import ExceptionKind
from costtrack.clock import iso
from costtrack.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from costtrack.money import plain
from organizations import audit
from organizations.models import APICredential, Organization, User
from organizations.types import Principal

_BY_HAND = (ExceptionKind.PAUSE, ExceptionKind.OPEN)


@transaction.atomic
def raise_limit(
    *,
    organization: Organization,
    limit: SpendLimit,
    value: str,
    amount_usd: Decimal,
    ends_at: datetime,
    reason: str,
    actor: Principal,
    now: datetime,
) -> LimitException:
    """A larger amount until `ends_at`; then the limit's own holds again by itself.

    Raises InvalidError naming the field, also beyond the plan's maximum unless an operator does it.
    """
    check_amount(amount_usd, param="amount_usd")
    check_end(ends_at, now=now)
    plan = lock_limits(organization)
    limit = limit_in_place(organization, limit.pk)
    check_plan_has_api(plan, actor)
    if amount_usd <= limit.amount_usd:
        message = f"amount_usd: must be more than the limit's amount, {plain(limit.amount_usd)} USD."
        raise InvalidError(message, param="amount_usd")
    if not actor.is_operator:
        check_plan_allows(plan, limit.window, amount_usd)
    exception = LimitException(kind=ExceptionKind.RAISE, value=value, amount_usd=amount_usd, ends_at=ends_at)
    return _begin(limit, exception, reason=reason, actor=actor, now=now)


@transaction.atomic
def pause_limit(
    *,
    organization: Organization,
    limit: SpendLimit,
    value: str,
    reason: str,
    ends_at: datetime | None,
    actor: Principal,
    now: datetime,
) -> LimitException:
    """Nothing goes through until `ends_at`, or until somebody ends it, whatever is spent and whatever the limit does
    when it is reached. Raises InvalidError naming the field."""
    if ends_at is not None:
        check_end(ends_at, now=now)
    lock_limits(organization)
    limit = limit_in_place(organization, limit.pk)
    exception = LimitException(kind=ExceptionKind.PAUSE, value=value, ends_at=ends_at)
    return _begin(limit, exception, reason=reason, actor=actor, now=now)


@transaction.atomic
def open_limit(
    *,
    organization: Organization,
    limit: SpendLimit,
    value: str,
    reason: str,
    ends_at: datetime,
    actor: Principal,
    now: datetime,
) -> LimitException:
    """The limit refuses nothing until `ends_at`, however much is spent: access is back by hand.

    Raises InvalidError naming the field, ForbiddenError for the plan's own limit unless an operator does it.
    """
    check_end(ends_at, now=now)
    plan = lock_limits(organization)
    limit = limit_in_place(organization, limit.pk)
    check_plan_has_api(plan, actor)
    if limit.is_plan and not actor.is_operator:
        raise ForbiddenError("Only operators open the limit of an organization's plan.", code="operators_only")
    exception = LimitException(kind=ExceptionKind.OPEN, value=value, ends_at=ends_at)
    return _begin(limit, exception, reason=reason, actor=actor, now=now)


@transaction.atomic
def end_exception(
    *, organization: Organization, exception: LimitException, actor: Principal, now: datetime
) -> LimitException:
    """What holds instead of the limit holds no more. Ending it again changes nothing.

    Raises ForbiddenError for the pause of a plan's own limit by an operator, unless an operator ends it.
    """
    lock_limits(organization)
    rows = LimitException.objects.of(organization).select_related("limit")
    found = rows.filter(pk=exception.pk, limit__removed_at=None).first()
    if found is None:
        raise NotFoundError("No such exception.")
    found.limit.organization = organization
    if found.ends_at is None or found.ends_at > now:
        _end(found, actor=actor, now=now)
        announce_limit_change(organization)
    return found


@transaction.atomic
def end_pause(
    *, organization: Organization, limit: SpendLimit, value: str, reason: str, actor: Principal, now: datetime
) -> None:
    """Take back what paused the limit by hand for this value. Raises ConflictError if nothing did."""
    lock_limits(organization)
    limit = limit_in_place(organization, limit.pk)
    pauses = list(holding(limit, now).filter(kind=ExceptionKind.PAUSE, value=stored_value(limit, value)))
    if not pauses:
        message = "Nobody has paused it by hand. To open a limit that is reached, say until when (ends_at)."
        raise ConflictError(message, code="not_paused_by_hand")
    for pause in pauses:
        pause.limit = limit
        _end(pause, actor=actor, now=now, reason=checked_text(reason, param="reason"))
    announce_limit_change(organization)


def _begin(
    limit: SpendLimit, exception: LimitException, *, reason: str, actor: Principal, now: datetime
) -> LimitException:
    """Fill in what all kinds have, end what it takes the place of, and write it."""
    exception.organization, exception.limit = limit.organization, limit
    exception.starts_at, exception.actor = now, actor.label
    exception.reason = checked_text(reason, param="reason")
    shown, exception.value = exception.value, stored_value(limit, exception.value)
    kinds = _BY_HAND if exception.kind in _BY_HAND else (ExceptionKind.RAISE,)
    for former in holding(limit, now).filter(kind__in=kinds, value=exception.value):
        former.limit = limit
        _end(former, actor=actor, now=now)
    exception.save(force_insert=True)
    _audit(
        exception,
        {"raise": "limit.raised", "pause": "limit.paused", "open": "limit.opened"}[exception.kind],
        actor,
        value=shown,
        reason=exception.reason,
        amount_usd=None if exception.amount_usd is None else plain(exception.amount_usd),
        ends_at=None if exception.ends_at is None else iso(exception.ends_at),
    )
    announce_limit_change(limit.organization)
    return exception


def _end(exception: LimitException, *, actor: Principal, now: datetime, reason: str = "") -> None:
    _check_may_end(exception, actor)
    exception.ends_at = now
    exception.save(update_fields=["ends_at"])
    value = display_value(exception.limit, exception.value)
    _audit(exception, "limit.exception_ended", actor, kind=exception.kind, value=value, reason=reason)


def _check_may_end(exception: LimitException, actor: Principal) -> None:
    """An operator who pauses the plan's own limit locks the organization out; its own people cannot let it in."""
    if actor.is_operator or not exception.limit.is_plan or exception.kind != ExceptionKind.PAUSE:
        return
    if _is_operators(exception.actor, exception.limit.organization):
        raise ForbiddenError("An operator has paused it, and only operators end that.", code="operators_only")


def _is_operators(actor: str, organization: Organization) -> bool:
    """Whether the name, as the audit log has it, is an operator's: a person's, or a Client ID of no organization."""
    if "@" in actor:
        return User.objects.filter(email=actor, is_superuser=True).exists()
    return not APICredential.objects.of(organization).filter(client_id=actor).exists()


def _audit(exception: LimitException, action: str, actor: Principal, **details: str | None) -> None:
    audit.record(
        organization=exception.limit.organization,
        actor=actor.label,
        action=action,
        subject=str(exception.limit)[:254],
        limit=exception.limit_id,
        exception=exception.pk,
        **details,
    )
