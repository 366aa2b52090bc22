"""Ctrl-C, SIGTERM and a closed terminal, all as KeyboardInterrupt, but never while a process is being started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Raises KeyboardInterrupt in the main thread, once, when the user or the system stops the program."""

    def __init__(self) -> None:
        self._requested = False
        self._shielded = False

    def install(self) -> None:
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            signal.signal(signal.SIGHUP, self._handle)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Defer an interruption to the end of the block, so that a started process is also recorded."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
            if self._requested:
                raise KeyboardInterrupt

    def ignore_from_now_on(self) -> None:
        """Ignore interruptions while stopping."""
        self._shielded = True

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        del signal_number, frame
        first, self._requested = not self._requested, True
        if first and not self._shielded:
            raise KeyboardInterrupt
