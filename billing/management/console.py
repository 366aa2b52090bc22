"""Shared by the commands: the choice of organizations, a progress bar, and tables."""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import StringIO
from shutil import get_terminal_size
from types import TracebackType
from typing import Self

from django.core.management.base import CommandError, OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from billing.ledger.repricings import figures_of
from billing.models import Repricing
from billing.rollups.types import Checked, Difference, Step
from costtrack.money import plain
from organizations.models import Organization


def add_organization_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--organization", metavar="SLUG", help="Only this organization.")


def organizations_by_slug(slug: str | None) -> list[Organization]:
    """Return the organization with that slug, or all organizations. Raises CommandError."""
    organizations = Organization.objects.order_by("slug")
    if slug is None:
        return list(organizations)
    matches = list(organizations.filter(slug=slug))
    if not matches:
        raise CommandError(f"There is no organization {slug}.")
    return matches


def parse_month(option: str, text: str) -> datetime:
    """Return the start of a month (UTC). Raises CommandError that names the option."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise CommandError(f"{option}: {text} is not a month such as 2026-01.") from None


def count_organizations(organizations: Sequence[Organization]) -> str:
    number = len(organizations)
    return "1 organization" if number == 1 else f"{number:,} organizations"


_FEW_STEPS = 20


def progress_bar(title: str, output: OutputWrapper) -> Progress:
    """Return a progress bar, which shows nothing if the output is not a terminal."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn(f"{title} {{task.description}}"),
        *columns,
        console=Console(stderr=True, force_terminal=True),
        transient=True,
        disable=not output.isatty(),
    )


class ProgressDisplay:
    """Shows the steps of work on organizations. Use it as a context manager."""

    def __init__(self, title: str, output: OutputWrapper, organizations: Sequence[Organization]) -> None:
        self._output = output
        self._slugs = {organization.pk: organization.slug for organization in organizations}
        self._rollup = ""
        self._bar = progress_bar(title, output)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, step: Step) -> None:
        label = f"{self._slugs[step.organization_id]}: {step.rollup}"
        self._bar.update(self._task, description=label, total=step.steps, completed=step.number)
        if self._bar.disable and step.steps > _FEW_STEPS and label != self._rollup:
            self._output.write(f"{label} ({step.number} of {step.steps})")
        self._rollup = label


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


def report_differences(
    output: OutputWrapper, checks: Sequence[tuple[str, Checked]], max_rows: int, *, match: str, differ: str
) -> None:
    """Write that the checked organizations match the ledger; with differences, raise CommandError after their table.
    `differ` follows their number."""
    wrong = [(organization, checked) for organization, checked in checks if checked.count]
    if not wrong:
        output.write(match)
        return
    output.write(differences_table(wrong, max_rows))
    raise CommandError(f"{sum(checked.count for _, checked in wrong):,} {differ}")


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
