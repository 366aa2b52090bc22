"""Files with a secret: one line, readable only by their owner."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write the line atomically, with mode 0600."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(f"{text}\n")
        file.flush()
        os.fsync(descriptor)
    unfinished.replace(path)


def read_private(path: Path) -> str:
    """Return the line without its newline, or an empty string if the file does not exist."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except FileNotFoundError:
        return ""
