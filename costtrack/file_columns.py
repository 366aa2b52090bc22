"""The formats and the columns of tables that are written to files (`billing.exports.table_files`)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any, Self


class FileFormat(StrEnum):
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


FORMATS = tuple(name.value for name in FileFormat)
FORMAT_LABELS = ((FileFormat.CSV, "CSV"), (FileFormat.PARQUET, "Parquet"), (FileFormat.JSON, "JSON"))


@dataclass(frozen=True, slots=True)
class FileLinks:
    """What `admin/components/files.html` shows: the label and URL of each format, or why there are none."""

    links: tuple[tuple[str, str], ...] = ()
    refused: str = ""

    @classmethod
    def of(cls, url: str, query: str) -> Self:
        """Return a link for each format, with the filters of `query`."""
        start = f"{url}?{query}{'&' if query else ''}format="
        return cls(tuple((label, f"{start}{file_format}") for file_format, label in FORMAT_LABELS))


class Kind(StrEnum):
    """The type of a column's values; any of them may be None. Amounts are US dollars. `DECIMAL` is a number that has a
    decimal point in CSV, for readers that guess types."""

    TEXT = "text"
    COUNT = "count"
    AMOUNT = "amount"
    DECIMAL = "decimal"
    TIME = "time"
    BOOLEAN = "boolean"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class FileColumn:
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class ComputedColumn:
    """A column of a list's file that is no field of its rows."""

    name: str
    kind: Kind
    value: Callable[[Any], object]


def attributes(kind: Kind, /, *paths: str) -> tuple[ComputedColumn, ...]:
    """Return columns of attributes of the rows, by their names; `bill.amount_usd` is the column `bill_amount_usd`."""
    return tuple(ComputedColumn(path.replace(".", "_"), kind, attrgetter(path)) for path in paths)


def computed(kind: Kind, /, **values: Callable[[Any], object]) -> tuple[ComputedColumn, ...]:
    """Return columns by their names."""
    return tuple(ComputedColumn(name, kind, value) for name, value in values.items())
