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
    SELECT scope, value FROM (
        SELECT scope, value, last_received_at FROM {table}
        WHERE organization_id = %(organization)s AND value >= %(text)s
        ORDER BY value LIMIT %(following)s) AS following
    WHERE scope = ANY(%(scopes)s::text[]) AND last_received_at >= coalesce(%(since)s::timestamptz, '-infinity')
    UNION
    SELECT scope, value FROM unnest(%(scopes)s::text[]) AS requested(name) CROSS JOIN LATERAL (
        SELECT scope, value FROM {table}
        WHERE organization_id = %(organization)s AND scope = requested.name
            AND last_received_at >= coalesce(%(since)s::timestamptz, '-infinity')
        ORDER BY last_received_at DESC LIMIT %(recent)s) AS recent
)
SELECT scope, value FROM names WHERE strpos(lower(value), lower(%(text)s)) > 0 OR %(text)s = ''
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
    names: dict[LimitScope, list[str]] = {scope: [] for scope in scopes}
    for name in _read(organization, text, scopes, since, following=_MAX_FOLLOWING, recent=_MAX_RECENT):
        if len(names[name.scope]) < each:
            names[name.scope].append(name.value)
    return [NamedValue(scope, value) for scope, values in names.items() for value in values]


def recent_names(*, organization: Organization, scopes: Sequence[LimitScope], each: int) -> list[NamedValue]:
    """Return up to `each` of the most recent names of every scope, in alphabetical order."""
    return _read(organization, "", scopes, None, following=0, recent=each)


def _read(
    organization: Organization,
    text: str,
    scopes: Sequence[LimitScope],
    since: datetime | None,
    *,
    following: int,
    recent: int,
) -> list[NamedValue]:
    parameters = {
        "organization": organization.pk,
        "text": text,
        "scopes": [scope.value for scope in scopes],
        "since": since,
        "following": following,
        "recent": recent,
    }
    return [NamedValue(LimitScope(scope), value) for scope, value in fetch_rows(_NAMES, parameters) if value]
