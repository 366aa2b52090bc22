"""Files of counters that have their space on the disk before they are mapped into memory.

prometheus_client makes them sparse. A process that then counts something new while the disk is full is ended by the
kernel (SIGBUS), and each one that is started in its place, too.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

_BYTES = 128 * 1024
"""Enough for all counters of a process, because labels have few values."""


class AllocatedDict(MmapedDict):
    """The counters of one process of one kind. If the disk is full when the process starts, they are in its memory, and
    others do not see them."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's signature
        if read_mode or _allocate(Path(filename)):
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
            return
        descriptor = os.memfd_create("counters")
        super().__init__(f"/proc/self/fd/{descriptor}")  # type: ignore[no-untyped-call]
        os.close(descriptor)


def install() -> None:
    """Use these files for all counters. (The library has no setting for it.)"""
    if hasattr(os, "memfd_create"):  # Linux
        module: Any = values
        module.MmapedDict = AllocatedDict


def _allocate(path: Path) -> bool:
    """Create a file of zeros; return whether there was space."""
    try:
        with path.open("ab") as file:
            file.write(bytes(max(_BYTES - file.tell(), 0)))
    except OSError:
        with suppress(OSError):
            path.unlink()
        return False
    return True
