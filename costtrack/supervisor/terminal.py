"""The output of `costtrack up`: a spinner and check marks on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console


class Terminal:
    """Writes lines to stdout and errors to stderr. A closed terminal is ignored."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True) if sys.stdout.isatty() else None

    def say(self, line: str = "") -> None:
        with suppress(OSError):
            if self._console is not None:
                self._console.print(line, markup=False)
            else:
                print(line, flush=True)  # noqa: T201 - this is the command's output

    def complain(self, line: str) -> None:
        with suppress(OSError):
            print(f"costtrack: {line}", file=sys.stderr, flush=True)  # noqa: T201 - this is the command's output

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a running step, and its duration when it is done."""
        started = time.monotonic()
        if self._console is None:
            self.say(f"{title} ...")
            yield
            return
        with self._console.status(title):
            yield
        seconds = time.monotonic() - started
        self._console.print(f"[green]✓[/green] {title} [dim]{seconds:.1f} s[/dim]")
