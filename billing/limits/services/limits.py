"""Create, change and remove limits."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.limits.cache import announce_limit_change
from billing.limits.locks import limit_in_place, lock_limits
from billing.limits.scope_values import credential_pk
from billing.limits.validation import (
    LimitInput,
    check_end,
    check_plan_allows,
    check_unchangeable,
    to_limit_input,
    validate_limit_input,
)
from billing.models import SpendLimit
from billing.types import LimitScope
from costtrack.clock import iso
from costtrack.errors import ConflictError
from costtrack.money import plain
from organizations import audit
from organizations.models import Organization, Plan
from organizations.selectors import refusal_without_api
from organizations.types import Principal

MAX_LIMITS = 200
"""Maximum number of limits of one organization, because each call is compared with all of them."""


@transaction.atomic
def create_limit(*, organization: Organization, limit_input: LimitInput, actor: Principal, now: datetime) -> SpendLimit:
    """Create a limit that applies from now on, or from `starts_at` on.

    Raises InvalidError naming the field, ForbiddenError for a plan without API access, ConflictError beyond
    `MAX_LIMITS`.
    """
    validate_limit_input(limit_input)
    if limit_input.ends_at is not None:
        check_end(limit_input.ends_at, now=now)
    plan = lock_limits(organization)
    check_plan_has_api(plan, actor)
    check_plan_allows(plan, limit_input.window, limit_input.amount_usd)
    if limit_input.scope is LimitScope.CREDENTIAL and limit_input.scope_value:
        credential_pk(organization, limit_input.scope_value, param="scope_value")
    if SpendLimit.objects.of(organization).not_removed().count() >= MAX_LIMITS:
        message = f"An organization can have at most {MAX_LIMITS} limits. Leave scope_value empty to limit every value."
        raise ConflictError(message, code="too_many_limits")
    limit = SpendLimit.objects.create(organization=organization, created_at=now, **limit_input.columns())
    _audit(limit, "limit.created", actor, **_audit_details(limit_input.columns()))
    announce_limit_change(organization)
    return limit


@transaction.atomic
def change_limit(
    *, organization: Organization, limit: SpendLimit, changes: Mapping[str, Any], actor: Principal, now: datetime
) -> SpendLimit:
    """Change the given fields of `LimitInput`. The change also applies to what is already spent.

    Raises InvalidError naming the field, also for a changed scope or window; NotFoundError if the limit was removed.
    """
    plan = lock_limits(organization)
    limit = limit_in_place(organization, limit.pk)
    check_unchangeable(limit, changes)
    before = to_limit_input(limit)
    limit_input = replace(before, **changes)
    validate_limit_input(limit_input)
    if limit_input.ends_at is not None and limit_input.ends_at != before.ends_at:
        check_end(limit_input.ends_at, now=now)
    check_plan_has_api(plan, actor)
    if limit_input.amount_usd != before.amount_usd:
        check_plan_allows(plan, limit.window, limit_input.amount_usd)
    columns = {name: value for name, value in limit_input.columns().items() if value != getattr(limit, name)}
    if not columns:
        return limit
    for name, value in columns.items():
        setattr(limit, name, value)
    limit.save(update_fields=list(columns))
    _audit(limit, "limit.changed", actor, **_audit_details(columns))
    announce_limit_change(organization)
    return limit


@transaction.atomic
def remove_limit(*, organization: Organization, limit: SpendLimit, actor: Principal, now: datetime) -> None:
    """The limit holds no more; its row stays, because crossings tell of it.

    Raises ConflictError for the plan's own limit, NotFoundError if the limit was removed already.
    """
    lock_limits(organization)
    limit = limit_in_place(organization, limit.pk)
    if limit.is_plan:
        message = "This limit belongs to the organization's plan. It can be lowered, but not removed."
        raise ConflictError(message, code="limit_of_plan")
    limit.removed_at = now
    limit.save(update_fields=["removed_at"])
    _audit(limit, "limit.removed", actor)
    announce_limit_change(organization)


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
    return str(value)


def _audit(limit: SpendLimit, action: str, actor: Principal, **details: str | None) -> None:
    audit.record(
        organization=limit.organization,
        actor=actor.label,
        action=action,
        subject=str(limit)[:254],
        limit=limit.pk,
        **details,
    )
