"""What a filter of usage can be set to: the capabilities and models that were used since a day. Read-only."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection
from psycopg import sql

from billing.rollups.definitions import USAGE_DAYS
from organizations.models import Organization

# What is not folded yet is there a second later.
_USED = sql.SQL("""
SELECT coalesce(array_agg(DISTINCT capability) FILTER (WHERE capability <> ''), '{{}}'),
    coalesce(array_agg(DISTINCT model) FILTER (WHERE model <> ''), '{{}}')
FROM {table} WHERE organization_id = %(organization)s AND day >= %(first)s
""").format(table=sql.Identifier(USAGE_DAYS.table))


@dataclass(frozen=True, slots=True)
class Used:
    """In the order of the alphabet."""

    capabilities: tuple[str, ...]
    models: tuple[str, ...]


def used_since(*, organization: Organization, since: datetime) -> Used:
    with connection.cursor() as cursor:
        cursor.execute(_USED, {"organization": organization.pk, "first": since.astimezone(UTC).date()})
        capabilities, models = cursor.fetchone()
    return Used(tuple(capabilities), tuple(models))
