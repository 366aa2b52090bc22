"""Progress on stderr: a bar on a terminal, occasional lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from costtrack.client.terminal import complain, printable

_SECONDS_BETWEEN_LINES = 5.0


class Progress(Protocol):
    def advance(self, events: int) -> None: ...

    def say(self, line: str) -> None:
        """Print a line without disturbing the bar."""


class Lines:
    """Progress as lines, for logs. `clock` counts seconds."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._done = 0
        self._clock = clock
        self._last = clock()

    def advance(self, events: int) -> None:
        self._done += events
        if self._clock() - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = self._clock()
            self.say(f"{self._done:,} of {self._total:,} events")

    def say(self, line: str) -> None:
        complain(line)


@contextmanager
def progress(total: int) -> Iterator[Progress]:
    """Return a bar if stderr is a terminal, otherwise lines."""
    if not sys.stderr.isatty():
        yield Lines(total)
        return
    with _bar(total) as bar:
        yield bar


@contextmanager
def _bar(total: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=Console(stderr=True)) as drawn:
        task = drawn.add_task("", total=total)

        class Bar:
            def advance(self, events: int) -> None:
                drawn.advance(task, events)

            def say(self, line: str) -> None:
                drawn.console.print(Text(f"costtrack: {printable(line)}"))

        yield Bar()
