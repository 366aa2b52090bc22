"""Summaries of organizations for the operator overview. Read-only, with cost independent of the size of the tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from costtrack.database.queries import fetch_rows
from costtrack.ids import ids_at
from organizations.models import Organization

MAX_COUNTED = 1_000

_BACKLOG = sql.SQL("""
SELECT
    (SELECT count(*) FROM (SELECT FROM billing_unpricedevent
        WHERE organization_id = %(organization)s LIMIT %(cap)s) AS unpriced),
    (SELECT count(*) FROM (SELECT FROM billing_quarantinedrecord
        WHERE organization_id = %(organization)s AND resolved_at IS NULL LIMIT %(cap)s) AS quarantined)
""")
# Batch ids are ordered by time.
_OVERVIEW = sql.SQL("""
{backlog},
    (SELECT received_at FROM billing_ingestbatch WHERE organization_id = %(organization)s ORDER BY id DESC LIMIT 1),
    coalesce(sum(accepted), 0)
FROM billing_ingestbatch WHERE organization_id = %(organization)s AND id >= %(first)s
""").format(backlog=_BACKLOG)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Unpriced events and quarantined records of an organization, each counted up to `MAX_COUNTED`."""

    unpriced: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Overview:
    """What one organization received since an instant, and its backlog."""

    organization: Organization
    last_received_at: datetime | None
    events: int
    backlog: Backlog


def list_overviews(*, organizations: Sequence[Organization], since: datetime) -> list[Overview]:
    """Return one overview per organization, in the given order, with a query for each."""
    overviews = []
    for organization in organizations:
        parameters = {"organization": organization.pk, "first": ids_at(since)[0], "cap": MAX_COUNTED}
        [(unpriced, quarantined, last_received_at, events)] = fetch_rows(_OVERVIEW, parameters)
        backlog = Backlog(unpriced, quarantined)
        overviews.append(Overview(organization, last_received_at, events, backlog))
    return overviews


def backlog(*, organization: Organization) -> Backlog:
    [counts] = fetch_rows(_BACKLOG, {"organization": organization.pk, "cap": MAX_COUNTED})
    return Backlog(*counts)
