"""Filter options of usage: the capabilities and models used since a day. Read-only."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection
from psycopg import sql

from billing.rollups.definitions import USAGE_DAYS
from organizations.models import Organization

# Unfolded usage is missing here for a second.
_OPTIONS = sql.SQL("""
SELECT coalesce(array_agg(DISTINCT capability) FILTER (WHERE capability <> ''), '{{}}'),
    coalesce(array_agg(DISTINCT model) FILTER (WHERE model <> ''), '{{}}')
FROM {table} WHERE organization_id = %(organization)s AND day >= %(first)s
""").format(table=sql.Identifier(USAGE_DAYS.table))


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """Capabilities and models in alphabetical order."""

    capabilities: tuple[str, ...]
    models: tuple[str, ...]


def list_filter_options(*, organization: Organization, since: datetime) -> FilterOptions:
    with connection.cursor() as cursor:
        cursor.execute(_OPTIONS, {"organization": organization.pk, "first": since.astimezone(UTC).date()})
        capabilities, models = cursor.fetchone()
    return FilterOptions(tuple(capabilities), tuple(models))
