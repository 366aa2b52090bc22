"""What a first look shows of some organizations. Read-only, and as quick on large tables as on small ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from psycopg import sql

from costtrack.ids import ids_at
from organizations.models import Organization

MAX_COUNTED = 1_000

# Of an organization `chosen`; counted no further than a cap.
_QUEUES = sql.SQL("""
    (SELECT count(*) FROM (SELECT FROM billing_unpricedevent AS event
        WHERE event.organization_id = chosen.id LIMIT %(cap)s) AS waiting),
    (SELECT count(*) FROM (SELECT FROM billing_quarantinedrecord AS record
        WHERE record.organization_id = chosen.id AND record.resolved_at IS NULL LIMIT %(cap)s) AS held)
""")
_WAITING = sql.SQL("SELECT {queues} FROM (VALUES (%(organization)s::bigint)) AS chosen (id)").format(queues=_QUEUES)

# The batches of a span of time are a range of their ids.
_FIGURES = sql.SQL("""
SELECT chosen.id,
    (SELECT batch.received_at FROM billing_ingestbatch AS batch
        WHERE batch.organization_id = chosen.id ORDER BY batch.id DESC LIMIT 1),
    recent.events, recent.cost_usd, {queues}
FROM unnest(%(organizations)s::bigint[]) AS chosen (id)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(batch.accepted), 0) AS events, coalesce(sum(batch.cost_usd), 0) AS cost_usd
    FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = chosen.id AND batch.id >= %(first)s
) AS recent
""").format(queues=_QUEUES)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much of an organization waits for somebody (up to `MAX_COUNTED`)."""

    unpriced: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Overview:
    """One organization: what it recorded since an instant, and what waits."""

    organization: Organization
    last_received_at: datetime | None
    events: int
    cost_usd: Decimal
    waiting: Waiting


def overviews(*, organizations: Sequence[Organization], since: datetime) -> list[Overview]:
    """One for each organization, in the order given. Takes one query."""
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
    return Overview(organization, last_received_at, events, cost_usd, Waiting(unpriced, quarantined))


def waiting(*, organization: Organization) -> Waiting:
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"organization": organization.pk, "cap": MAX_COUNTED})
        return Waiting(*cursor.fetchone())
