"""The state of an organization's rollups (`billing.models.LedgerState`): a version, and the number of sessions,
executions and generation groups.

Triggers of the rollups' tables maintain the counts, so they are correct for every writer.
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
    """A column of the state: the number of keys of a rollup. A key that also has archived rows counts once."""

    column: str
    rollup: Rollup

    @property
    def counted(self) -> sql.Composed:
        """A SELECT of the number from the rollup. Parameter: organization."""
        return sql.SQL("SELECT count(DISTINCT {}) FROM {} WHERE organization_id = %(organization)s").format(
            sql.Identifier(self.rollup.dimensions[0].column), sql.Identifier(self.rollup.table)
        )


COUNTS = (Count("sessions", SESSION_TOTALS), Count("executions", EXECUTION_TOTALS), Count("groups", GROUP_TOTALS))


_COUNTS = sql.SQL("SELECT {counted}, {stored}").format(
    counted=sql.SQL(", ").join(sql.SQL("({})").format(count.counted) for count in COUNTS),
    stored=sql.SQL(", ").join(
        sql.SQL("coalesce((SELECT {} FROM billing_ledgerstate WHERE organization_id = %(organization)s), 0)").format(
            sql.Identifier(count.column)
        )
        for count in COUNTS
    ),
)
_RECOUNT = sql.SQL(
    "INSERT INTO billing_ledgerstate (organization_id, {columns}) SELECT %(organization)s, {counted}"
    " ON CONFLICT (organization_id) DO UPDATE SET {replaced}"
).format(
    columns=sql.SQL(", ").join(sql.Identifier(count.column) for count in COUNTS),
    counted=sql.SQL(", ").join(sql.SQL("({})").format(count.counted) for count in COUNTS),
    replaced=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(count.column)) for count in COUNTS),
)


def wrong_counts(cursor: Any, organization_id: int) -> dict[str, tuple[int, int]]:
    """Return the counts that differ: (stored, counted), from the same snapshot."""
    cursor.execute(_COUNTS, {"organization": organization_id})
    row = cursor.fetchone()
    counted, stored = row[: len(COUNTS)], row[len(COUNTS) :]
    pairs = zip(COUNTS, stored, counted, strict=True)
    return {count.column: (was, should_be) for count, was, should_be in pairs if was != should_be}


def recount(cursor: Any, organization_id: int) -> None:
    """Correct the counts. The caller holds the lock on the rollups."""
    cursor.execute(_RECOUNT, {"organization": organization_id})


def bump_ledger_version(cursor: Any, organization_id: int) -> None:
    """Change the version. To be called in every transaction that changes rollups."""
    cursor.execute(_CHANGED, [organization_id])
