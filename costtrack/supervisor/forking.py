"""The processes of costtrack as forks of the supervisor, which share the memory of the code.

Each of them needs about 100 MB of loaded modules. The supervisor loads these once, before the first fork, and has
neither threads nor connections then.
"""

import importlib
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

_STDIN, _STDOUT, _STDERR = range(3)
_COMMAND_NAME = Path("/proc/self/comm")
"""The name in `ps -o comm` and `top`. (The command line is that of the supervisor.)"""
CAN_FORK = _COMMAND_NAME.exists()
"""Whether this is Linux. Elsewhere system libraries do not allow it."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Process(Protocol):
    """The part of `subprocess.Popen` that forked processes have too."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...


class ForkedProcess:
    """A fork of this process."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.ident or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def load(environment: Mapping[str, str]) -> None:
    """Load the code of all processes into this one, with the settings of this environment."""
    os.environ.update(environment)
    importlib.import_module("costtrack.preload").load_everything()


def fork_module(arguments: Sequence[str], log: Path) -> ForkedProcess:
    """Run `python -m <arguments>` in a fork, as the leader of a new process group. Its output goes to the log, whose
    name is also the name of the process."""
    process = multiprocessing.get_context("fork").Process(name=log.stem, target=_run, args=(arguments, log))
    process.start()
    return ForkedProcess(process)


def _run(arguments: Sequence[str], log: Path) -> None:
    """In the fork: become what a new process would be."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    os.setsid()
    _open_as(_STDIN, Path(os.devnull), os.O_RDONLY)
    for descriptor in (_STDOUT, _STDERR):
        _open_as(descriptor, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    _COMMAND_NAME.write_text(log.stem, encoding="ascii")
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _open_as(descriptor: int, path: Path, flags: int) -> None:
    opened = os.open(path, flags, 0o666)
    os.dup2(opened, descriptor)
    os.close(opened)
