"""Closing a month: its statement no longer changes. What arrives or is corrected later is booked in the open month.

Closing holds the lock under which batches are folded (docs/locking.md), so every batch is folded either before it, and
is in the closed month, or after it, and its events of the month are late events (`billing.rollups.late_events`).
"""

from datetime import date, datetime

from django.db import connection

from billing.models import ClosedMonth
from billing.notifications.outbox import notify
from billing.reports.statements.limits_history import limits_history
from billing.reports.statements.month_commitments import stored_commitments
from billing.reports.statements.months import (
    StatementMonth,
    credential_names,
    first_month,
    month_of,
    next_month,
)
from billing.reports.statements.statement import StatementQuery, StatementTotals, statement_totals
from billing.rollups.fold import fold_organization
from billing.rollups.locks import lock_rollups
from billing.types import NoticeKind
from costtrack.errors import ConflictError, ForbiddenError
from costtrack.money import plain
from costtrack.tenancy import owner_scope
from organizations import audit
from organizations.models import Organization
from organizations.types import Role

MAX_MONTHS = 240
"""Closing the first month closes at most so many months before it one by one; earlier ones have no row."""


def close_month(
    *, organization: Organization, month: date, acting_as: Role, actor: str, now: datetime
) -> StatementMonth:
    """Close a month and all open months before it, by an owner or an operator.

    Raises ForbiddenError for others, ConflictError if the month is closed or has not ended.
    """
    if acting_as is not Role.OWNER:
        raise ForbiddenError("Only an owner may close a month.", code="owners_only")
    check_may_close(month_of(organization, month), now)
    # Tenant scopes can read rollups but not write them.
    with owner_scope(), connection.cursor() as cursor:
        lock_rollups(cursor, organization.pk)
        fold_organization(organization_id=organization.pk, now=now)
        statement_month = month_of(organization, month)
        check_may_close(statement_month, now)
        names = credential_names(organization)
        for open_month in _open_months(organization, month):
            ClosedMonth.objects.create(
                organization=organization,
                month=open_month.month,
                starts_at=open_month.span.start,
                ends_at=open_month.span.end,
                time_zone=open_month.zone.key,
                closed_at=now,
                closed_by=actor,
                organization_name=organization.name,
                credential_names=names,
                limits_history=limits_history(organization, open_month.span),
                commitments=stored_commitments(organization, open_month, now),
            )
        closed = month_of(organization, month)
        totals = statement_totals(StatementQuery(organization, closed))
        _record(organization, closed, totals, actor, now)
    return closed


def check_may_close(month: StatementMonth, now: datetime) -> None:
    """Raise ConflictError if the month cannot be closed."""
    if month.is_closed:
        raise ConflictError(f"{month.name} is already closed.", code="already_closed")
    if now < month.span.end:
        raise ConflictError(f"{month.name} has not ended yet.", code="month_not_ended")


def _open_months(organization: Organization, month: date) -> list[StatementMonth]:
    """Return the open months up to this one, oldest first."""
    closed = list(ClosedMonth.objects.of(organization).order_by("month"))
    first = next_month(closed[-1].month) if closed else min(first_month(organization, closed), month)
    months = []
    while first <= month:
        months.append(first)
        first = next_month(first)
    return [month_of(organization, open_month) for open_month in months[-MAX_MONTHS:]]


def _record(
    organization: Organization, month: StatementMonth, totals: StatementTotals, actor: str, now: datetime
) -> None:
    cost_usd, unpriced = plain(totals.total.cost_usd), totals.total.unpriced_events
    audit.record(
        organization=organization,
        actor=actor,
        action="month.closed",
        subject=month.name,
        cost_usd=cost_usd,
        unpriced_events=unpriced,
    )
    notify(
        organization=organization,
        kind=NoticeKind.MONTH_CLOSED,
        subject=f"{organization.name}: {month.month:%B %Y} is closed",
        data={
            "organization": organization.slug,
            "month": {"id": month.name, "cost_usd": cost_usd, "unpriced_events": unpriced, "closed_by": actor},
            "time_zone": month.zone.key,
        },
        now=now,
    )
