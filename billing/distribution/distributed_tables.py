"""Which tables are distributed by organization, and where the others are.

The lists are read from the catalog: every own table is distributed, except those that are listed here with the reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from billing.ledger.partitions import LEDGER
from costtrack.database.queries import fetch_rows

ORGANIZATIONS = "organizations_organization"
GLOBAL_TABLES = {
    ORGANIZATIONS: "Everything is distributed by it, and every request reads it.",
    "organizations_plan": "The same plans for everyone.",
    "organizations_user": "A user is a member of several organizations.",
    "organizations_user_groups": "Belongs to `organizations_user`.",
    "organizations_user_user_permissions": "Belongs to `organizations_user`.",
    "organizations_formerslug": "A URL is read before its organization is known.",
    "organizations_membership": "Signing in reads a user's memberships in all organizations at once.",
    "organizations_apicredential": "A request is known by its Client ID before its organization; operators have none.",
    "organizations_auditentry": "Changes of the whole installation belong to no organization.",
    "organizations_idempotencykey": "Requests that create an organization belong to none.",
    "organizations_securityevent": "Sign-ins of users, who belong to several organizations or to none.",
    "organizations_accountemail": "About users, who belong to several organizations or to none.",
    "billing_priceversion": "The catalog's prices are everyone's, and are read together with an organization's own.",
    "billing_pricebookrevision": "Belongs to `billing_priceversion`.",
}
"""Tables whose rows are not of exactly one organization: every server has a copy, or the coordinator alone has them."""

_OWN_TABLES = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND relname ~ '^(billing|organizations)_'
ORDER BY relname
"""
# Of a partitioned table, which has the same keys as its partitions.
_FOREIGN_KEYS = """
SELECT conname::text, conrelid::regclass::text, confrelid::regclass::text, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conparentid = 0
    AND NOT (SELECT relispartition FROM pg_class WHERE pg_class.oid = conrelid)
ORDER BY conrelid::regclass::text, conname
"""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`definition` is what follows ADD CONSTRAINT and the name."""

    name: str
    table: str
    referenced: str
    definition: str


class TableKind(StrEnum):
    """Where the rows of a table are, in Citus's words."""

    DISTRIBUTED = "distributed"
    REFERENCE = "reference"
    COORDINATOR = "local"


def own_tables() -> list[str]:
    return [name for (name,) in fetch_rows(_OWN_TABLES)]


def read_foreign_keys() -> list[ForeignKey]:
    return [ForeignKey(*row) for row in fetch_rows(_FOREIGN_KEYS)]


def kinds(keys: Iterable[ForeignKey]) -> dict[str, TableKind]:
    """Return the kind of each table that Citus has to know, in the order of their distribution. `keys` are the foreign
    keys of the schema.

    Reference tables are those that tenants' rows refer to, and what these refer to. The other tables that foreign keys
    connect with them are on the coordinator alone.
    """
    tenants = sorted(
        (name for name in own_tables() if name not in GLOBAL_TABLES), key=lambda name: (name != LEDGER, name)
    )
    others = {key for key in keys if key.table not in tenants}
    references = _connected({key.referenced for key in keys if key.table in tenants} - {*tenants}, others, both=False)
    coordinator = _connected(references, others, both=True) - references
    return {
        **dict.fromkeys(sorted(references), TableKind.REFERENCE),
        **dict.fromkeys(tenants, TableKind.DISTRIBUTED),
        **dict.fromkeys(sorted(coordinator), TableKind.COORDINATOR),
    }


def _connected(tables: set[str], keys: Iterable[ForeignKey], *, both: bool) -> set[str]:
    """Return the tables and those that they refer to, or that are connected with them in both directions."""
    while True:
        more = {key.referenced for key in keys if key.table in tables}
        if both:
            more |= {key.table for key in keys if key.referenced in tables}
        if more <= tables:
            return tables
        tables = tables | more
