"""The wall clock of processes, which can be moved without moving that of the machine.

A small library (`clock.c`) is loaded into every process of costtrack, PostgreSQL and Redis included, as if they ran on
one machine. (libfaketime 0.9.10 also shifts what `time.sleep` of CPython 3.11 waits for, which then fails.)
"""

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.small_disk import NotPossibleError

_SOURCE = Path(__file__).with_name("clock.c")


@dataclass(frozen=True)
class MovedClock:
    """A clock and the environment of the processes that see it."""

    _offset: Path
    _library: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._offset)}

    def move_to(self, seconds: float) -> None:
        """Let the clock differ from the real one by so many seconds, from now on and in every process."""
        with self._offset.open("r+b") as file:
            file.write(struct.pack("q", round(seconds * 1e9)))


def moved_clock(folder: Path) -> MovedClock:
    """Compile the library. Raises NotPossibleError."""
    offset, library = folder / "clock", folder / "clock.so"
    offset.write_bytes(struct.pack("q", 0))
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NotPossibleError("cc is not installed (on Debian: gcc, libc6-dev)") from error
    except subprocess.CalledProcessError as error:
        raise NotPossibleError(f"cc: {error.stderr.strip()}") from error
    return MovedClock(offset, library)
