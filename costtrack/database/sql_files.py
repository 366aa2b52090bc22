"""SQL of migrations, in files that can be read, compared and run with psql.

A migration's files are in the folder `sql` next to it, named after its number and their subject:
`billing/migrations/sql/0004_limit_balances.sql` belongs to `0004_functions.py`. A change of a function or a view is a
new migration with a new file.
"""

from pathlib import Path

from django.db.migrations import RunSQL


def run_sql_files(migration: str, *subjects: str) -> list[RunSQL]:
    """Return the operations that run a migration's SQL files, in this order. `migration` is its `__file__`."""
    path = Path(migration)
    number = path.stem.partition("_")[0]
    files = [path.parent / "sql" / f"{number}_{subject}.sql" for subject in subjects]
    return [RunSQL(file.read_text(encoding="utf-8")) for file in files]
