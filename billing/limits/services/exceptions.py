"""Temporary exceptions to a limit: a higher amount, a manual pause, or access regardless of spend.

`value` names one value of a per-value limit (a credential by its Client ID); empty, the exception applies to everything
that the limit applies to. A value has at most one raise and at most one of pause and open; a new exception ends the
previous one of its kind.
"""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.limits.cache import announce_limit_change
from billing.limits.locks import limit_in_place, lock_limits
from billing.limits.scope_values import display_value, stored_value
from billing.limits.selectors import active_exceptions
from billing.limits.services.limits import check_plan_has_api
from billing.limits.validation import check_amount, check_end, check_plan_allows, clean_text
from billing.models import LimitException, SpendLimit
from billing.types import ExceptionKind
from costtrack.clock import iso
from costtrack.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from costtrack.money import plain
from organizations import audit
from organizations.models import APICredential, Organization, User
from organizations.types import Principal

_MANUAL_KINDS = (ExceptionKind.PAUSE, ExceptionKind.OPEN)


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
    """Raise the limit to a higher amount until `ends_at`.

    Raises InvalidError naming the field. Only operators may exceed the plan's maximum.
    """
    check_amount(amount_usd, param="amount_usd")
    check_end(ends_at, now=now)
    plan = lock_limits(organization)
    limit = limit_in_place(organization, limit.pk)
    check_plan_has_api(plan, actor)
    if amount_usd <= limit.amount_usd:
        message = f"amount_usd: Must be more than the limit's amount, {plain(limit.amount_usd)} USD."
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
    """Refuse all authorizations until `ends_at`, or until a user ends the pause, regardless of spend and action.

    Raises InvalidError naming the field.
    """
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
    """Let the limit refuse nothing until `ends_at`, regardless of spend.

    Raises InvalidError naming the field. Only operators may open the plan's own limit (ForbiddenError).
    """
    check_end(ends_at, now=now)
    plan = lock_limits(organization)
    limit = limit_in_place(organization, limit.pk)
    check_plan_has_api(plan, actor)
    if limit.is_plan and not actor.is_operator:
        raise ForbiddenError("Only operators can open the plan's own limit.", code="operators_only")
    exception = LimitException(kind=ExceptionKind.OPEN, value=value, ends_at=ends_at)
    return _begin(limit, exception, reason=reason, actor=actor, now=now)


@transaction.atomic
def end_exception(
    *, organization: Organization, exception: LimitException, actor: Principal, now: datetime
) -> LimitException:
    """End an exception now. Ending it again changes nothing.

    Only operators may end an operator's pause of the plan's own limit (ForbiddenError).
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
    """End the manual pause of the limit for this value. Raises ConflictError if there is none."""
    lock_limits(organization)
    limit = limit_in_place(organization, limit.pk)
    pauses = list(active_exceptions(limit, now).filter(kind=ExceptionKind.PAUSE, value=stored_value(limit, value)))
    if not pauses:
        message = "The limit is not paused manually. To open a limit that is reached, set ends_at."
        raise ConflictError(message, code="not_paused_manually")
    for pause in pauses:
        pause.limit = limit
        _end(pause, actor=actor, now=now, reason=clean_text(reason, param="reason"))
    announce_limit_change(organization)


def _begin(
    limit: SpendLimit, exception: LimitException, *, reason: str, actor: Principal, now: datetime
) -> LimitException:
    """Complete and write an exception, and end the one that it replaces."""
    exception.organization, exception.limit = limit.organization, limit
    exception.starts_at, exception.actor = now, actor.label
    exception.reason = clean_text(reason, param="reason")
    display, exception.value = exception.value, stored_value(limit, exception.value)
    kinds = _MANUAL_KINDS if exception.kind in _MANUAL_KINDS else (ExceptionKind.RAISE,)
    for previous in active_exceptions(limit, now).filter(kind__in=kinds, value=exception.value):
        previous.limit = limit
        _end(previous, actor=actor, now=now)
    exception.save(force_insert=True)
    _audit(
        exception,
        {"raise": "limit.raised", "pause": "limit.paused", "open": "limit.opened"}[exception.kind],
        actor,
        value=display,
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
    """Refuse to end an operator's pause of the plan's own limit, unless an operator does it."""
    if actor.is_operator or not exception.limit.is_plan or exception.kind != ExceptionKind.PAUSE:
        return
    if _is_operators(exception.actor, exception.limit.organization):
        raise ForbiddenError("An operator has paused this limit. Only operators can resume it.", code="operators_only")


def _is_operators(actor: str, organization: Organization) -> bool:
    """Whether an actor of the audit log is an operator: a superuser, or a Client ID that the organization lacks."""
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
