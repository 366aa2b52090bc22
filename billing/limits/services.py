"""Change limits and their temporary overrides.

Each function makes one change in one transaction, writes it to the audit log, and takes effect with the next call in
every process (`billing.limits.changes`). The caller must have checked that the actor may change limits. Rules that
depend on the plan are checked here: its maximum, and what only operators may do with the plan's own limit.

An override is a higher amount, a manual pause, or access regardless of spend. Its `value` names one value of a
per-value limit (a credential by its Client ID); empty, the override applies to everything that the limit applies to. A
value has at most one raise and at most one of pause and open; a new override ends the previous one of its kind.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.limits.cache import known_value, stored_conditions
from billing.limits.changes import announce_limit_change, get_current_limit, lock_limits
from billing.limits.conditions import compile_conditions, has_own_rows
from billing.limits.selectors import active_overrides, credential_pk, display_value, stored_value
from billing.limits.validation import (
    LimitInput,
    check_amount,
    check_end,
    check_plan_allows,
    check_unchangeable,
    to_limit_input,
    validate_limit_input,
)
from billing.models import LimitOverride, SpendLimit
from billing.rollups.limit_rows import add_limit_rows, delete_limit_rows
from billing.types import LimitScope, LimitUnit, OverrideKind
from costtrack.clock import iso
from costtrack.errors import ConflictError, ForbiddenError, field_error
from costtrack.money import plain
from costtrack.tenancy import owner_scope
from costtrack.text import clean_text
from organizations import audit
from organizations.models import APICredential, Organization, Plan, User
from organizations.plan_rights import refusal_without_api
from organizations.principals import Principal

MAX_LIMITS = 200
"""Maximum number of limits of one organization, because each call is compared with all of them."""

_MINOR_COLUMNS = frozenset({"thresholds", "soft_amount_usd", "fallback_price", "cheaper_models"})
"""Limits that differ only in these columns are the same."""


@transaction.atomic
def create_limit(*, organization: Organization, limit_input: LimitInput, actor: Principal, now: datetime) -> SpendLimit:
    """Create a limit that applies from now on, or from `starts_at` on.

    Raises InvalidError naming the field, ForbiddenError for a plan without API access, ConflictError beyond
    `MAX_LIMITS` or if there is the same limit already.
    """
    validate_limit_input(limit_input)
    if limit_input.ends_at is not None:
        check_end(limit_input.ends_at, now=now)
    limit_input = _with_known_values(organization, limit_input, now)
    plan = lock_limits(organization)
    check_plan_has_api(plan, actor)
    if limit_input.unit is LimitUnit.USD:
        check_plan_allows(plan, limit_input.window, limit_input.amount_usd)
    for condition in limit_input.conditions:
        if condition.scope is LimitScope.CREDENTIAL and condition.value:
            credential_pk(organization, condition.value, param="scope_value")
    if SpendLimit.objects.of(organization).not_removed().count() >= MAX_LIMITS:
        message = f"An organization can have at most {MAX_LIMITS} limits. Leave scope_value empty to limit every value."
        raise ConflictError(message, code="too_many_limits")
    _refuse_duplicate(organization, limit_input)
    limit = SpendLimit.objects.create(organization=organization, created_at=now, **limit_input.columns())
    if has_own_rows(limit_input.conditions, has_other_unit=limit_input.unit is not LimitUnit.USD):
        limit.compiled_conditions = compile_conditions(stored_conditions(organization.pk, limit))
        limit.save(update_fields=["compiled_conditions"])
        add_limit_rows(organization.pk, limit.rows_scope)
    _audit(limit, "limit.created", actor, **_audit_details(limit_input.columns()))
    announce_limit_change(organization)
    return limit


@transaction.atomic
def change_limit(
    *, organization: Organization, limit: SpendLimit, changes: Mapping[str, Any], actor: Principal, now: datetime
) -> SpendLimit:
    """Change the given fields of `LimitInput`. The change also applies to what is already spent.

    Raises InvalidError naming the field, also for a changed scope or window; NotFoundError if the limit was removed;
    ConflictError if it would be the same as another one.
    """
    plan = lock_limits(organization)
    limit = get_current_limit(organization, limit.pk)
    before = to_limit_input(limit)
    limit_input = _with_known_values(organization, replace(before, **changes), now)
    check_unchangeable(limit, {name: value for name, value in limit_input.columns().items() if name in changes})
    validate_limit_input(limit_input)
    if limit_input.ends_at is not None and limit_input.ends_at != before.ends_at:
        check_end(limit_input.ends_at, now=now)
    check_plan_has_api(plan, actor)
    if limit_input.amount_usd != before.amount_usd and limit_input.unit is LimitUnit.USD:
        check_plan_allows(plan, limit.window, limit_input.amount_usd)
    columns = {name: value for name, value in limit_input.columns().items() if value != getattr(limit, name)}
    if not columns:
        return limit
    _refuse_duplicate(organization, limit_input, changed=limit)
    for name, value in columns.items():
        setattr(limit, name, value)
    limit.save(update_fields=list(columns))
    _audit(limit, "limit.changed", actor, **_audit_details(columns))
    announce_limit_change(organization)
    return limit


@transaction.atomic
def remove_limit(*, organization: Organization, limit: SpendLimit, actor: Principal, now: datetime) -> None:
    """End a limit. Its row stays, because threshold events refer to it.

    Raises ConflictError for the plan's own limit, NotFoundError if the limit was removed already.
    """
    lock_limits(organization)
    limit = get_current_limit(organization, limit.pk)
    if limit.is_plan:
        message = "This limit belongs to the organization's plan. It can be lowered, but not removed."
        raise ConflictError(message, code="limit_of_plan")
    limit.removed_at = now
    limit.save(update_fields=["removed_at"])
    if limit.compiled_conditions:
        delete_limit_rows(organization.pk, limit.rows_scope)
    _audit(limit, "limit.removed", actor)
    announce_limit_change(organization)


def _with_known_values(organization: Organization, limit_input: LimitInput, now: datetime) -> LimitInput:
    """Return the input with values in the spelling that events have."""

    def known(scope: LimitScope, value: str) -> str:
        return known_value(organization, scope, value, now=now)

    further = zip(limit_input.further_scopes, limit_input.further_values, strict=True)
    return replace(
        limit_input,
        scope_value=known(limit_input.scope, limit_input.scope_value),
        further_values=tuple(known(scope, value) for scope, value in further),
        members=tuple(known(limit_input.scope, value) for value in limit_input.members),
        member_amounts={
            known(limit_input.scope, value): plain(Decimal(amount))
            for value, amount in limit_input.member_amounts.items()
        },
    )


def _refuse_duplicate(
    organization: Organization, limit_input: LimitInput, *, changed: SpendLimit | None = None
) -> None:
    """Refuse a limit that differs from another one at most in its warnings and its fallback price: it would refuse the
    same calls, and send each notice twice."""
    columns = {name: value for name, value in limit_input.columns().items() if name not in _MINOR_COLUMNS}
    same = SpendLimit.objects.of(organization).not_removed().filter(**columns)
    if changed is not None:
        same = same.exclude(pk=changed.pk)
    existing = same.values_list("pk", flat=True).first()
    if existing is not None:
        raise ConflictError(
            f"The same limit exists already: {existing}.", code="limit_exists", extra={"limit": existing}
        )


def check_plan_has_api(plan: Plan, actor: Principal) -> None:
    """Raise ForbiddenError for a plan without API access. Operators may prepare limits for a later plan."""
    if not plan.api_access and not actor.is_operator:
        raise refusal_without_api(plan)


def _audit_details(columns: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the audit log's details for the columns."""
    return {f"limit_{name}": _audit_text(value) for name, value in columns.items()}


def _audit_text(value: object) -> str | None:
    match value:
        case None:
            return None
        case Decimal():
            return plain(value)
        case datetime():
            return iso(value)
        case list():
            return ", ".join(map(str, value))
        case dict():
            return ", ".join(f"{name}: {amount}" for name, amount in value.items())
    return str(value)


def _audit(limit: SpendLimit, action: str, actor: Principal, **details: str | int | None) -> None:
    audit.record(
        organization=limit.organization,
        actor=actor.label,
        action=action,
        subject=str(limit)[:254],
        limit=limit.pk,
        **details,
    )


_MANUAL_KINDS = (OverrideKind.PAUSE, OverrideKind.OPEN)


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
) -> LimitOverride:
    """Raise the limit to a higher amount until `ends_at`.

    Raises InvalidError naming the field. Only operators may exceed the plan's maximum.
    """
    check_amount(amount_usd, param="amount_usd")
    check_end(ends_at, now=now)
    plan = lock_limits(organization)
    limit = get_current_limit(organization, limit.pk)
    check_plan_has_api(plan, actor)
    if amount_usd <= limit.amount_usd:
        raise field_error("amount_usd", f"Must be more than the limit's amount, {plain(limit.amount_usd)} USD.")
    if not actor.is_operator and limit.unit == LimitUnit.USD:
        check_plan_allows(plan, limit.window, amount_usd)
    override = LimitOverride(kind=OverrideKind.RAISE, value=value, amount_usd=amount_usd, ends_at=ends_at)
    return _begin(limit, override, reason=reason, actor=actor, now=now)


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
) -> LimitOverride:
    """Refuse all authorizations until `ends_at`, or until a user ends the pause, regardless of spend and action.

    Raises InvalidError naming the field.
    """
    if ends_at is not None:
        check_end(ends_at, now=now)
    lock_limits(organization)
    limit = get_current_limit(organization, limit.pk)
    override = LimitOverride(kind=OverrideKind.PAUSE, value=value, ends_at=ends_at)
    return _begin(limit, override, reason=reason, actor=actor, now=now)


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
) -> LimitOverride:
    """Let the limit refuse nothing until `ends_at`, regardless of spend.

    Raises InvalidError naming the field. Only operators may open the plan's own limit (ForbiddenError).
    """
    check_end(ends_at, now=now)
    plan = lock_limits(organization)
    limit = get_current_limit(organization, limit.pk)
    check_plan_has_api(plan, actor)
    if limit.is_plan and not actor.is_operator:
        raise ForbiddenError("Only operators can open the plan's own limit.", code="operators_only")
    override = LimitOverride(kind=OverrideKind.OPEN, value=value, ends_at=ends_at)
    return _begin(limit, override, reason=reason, actor=actor, now=now)


@transaction.atomic
def end_override(
    *, organization: Organization, override: LimitOverride, actor: Principal, now: datetime
) -> LimitOverride:
    """End an override now. Ending it again changes nothing.

    Only operators may end an operator's pause of the plan's own limit (ForbiddenError).
    """
    lock_limits(organization)
    rows = LimitOverride.objects.of(organization).select_related("limit")
    found = rows.get_or_not_found("override", pk=override.pk, limit__removed_at=None)
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
    limit = get_current_limit(organization, limit.pk)
    stored = stored_value(limit, value, now=now)
    pauses = list(active_overrides(limit, now).filter(kind=OverrideKind.PAUSE, value=stored))
    if not pauses:
        message = "The limit is not paused manually. To open a limit that is reached, set ends_at."
        raise ConflictError(message, code="not_paused_manually")
    for pause in pauses:
        pause.limit = limit
        _end(pause, actor=actor, now=now, reason=clean_text(reason, param="reason"))
    announce_limit_change(organization)


def _begin(
    limit: SpendLimit, override: LimitOverride, *, reason: str, actor: Principal, now: datetime
) -> LimitOverride:
    """Complete and write an override, and end the one that it replaces."""
    override.organization, override.limit = limit.organization, limit
    override.starts_at, override.actor = now, actor.label
    override.reason = clean_text(reason, param="reason")
    display, override.value = override.value, stored_value(limit, override.value, now=now)
    kinds = _MANUAL_KINDS if override.kind in _MANUAL_KINDS else (OverrideKind.RAISE,)
    for previous in active_overrides(limit, now).filter(kind__in=kinds, value=override.value):
        previous.limit = limit
        _end(previous, actor=actor, now=now)
    override.save(force_insert=True)
    _audit(
        limit,
        {"raise": "limit.raised", "pause": "limit.paused", "open": "limit.opened"}[override.kind],
        actor,
        override=override.pk,
        value=display,
        reason=override.reason,
        amount_usd=None if override.amount_usd is None else plain(override.amount_usd),
        ends_at=iso(override.ends_at),
    )
    announce_limit_change(limit.organization)
    return override


def _end(override: LimitOverride, *, actor: Principal, now: datetime, reason: str = "") -> None:
    _check_may_end(override, actor)
    override.ends_at = now
    override.save(update_fields=["ends_at"])
    _audit(
        override.limit,
        "limit.override_ended",
        actor,
        override=override.pk,
        kind=override.kind,
        value=display_value(override.limit, override.value),
        reason=reason,
    )


def _check_may_end(override: LimitOverride, actor: Principal) -> None:
    """Refuse to end an operator's pause of the plan's own limit, unless an operator does it."""
    if actor.is_operator or not override.limit.is_plan or override.kind != OverrideKind.PAUSE:
        return
    if _is_operators(override.actor, override.limit.organization):
        raise ForbiddenError("An operator has paused this limit. Only operators can resume it.", code="operators_only")


def _is_operators(actor: str, organization: Organization) -> bool:
    """Whether an actor of the audit log is an operator: a superuser, or a Client ID that the organization lacks."""
    if "@" in actor:
        with owner_scope():  # a tenant scope shows only users who are members
            return User.objects.filter(email=actor, is_superuser=True).exists()
    return not APICredential.objects.of(organization).filter(client_id=actor).exists()
