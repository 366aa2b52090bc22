"""Finds names by a part of them: users, models, tags, runs, sessions and so on, for the palette.

Names come from the rollup of the scopes of limits, which has a row for each name. The search is bounded whatever the
organization has: the names that follow the text in the order of the primary key, and the most recent names of each
scope. Usage of the last second may be missing, because it is not folded yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from billing.models.rollups import ScopeTotal
from billing.types import LimitScope
from costtrack.database.queries import fetch_rows
from organizations.models import Organization

_MAX_FOLLOWING, _MAX_RECENT = 100, 1_000

_NAMES = sql.SQL("""
WITH names AS (
    (SELECT scope, value FROM {table}
        WHERE organization_id = %(organization)s AND value >= %(text)s AND scope = ANY(%(scopes)s::text[])
            AND last_received_at >= coalesce(%(since)s::timestamptz, '-infinity')
        ORDER BY value LIMIT %(following)s)
    UNION
    SELECT scope, value FROM unnest(%(scopes)s::text[]) AS requested(name) CROSS JOIN LATERAL (
        SELECT scope, value FROM {table}
        WHERE organization_id = %(organization)s AND scope = requested.name
            AND last_received_at >= coalesce(%(since)s::timestamptz, '-infinity')
        ORDER BY last_received_at DESC LIMIT %(recent)s) AS recent
)
SELECT scope, value FROM names WHERE strpos(lower(value), lower(%(text)s)) > 0
ORDER BY lower(value) <> lower(%(text)s), NOT starts_with(lower(value), lower(%(text)s)), value
""").format(table=sql.Identifier(ScopeTotal._meta.db_table))  # noqa: SLF001 - documented for such use


@dataclass(frozen=True, slots=True)
class NamedValue:
    scope: LimitScope
    value: str


def find_names(
    *,
    organization: Organization,
    text: str,
    scopes: Sequence[LimitScope],
    each: int,
    since: datetime | None = None,
) -> list[NamedValue]:
    """Return up to `each` names of every scope that contain the text, whatever their case: the text itself first, then
    names that begin with it. `since` leaves out names without usage since then."""
    parameters = {
        "organization": organization.pk,
        "text": text,
        "scopes": [scope.value for scope in scopes],
        "since": since,
        "following": _MAX_FOLLOWING,
        "recent": _MAX_RECENT,
    }
    names: dict[LimitScope, list[str]] = {scope: [] for scope in scopes}
    for scope, value in fetch_rows(_NAMES, parameters):
        values = names[LimitScope(scope)]
        if value and len(values) < each and value not in values:
            values.append(value)
    return [NamedValue(scope, value) for scope, values in names.items() for value in values]
