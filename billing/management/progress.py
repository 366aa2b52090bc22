"""Progress of a long command: a bar on a terminal, else some lines of text."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from billing.rollups.types import Step
from organizations.models import Organization

_FEW_STEPS = 20


class ProgressDisplay:
    """Shows the steps of work on organizations. Use it as a context manager."""

    def __init__(self, title: str, output: OutputWrapper, organizations: Sequence[Organization]) -> None:
        self._output = output
        self._slugs = {organization.pk: organization.slug for organization in organizations}
        self._rollup = ""
        self._bar: Progress | None = None
        if output.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Progress(
                TextColumn(f"{title} {{task.description}}"),
                *columns,
                console=Console(stderr=True, force_terminal=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: Step) -> None:
        label = f"{self._slugs[step.organization_id]}: {step.rollup}"
        if self._bar is not None:
            self._bar.update(self._task, description=label, total=step.steps, completed=step.number)
        elif step.steps > _FEW_STEPS and label != self._rollup:
            self._output.write(f"{label} ({step.number} of {step.steps})")
        self._rollup = label
