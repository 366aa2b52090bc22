"""What must be true before a database is distributed, and what is checked afterwards."""

from collections.abc import Iterator

from django.conf import settings
from django.db import connection

from billing.distribution.distributed_tables import ORGANIZATIONS, TableKind
from billing.ledger.partitions import LEDGER
from billing.models import IngestBatch
from costtrack.database.queries import fetch_rows
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

WITHOUT_CITUS = "This database has no Citus: run CREATE EXTENSION citus on every server (docs/distribution.md)."
MIN_CITUS = (13, 0)
"""The oldest version that was tried."""
MAX_READS = 100
"""How many organizations are read as tenants."""

_HAS_CITUS = "SELECT to_regproc('create_distributed_table') IS NOT NULL"
_VERSION = "SELECT (regexp_match(citus_version(), '(\\d+)\\.(\\d+)'))::int[]"
_NODES = "SELECT groupid = 0, isactive FROM pg_dist_node WHERE noderole = 'primary'"
_IS_COORDINATOR = "SELECT citus_is_coordinator()"
_TABLES = "SELECT table_name::text, citus_table_type, colocation_id FROM citus_tables"
_STRANGERS = """
SELECT count(*) FROM {table}
WHERE NOT EXISTS (SELECT FROM {organizations} AS owner WHERE owner.id = {table}.organization_id)
"""


_WHERE = {
    TableKind.DISTRIBUTED: "distributed by organization",
    TableKind.REFERENCE: "on every server",
    TableKind.COORDINATOR: "on the coordinator",
}


def has_citus() -> bool:
    ((is_there,),) = fetch_rows(_HAS_CITUS)
    return bool(is_there)


def present_kinds() -> dict[str, str]:
    """Return the kind of each table that Citus knows."""
    return {name: kind for name, kind, _ in fetch_rows(_TABLES)} if has_citus() else {}


def find_obstacles(kinds: dict[str, TableKind]) -> Iterator[str]:
    """Yield what prevents the distribution, one sentence each."""
    if not settings.DISTRIBUTED:
        yield "COSTTRACK_DISTRIBUTED is not true: set it for every process first (docs/distribution.md)."
    if has_citus():
        yield from _servers()
    else:
        yield WITHOUT_CITUS
    for table, kind in kinds.items():
        if kind is TableKind.DISTRIBUTED:
            ((strangers,),) = fetch_rows(_STRANGERS.format(table=table, organizations=ORGANIZATIONS))
            if strangers:
                yield f"{table} has {strangers:,} rows of organizations that do not exist."


def _servers() -> Iterator[str]:
    ((version,),) = fetch_rows(_VERSION)
    if tuple(version) < MIN_CITUS:
        yield f"Citus {'.'.join(map(str, version))} is too old: {'.'.join(map(str, MIN_CITUS))} or later is needed."
    ((is_coordinator,),) = fetch_rows(_IS_COORDINATOR)
    if not is_coordinator:
        yield "DATABASE_URL is a worker: it must be the coordinator, because locks are those of one server."
    nodes = fetch_rows(_NODES)
    if sum(is_first for is_first, _ in nodes) != 1:
        yield "The coordinator is not in its own metadata: run citus_set_coordinator_host."
    if not any(not is_first for is_first, _ in nodes):
        yield "There is no worker: run citus_add_node."
    if not all(is_active for _, is_active in nodes):
        yield "A worker is not active: run citus_activate_node."


def verify(kinds: dict[str, TableKind]) -> Iterator[tuple[bool, str]]:
    """Check the distributed database. Yield a sentence for each check, and whether it is right."""
    found = {name: (kind, group) for name, kind, group in fetch_rows(_TABLES)}
    for kind in TableKind:
        expected = [name for name, its_kind in kinds.items() if its_kind is kind]
        wrong = [name for name in expected if found.get(name, ("", 0))[0] != kind]
        yield not wrong, f"{len(expected) - len(wrong)} of {len(expected)} tables are {_WHERE[kind]}{_listed(wrong)}."
    apart = [
        name
        for name, kind in kinds.items()
        if kind is TableKind.DISTRIBUTED and found.get(name, ("", 0))[1] != found[LEDGER][1]
    ]
    yield not apart, f"All distributed tables are in one group{_listed(apart)}."
    yield from _reads()


def _reads() -> Iterator[tuple[bool, str]]:
    organizations = list(Organization.objects.order_by("-pk").values_list("pk", flat=True)[:MAX_READS])
    wrong = [str(pk) for pk in organizations if not _sees_its_rows_only(pk)]
    right = len(organizations) - len(wrong)
    yield not wrong, f"{right} of {len(organizations)} organizations read their rows only{_listed(wrong)}."


def _sees_its_rows_only(organization_id: int) -> bool:
    """Whether the tenants' role sees all batches of this organization, and no others."""
    expected = IngestBatch.objects.filter(organization=organization_id).count()
    with tenant_scope(organization_id), connection.cursor() as cursor:
        cursor.execute("SELECT organization_id, count(*) FROM billing_ingestbatch GROUP BY 1")
        seen = dict(cursor.fetchall())
        cursor.execute("SELECT id FROM organizations_organization")
        organizations = [pk for (pk,) in cursor.fetchall()]
    return seen == ({organization_id: expected} if expected else {}) and organizations == [organization_id]


def _listed(names: list[str]) -> str:
    return f", not {', '.join(names)}" if names else ""
