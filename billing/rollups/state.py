"""The state of an organization's rollups as a whole (`billing.models.LedgerState`): its version, and how many sessions,
executions and generation groups there are.

Triggers of the rollups' tables count (billing/migrations/0010), so the numbers are right whoever writes the tables.
"""

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from billing.rollups.definitions import EXECUTION_TOTALS, GROUP_TOTALS, SESSION_TOTALS, Rollup

_CHANGED = """
INSERT INTO billing_ledgerstate (organization_id, version) VALUES (%s, random() * 9e18)
ON CONFLICT (organization_id) DO UPDATE SET version = excluded.version
"""


@dataclass(frozen=True, slots=True)
class Count:
    """A column of the state: how many keys a rollup has. One that has archived rows as well counts once."""

    column: str
    rollup: Rollup

    @property
    def counted(self) -> sql.Composed:
        """SELECT of the number, from the rollup. Parameter: organization."""
        return sql.SQL("SELECT count(DISTINCT {}) FROM {} WHERE organization_id = %(organization)s").format(
            sql.Identifier(self.rollup.dimensions[0].column), sql.Identifier(self.rollup.table)
        )


COUNTS = (Count("sessions", SESSION_TOTALS), Count("executions", EXECUTION_TOTALS), Count("groups", GROUP_TOTALS))


_COUNTS = sql.SQL(
    "SELECT {counted}, {kept} FROM (VALUES (1)) AS once LEFT JOIN billing_ledgerstate AS state"
    " ON state.organization_id = %(organization)s"
).format(
    counted=sql.SQL(", ").join(sql.SQL("({})").format(count.counted) for count in COUNTS),
    kept=sql.SQL(", ").join(sql.SQL("coalesce(state.{}, 0)").format(sql.Identifier(count.column)) for count in COUNTS),
)
_RECOUNT = sql.SQL(
    "INSERT INTO billing_ledgerstate (organization_id, {columns}) VALUES (%(organization)s, {counted})"
    " ON CONFLICT (organization_id) DO UPDATE SET {replaced}"
).format(
    columns=sql.SQL(", ").join(sql.Identifier(count.column) for count in COUNTS),
    counted=sql.SQL(", ").join(sql.SQL("({})").format(count.counted) for count in COUNTS),
    replaced=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(count.column)) for count in COUNTS),
)


def wrong_counts(cursor: Any, organization_id: int) -> dict[str, tuple[int, int]]:
    """What the state says and what the rollups have, where these differ; in one statement, so at one moment."""
    cursor.execute(_COUNTS, {"organization": organization_id})
    row = cursor.fetchone()
    counted, kept = row[: len(COUNTS)], row[len(COUNTS) :]
    pairs = zip(COUNTS, kept, counted, strict=True)
    return {count.column: (said, found) for count, said, found in pairs if said != found}


def recount(cursor: Any, organization_id: int) -> None:
    """Make the counts right. The caller has the rollups alone."""
    cursor.execute(_RECOUNT, {"organization": organization_id})


def has_changed(cursor: Any, organization_id: int) -> None:
    """To be called in every transaction that changes rollups."""
    cursor.execute(_CHANGED, [organization_id])
