"""Text tables in the output of commands."""

from collections.abc import Iterator, Sequence
from io import StringIO
from shutil import get_terminal_size

from rich.console import Console
from rich.table import Table

from billing.ledger.repricings import figures_of
from billing.models import Repricing
from billing.rollups.types import Checked, Difference
from costtrack.money import plain

_WIDTH = 160  # where the output goes to a file


def differences_table(checks: Sequence[tuple[str, Checked]], max_rows: int) -> str:
    """Return a table of the first differences of each organization's rollups."""
    table = Table("organization", "rollup", "row", "column", "is", "should be", title="Differences from the ledger")
    for organization, checked in checks:
        rows = [cells for difference in checked.differences for cells in _cells(difference)]
        for cells in rows[:max_rows]:
            table.add_row(organization, checked.name, *cells)
        if checked.count > len(checked.differences) or len(rows) > max_rows:
            table.add_row(organization, checked.name, f"... {checked.count:,} rows in total")
        table.add_section()
    return _as_text(table)


def repricing_table(repricing: Repricing) -> str:
    """Return a table of the cost of each model before and after, unrounded, so that the lines add up."""
    table = Table("service", "model", show_footer=True)
    for heading, total in (
        ("calls", f"{repricing.events:,}"),
        ("changed", f"{repricing.changed:,}"),
        ("left alone", f"{repricing.left_alone:,}"),
        ("before, USD", plain(repricing.old_usd)),
        ("after, USD", plain(repricing.new_usd)),
        ("difference, USD", plain(repricing.difference_usd)),
    ):
        table.add_column(heading, footer=total, justify="right")
    for figures in figures_of(repricing):
        counts = (f"{count:,}" for count in (figures.events, figures.changed, figures.left_alone))
        amounts = map(plain, (figures.old_usd, figures.new_usd, figures.difference_usd))
        table.add_row(figures.service, figures.model, *counts, *amounts)
    return _as_text(table)


def _cells(difference: Difference) -> Iterator[tuple[str, str, str, str]]:
    row = ", ".join(f"{column} {value!r}" for column, value in difference.key.items())
    if difference.stored is None:
        yield row, "", "missing", "present"
    elif difference.expected is None:
        yield row, "", "present", "missing"
    else:
        for column, value in difference.stored.items():
            yield row, column, str(value), str(difference.expected[column])


def _as_text(table: Table) -> str:
    width = get_terminal_size((_WIDTH, 0)).columns
    output = StringIO()
    Console(file=output, width=width).print(table)
    return output.getvalue()
