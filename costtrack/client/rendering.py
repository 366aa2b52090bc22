"""Renders sections with rich: fitted to a terminal, elsewhere in full width and without color."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from costtrack.client.sections import Section
from costtrack.client.terminal import printable

_WIDE = 100_000  # without a terminal, lines are never broken or cut


def render(sections: Iterable[Section]) -> None:
    """Write them to stdout, with a blank line between them."""
    width = None if sys.stdout.isatty() else _WIDE
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    # Captured, because rich would exit the process itself on a broken pipe.
    with console.capture() as drawn:
        for number, section in enumerate(sections):
            if number:
                console.print()
            _draw(console, section)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))


def _draw(console: Console, section: Section) -> None:
    if section.title:
        console.print(Text(printable(section.title), style="bold"))
    if section.columns:
        console.print(_table(section))
    if section.note:
        console.print(Text(printable(section.note)))


def _table(section: Section) -> Table:
    table = Table(box=None, show_header=section.has_headings, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in section.columns:
        heading = Text(printable(column.heading))
        table.add_column(heading, justify="right" if column.is_number else "left", overflow="fold")
    for row in _rows(section):
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _rows(section: Section) -> Iterable[Sequence[str]]:
    return zip(*(column.cells for column in section.columns), strict=True)
