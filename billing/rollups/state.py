"""The state of an organization's rollups (`billing.models.LedgerState`): a version, and the number of sessions,
executions and generation groups, so that a list's total needs no count of all rows.

Each transaction that writes rollups learns from its statements how many keys it has added and removed
(`billing.rollups.sql.key_count_changes`), and changes version and counts together at its end.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from billing.rollups.definitions import ROLLUPS, Rollup
from billing.rollups.sql import column_list


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


COUNTS = tuple(Count(rollup.counted_in, rollup) for rollup in ROLLUPS if rollup.counted_in)

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
    columns=column_list(count.column for count in COUNTS),
    counted=sql.SQL(", ").join(sql.SQL("({})").format(count.counted) for count in COUNTS),
    replaced=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(count.column)) for count in COUNTS),
)
# Parameters: organization, and the change of each count.
_BUMP = sql.SQL(
    "INSERT INTO billing_ledgerstate AS state (organization_id, version, {columns})"
    " VALUES (%(organization)s, random() * 9e18, {changes})"
    " ON CONFLICT (organization_id) DO UPDATE SET version = excluded.version, {added}"
).format(
    columns=column_list(count.column for count in COUNTS),
    changes=sql.SQL(", ").join(sql.Placeholder(count.column) for count in COUNTS),
    added=sql.SQL(", ").join(
        sql.SQL("{0} = state.{0} + excluded.{0}").format(sql.Identifier(count.column)) for count in COUNTS
    ),
)


def named_changes(rollups: Iterable[Rollup], changes: Sequence[int]) -> dict[str, int]:
    """Return the values of `key_count_changes` by the column that each changes."""
    return dict(zip((rollup.counted_in for rollup in rollups if rollup.counted_in), changes, strict=True))


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


def bump_ledger_version(cursor: Any, organization_id: int, changes: Mapping[str, int] | None = None) -> None:
    """Change the version, and the counts by `changes`. To be called in every transaction that changes rollups."""
    unchanged = dict.fromkeys((count.column for count in COUNTS), 0)
    cursor.execute(_BUMP, {"organization": organization_id, **unchanged, **(changes or {})})
