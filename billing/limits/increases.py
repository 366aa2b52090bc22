"""Increase requests: a member asks for a higher limit, and an owner grants it until a date or declines it.

Each step is written to the audit log and sends a notice: a request to those who can answer it, an answer also to the
requester.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.limits.cache import rule_of
from billing.limits.changes import get_current_limit, lock_limits
from billing.limits.refusal import limit_details
from billing.limits.selectors import current_amount, display_value, stored_value
from billing.limits.services import check_plan_has_api, raise_limit
from billing.limits.validation import check_amount, check_end
from billing.models import IncreaseRequest, SpendLimit
from billing.notifications.outbox import notify
from billing.notifications.preferences import subscribed_addresses
from billing.notifications.recipients import allowed_recipients
from billing.types import IncreaseState, NoticeKind
from costtrack.clock import iso
from costtrack.errors import ConflictError, ForbiddenError, field_error
from costtrack.money import plain, usd
from costtrack.text import clean_text
from organizations import audit
from organizations.models import Membership, Organization
from organizations.principals import Principal
from organizations.types import Role

MAX_TEXT_LENGTH = 500
"""Maximum length of a reason and of an answer."""
_MAX_STORED_REASON_LENGTH = 255  # of the raise that is created for a granted request
_REQUESTER_LEFT = "The requester has left the organization."
_SYSTEM = Principal()


@transaction.atomic
def request_increase(
    *,
    organization: Organization,
    limit: SpendLimit,
    value: str,
    amount_usd: Decimal,
    reason: str,
    until: datetime | None,
    actor: Principal,
    now: datetime,
) -> IncreaseRequest:
    """Request a higher amount for one value of the limit, or (empty) for everything that it applies to.

    Raises InvalidError naming the field, ConflictError if the actor already has an open request for the same value,
    ForbiddenError for a plan without API access.
    """
    check_amount(amount_usd, param="amount_usd")
    reason = clean_text(reason, param="reason", max_length=MAX_TEXT_LENGTH)
    if until is not None:
        check_end(until, now=now, param="until")
    plan = lock_limits(organization)
    limit = get_current_limit(organization, limit.pk)
    check_plan_has_api(plan, actor)
    stored = stored_value(limit, value, now=now)
    current = current_amount(limit, stored=stored, now=now)
    if amount_usd <= current:
        raise field_error("amount_usd", f"Must be more than the current amount, {plain(current)} USD.")
    same = IncreaseRequest.objects.of(organization).filter(limit=limit, value=stored, requested_by=actor.label)
    if same.filter(state=IncreaseState.OPEN).exists():
        raise ConflictError("You already have an open request for this limit.", code="increase_requested")
    request = IncreaseRequest.objects.create(
        organization=organization,
        limit=limit,
        value=stored,
        amount_usd=amount_usd,
        until=until,
        reason=reason,
        requested_by=actor.label,
        requested_at=now,
    )
    _notify(request, NoticeKind.INCREASE_REQUESTED, "requests", actor, now)
    return request


def withdraw_requests(*, membership: Membership, now: datetime) -> None:
    """Decline the open requests of a member who leaves, in the caller's transaction, so that no one grants them."""
    organization, email = membership.organization, membership.user.email
    lock_limits(organization)
    requests = IncreaseRequest.objects.of(organization).filter(requested_by=email, state=IncreaseState.OPEN)
    for request in requests.select_related("limit").order_by("pk"):
        request.organization = request.limit.organization = organization
        _answer(request, IncreaseState.DECLINED, _REQUESTER_LEFT, _SYSTEM, now)
        _record(request, NoticeKind.INCREASE_DECLINED, _SYSTEM)


@transaction.atomic
def grant(
    *,
    organization: Organization,
    request: IncreaseRequest,
    amount_usd: Decimal | None,
    until: datetime | None,
    answer: str,
    acting_as: Role,
    actor: Principal,
    now: datetime,
) -> IncreaseRequest:
    """Raise the limit to the requested or another amount, until `until` or the requested date.

    Raises ForbiddenError unless `acting_as` is an owner or admin, ConflictError if the request was answered,
    InvalidError naming the field. An end is required, and only operators may exceed the plan's maximum.
    """
    request = _open_request(organization, request, acting_as)
    if request.limit.removed_at is not None:
        raise ConflictError("The limit was removed. Decline the request.", code="limit_removed")
    until = until if until is not None else request.until
    if until is None:
        raise field_error("until", "Required, because the request has no date.")
    check_end(until, now=now, param="until")
    request.granted = raise_limit(
        organization=organization,
        limit=request.limit,
        value=display_value(request.limit, request.value),
        amount_usd=amount_usd if amount_usd is not None else request.amount_usd,
        ends_at=until,
        reason=request.reason[:_MAX_STORED_REASON_LENGTH],
        actor=actor,
        now=now,
    )
    _answer(request, IncreaseState.GRANTED, answer, actor, now)
    _notify(request, NoticeKind.INCREASE_GRANTED, "grants", actor, now)
    return request


@transaction.atomic
def decline(
    *,
    organization: Organization,
    request: IncreaseRequest,
    answer: str,
    acting_as: Role,
    actor: Principal,
    now: datetime,
) -> IncreaseRequest:
    """Decline the request. Raises ForbiddenError unless `acting_as` is an owner or admin, ConflictError if the request
    was answered, InvalidError without an answer."""
    request = _open_request(organization, request, acting_as)
    _answer(request, IncreaseState.DECLINED, clean_text(answer, param="answer", max_length=MAX_TEXT_LENGTH), actor, now)
    _notify(request, NoticeKind.INCREASE_DECLINED, "declines", actor, now)
    return request


def _open_request(organization: Organization, request: IncreaseRequest, acting_as: Role) -> IncreaseRequest:
    """Return the request, locked until the transaction ends."""
    if not acting_as.may_change:
        raise ForbiddenError("Only owners, admins and operators can answer increase requests.", code="admins_only")
    lock_limits(organization)
    requests = IncreaseRequest.objects.of(organization).select_related("limit")
    locked = requests.get_or_not_found("increase request", pk=request.pk)
    if locked.state != IncreaseState.OPEN:
        message = f"The request was already {locked.get_state_display().lower()}."
        raise ConflictError(message, code="request_answered", extra={"state": locked.state})
    locked.organization = locked.limit.organization = organization
    return locked


def _answer(request: IncreaseRequest, state: IncreaseState, answer: str, actor: Principal, now: datetime) -> None:
    request.state = state.value
    request.answer = clean_text(answer, param="answer", max_length=MAX_TEXT_LENGTH) if answer else ""
    request.answered_by, request.answered_at = actor.label, now
    request.save(update_fields=["state", "answer", "answered_by", "answered_at", "granted"])


# --- Audit and notices -----------------------------------------------------------------------------------------


def _notify(request: IncreaseRequest, kind: NoticeKind, verb: str, actor: Principal, now: datetime) -> None:
    """Write the audit entry and the notice. An answer also goes to the requester."""
    _record(request, kind, actor)
    notify(
        organization=request.organization,
        kind=kind,
        subject=f"{actor.label} {verb} {usd(_amount(request))} ({request.limit}) at {request.organization.name}",
        data=_data(request),
        now=now,
        to=_recipients(request, kind),
    )


def _record(request: IncreaseRequest, kind: NoticeKind, actor: Principal) -> None:
    audit.record(
        organization=request.organization,
        actor=actor.label,
        action=kind.value,
        subject=str(request.limit)[:254],
        limit=request.limit_id,
        request=request.pk,
        amount_usd=plain(_amount(request)),
        reason=request.reason,
        answer=request.answer,
    )


def _amount(request: IncreaseRequest) -> Decimal:
    """Return the granted amount, or the requested one."""
    granted = request.granted.amount_usd if request.granted is not None else None
    return granted if granted is not None else request.amount_usd


def _recipients(request: IncreaseRequest, kind: NoticeKind) -> Sequence[str] | None:
    """Return the recipients; None: everyone whom such notices concern. A Client ID gets no email, and neither does a
    requester who has left."""
    if kind is NoticeKind.INCREASE_REQUESTED:
        return None
    requester = allowed_recipients(organization=request.organization, addresses=[request.requested_by])
    return [*requester, *subscribed_addresses(organization=request.organization, kind=kind)]


def _data(request: IncreaseRequest) -> dict[str, Any]:
    """Return the data of `increase.*` notices (docs/notifications.md)."""
    limit, granted = request.limit, request.granted
    until = granted.ends_at if granted is not None else request.until
    value = display_value(limit, request.value) or limit.scope_value
    return {
        "organization": request.organization.slug,
        "limit": limit_details(rule_of(limit, request.value, value)),
        "request": {
            "id": request.pk,
            "amount_usd": plain(_amount(request)),
            "until": iso(until),
            "reason": request.reason,
            "requested_by": request.requested_by,
            "answer": request.answer or None,
            "answered_by": request.answered_by or None,
        },
    }
