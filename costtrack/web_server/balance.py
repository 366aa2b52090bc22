"""Spreads keep-alive connections over the processes of the web server.

The kernel gives each new connection to one of the listening processes by chance, so two connections of a gateway may
both be in one process and leave the other idle. Each process publishes how many connections it serves in a piece of
shared memory; one that has too many answers some of them with `Connection: close`, and their clients connect again.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

_VARIABLE = "COSTTRACK_WEB_BALANCE"
_MAX_PROCESSES = 256
_SLOT = struct.Struct("=II")  # process id, connections
_SIZE = _MAX_PROCESSES * _SLOT.size


def create_shared_memory() -> None:
    """In the process that becomes the main process: make the memory, which its workers find by the environment. Without
    it (not on Linux) connections stay where they are."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("costtrack-balance")
        os.ftruncate(descriptor, _SIZE)
        os.environ[_VARIABLE] = str(descriptor)


class Balance:
    """The connections of all processes. `publish` from one thread only."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._slot = self._claim_slot()

    @classmethod
    def open(cls) -> Self | None:
        number = os.environ.get(_VARIABLE)
        if number is None:
            return None
        try:
            return cls(os.open(f"/proc/{os.getppid()}/fd/{number}", os.O_RDWR | os.O_CLOEXEC))
        except OSError:  # the server was not started by `costtrack serve`
            return None

    def publish(self, connections: int) -> int:
        """Publish how many connections this process serves, and return how many of them another one should serve."""
        _SLOT.pack_into(self._memory, self._slot * _SLOT.size, os.getpid(), connections)
        others = [count for process, count in self._slots() if process != os.getpid() and _is_alive(process)]
        return max(0, (connections - min(others)) // 2) if others else 0

    def _claim_slot(self) -> int:
        """Take the slot of a process that has ended, or a free one."""
        with self._locked():
            for number, (process, _) in enumerate(self._slots()):
                if not process or not _is_alive(process):
                    _SLOT.pack_into(self._memory, number * _SLOT.size, os.getpid(), 0)
                    return number
        raise OSError("More processes than slots.")

    def _slots(self) -> Iterator[tuple[int, int]]:
        return _SLOT.iter_unpack(self._memory[:])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def _is_alive(process: int) -> bool:
    if not process:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
