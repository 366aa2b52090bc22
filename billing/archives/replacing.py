"""Replace the id of a person in a file of archived events, as `billing.erasure` does in the ledger."""

import json
import re
from pathlib import Path
from typing import Any

from psycopg import sql

from billing.archives.archive_files import open_writer
from billing.archives.archive_reader import opened
from billing.archives.archive_schema import json_columns
from billing.models import EventArchive
from organizations.models import Organization

PERSON_COLUMNS = ("user_ref", "end_user")
_COUNT = sql.SQL("SELECT count(*) FROM archive WHERE user_ref = %(person)s OR end_user = %(person)s")


def replace_person(source: Path, target: Path, *, old: str, new: str) -> int:
    """Write a copy of a file in which `new` stands for `old`. Returns the number of changed values.

    In the JSON of senders, a text that is the id as a whole is replaced, unless it is a name.
    """
    from pyarrow import parquet

    changed = 0
    with parquet.ParquetFile(source) as file, open_writer(target) as writer:
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number)
            for name in (*PERSON_COLUMNS, *sorted(json_columns())):
                column, changes = _replaced(rows[name], name, old, new)
                if changes:
                    rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
                changed += changes
            writer.write_table(rows, row_group_size=rows.num_rows)
    return changed


def count_events_of_person(*, organization: Organization, person: str) -> int:
    """Return the number of archived events that name the person. Raises StorageError."""
    archives = list(EventArchive.objects.of(organization).complete())
    if not archives:
        return 0
    with opened(organization, archives) as reader:
        [(number,)] = reader.fetch(_COUNT, {"person": person})
    return int(number)


def _replaced(column: Any, name: str, old: str, new: str) -> tuple[Any, int]:
    import pyarrow as pa
    from pyarrow import compute

    if name in PERSON_COLUMNS:
        changes = compute.sum(compute.equal(column, old)).as_py() or 0
        return compute.if_else(compute.fill_null(compute.equal(column, old), False), pa.scalar(new), column), changes
    old_text, new_text = (json.dumps(text, ensure_ascii=False) for text in (old, new))
    if not (compute.sum(compute.match_substring(column, old_text)).as_py() or 0):
        return column, 0
    pattern = re.compile(rf"{re.escape(old_text)}(?!:)")
    texts = column.to_pylist()
    replaced = [None if text is None else pattern.sub(lambda _: new_text, text) for text in texts]
    changes = sum(before != after for before, after in zip(texts, replaced, strict=True))
    return pa.chunked_array([pa.array(replaced, pa.string())]), changes
