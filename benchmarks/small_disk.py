"""A file system of its own for a data folder, which can be filled without filling the machine's disk."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_LARGEST_STEP, _SMALLEST_STEP = 1024**3, 4096


class NotPossibleError(Exception):
    """The machine does not allow a kind of fault. The message says why."""


@dataclass
class SmallDisk:
    """A mounted file system."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave no free block."""
        step = _LARGEST_STEP
        with self._ballast.open("ab") as file:
            while step >= _SMALLEST_STEP:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2

    def free(self) -> None:
        """Return the space."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, size: int) -> Iterator[SmallDisk]:
    """Mount a file system of so many bytes in a folder. Its image takes as much of the disk as was written to it.
    Raises NotPossibleError."""
    image, mounted = folder / "disk.img", folder / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    # Without blocks that are reserved for root: PostgreSQL runs under an account of its own.
    _execute("mkfs.ext4", "-q", "-m", "0", str(image))
    _execute("mount", "-o", "loop", str(image), str(mounted))
    try:
        mounted.chmod(0o711)
        yield SmallDisk(mounted)
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=False)  # noqa: S607 - of any distribution


def _execute(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NotPossibleError(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        reason = " ".join(str(error.stderr).split()) or f"exit code {error.returncode}"
        raise NotPossibleError(f"{command[0]}: {reason}") from error
