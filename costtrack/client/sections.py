"""The output of a command before rendering: titles, columns of text, and notes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from costtrack.client import numbers


@dataclass(frozen=True, slots=True)
class Column:
    heading: str
    cells: Sequence[str]
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A table with a title above it, and a note below."""

    title: str = ""
    columns: Sequence[Column] = field(default=())
    note: str = ""
    has_headings: bool = True


def note(text: str) -> list[Section]:
    return [Section(note=text)]


def table(title: str, rows: Any, columns: Sequence[str] = (), *, nothing: str = "nothing") -> list[Section]:
    """Show objects as rows, with the given columns that any row has, or all columns if there are none."""
    records = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not records:
        return [Section(title=title, note=nothing)] if isinstance(rows, list) else describe(rows, title)
    there = list(dict.fromkeys(name for row in records for name in row))
    shown = [name for name in columns if name in there] or there
    return [Section(title=title, columns=[_column(name, [row.get(name) for row in records]) for name in shown])]


def page(
    data: Any, row_of: Callable[[dict[str, Any]], dict[str, Any]] = dict, columns: Sequence[str] = (), *, nothing: str
) -> list[Section]:
    """Show the rows of a page of a list, its total if it has one, and how to get the next page. `row_of` returns the
    columns of a row; other responses are described."""
    if not isinstance(data, dict) or not isinstance(data.get("results"), list):
        return describe(data)
    rows = [row_of(row) for row in data["results"] if isinstance(row, dict)]
    total = data.get("total")
    totals = field_sections("total", row_of(total)) if isinstance(total, dict) else []
    return [*table("", rows, columns, nothing=nothing), *totals, *next_page(data)]


def next_page(data: Mapping[str, Any]) -> list[Section]:
    """Show how to get the next page, if there is one."""
    cursor = data.get("next_cursor")
    return note(f"More rows: --cursor {cursor}") if cursor else []


def describe(data: Any, title: str = "") -> list[Section]:
    """Show any JSON: plain fields of an object as two columns, nested values as tables below."""
    if isinstance(data, list):
        is_table = all(isinstance(row, dict) for row in data)
        return table(title, data) if is_table else [Section(title=title, note=numbers.text(title, data))]
    if not isinstance(data, dict):
        return [Section(title=title, note=numbers.text(title, data))]
    plain = {name: value for name, value in data.items() if _is_plain(value)}
    sections = field_sections(title, plain) if plain or not data else []
    for name, value in data.items():
        if name not in plain and value:
            sections += _inner(name, value)
    return sections


def field_sections(title: str, fields: Mapping[str, Any]) -> list[Section]:
    """Show the fields of an object, one per line: first texts, then right-aligned numbers."""
    texts: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    for name, value in fields.items():
        (figures if _is_number(name, value) else texts)[name] = value
    return [
        Section(title=title if first else "", columns=_pairs(part), has_headings=False)
        for first, part in ((True, texts), (not texts, figures))
        if part
    ]


def amounts(title: str, amounts_by_name: Mapping[str, Any], *, of: str) -> list[Section]:
    """Show a map from names to numbers. `of` is the map's name, which distinguishes money from counts."""
    cells, is_number = numbers.cells(of, list(amounts_by_name.values()))
    columns = [
        Column(title, [name or numbers.NO_NAME for name in amounts_by_name]),
        Column(heading(of), cells, is_number),
    ]
    return [Section(title=title, columns=columns, has_headings=False)]


def heading(name: str) -> str:
    """Return the heading of a field: `total cost` for `total_cost_usd`."""
    return name.removesuffix("_usd").replace("_", " ")


def _inner(name: str, value: Any) -> list[Section]:
    if isinstance(value, dict) and "_by_" in name and all(_is_plain(inner) for inner in value.values()):
        return amounts(heading(name), value, of=name)
    return describe(value, heading(name))


def _pairs(fields: Mapping[str, Any]) -> list[Column]:
    money = [name for name in fields if numbers.is_money(name)]
    dollars = dict(zip(money, numbers.cells("usd", [fields[name] for name in money])[0], strict=True))
    is_number = all(_is_number(name, value) for name, value in fields.items())
    shown = [dollars[name] if name in dollars else numbers.text(name, value) for name, value in fields.items()]
    return [Column("", [heading(name) for name in fields]), Column("", shown, is_number)]


def _column(name: str, values: Iterable[Any]) -> Column:
    cells, is_number = numbers.cells(name, list(values))
    return Column(heading(name), cells, is_number)


def _is_number(name: str, value: Any) -> bool:
    return numbers.number_of(value, from_text=numbers.is_money(name)) is not None


def _is_plain(value: Any) -> bool:
    """A scalar, a list of such, or a window's start and end: what fits into one cell."""
    if isinstance(value, list):
        return all(not isinstance(inner, dict | list) for inner in value)
    return not isinstance(value, dict) or value.keys() == {"start", "end"}
