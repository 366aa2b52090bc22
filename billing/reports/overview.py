"""Summaries of organizations for the operator overview. Read-only, with cost independent of the size of the tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from psycopg import sql

from costtrack.ids import ids_at
from organizations.models import Organization

MAX_COUNTED = 1_000

# Backlog counts of the organization in alias `target`, each capped.
_QUEUES = sql.SQL("""
    (SELECT count(*) FROM (SELECT FROM billing_unpricedevent AS event
        WHERE event.organization_id = target.id LIMIT %(cap)s) AS unpriced),
    (SELECT count(*) FROM (SELECT FROM billing_quarantinedrecord AS record
        WHERE record.organization_id = target.id AND record.resolved_at IS NULL LIMIT %(cap)s) AS quarantined)
""")
_BACKLOG = sql.SQL("SELECT {queues} FROM (VALUES (%(organization)s::bigint)) AS target (id)").format(queues=_QUEUES)

# Batch ids are ordered by time.
_FIGURES = sql.SQL("""
SELECT target.id,
    (SELECT batch.received_at FROM billing_ingestbatch AS batch
        WHERE batch.organization_id = target.id ORDER BY batch.id DESC LIMIT 1),
    recent.events, recent.cost_usd, {queues}
FROM unnest(%(organizations)s::bigint[]) AS target (id)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(batch.accepted), 0) AS events, coalesce(sum(batch.cost_usd), 0) AS cost_usd
    FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = target.id AND batch.id >= %(first)s
) AS recent
""").format(queues=_QUEUES)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Unpriced events and quarantined records of an organization, each counted up to `MAX_COUNTED`."""

    unpriced: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Overview:
    """What one organization recorded since an instant, and its backlog."""

    organization: Organization
    last_received_at: datetime | None
    events: int
    cost_usd: Decimal
    backlog: Backlog


def list_overviews(*, organizations: Sequence[Organization], since: datetime) -> list[Overview]:
    """Return one overview per organization, in the given order, with one query."""
    ids = [organization.pk for organization in organizations]
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES, {"organizations": ids, "first": ids_at(since)[0], "cap": MAX_COUNTED})
        figures = {row[0]: row[1:] for row in cursor.fetchall()}
    return [_overview(organization, *figures[organization.pk]) for organization in organizations]


def _overview(
    organization: Organization,
    last_received_at: datetime | None,
    events: int,
    cost_usd: Decimal,
    unpriced: int,
    quarantined: int,
) -> Overview:
    return Overview(organization, last_received_at, events, cost_usd, Backlog(unpriced, quarantined))


def backlog(*, organization: Organization) -> Backlog:
    with connection.cursor() as cursor:
        cursor.execute(_BACKLOG, {"organization": organization.pk, "cap": MAX_COUNTED})
        return Backlog(*cursor.fetchone())
