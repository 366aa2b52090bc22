"""Files that commands write: downloads, and small private files, which are replaced atomically."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from costtrack.client.errors import ClientError


def safe_name(file_name: Any, default: str) -> str:
    """Return the file name without a folder: the server must not choose where it is written."""
    name = str(file_name or "").replace("\\", "/").rpartition("/")[2]
    return name if name.strip(". ") and name.isprintable() else default


def write_file(path: Path, content: bytes, *, replace: bool) -> None:
    """Write a download. Raises ClientError if the file exists or cannot be written."""
    try:
        with path.open("wb" if replace else "xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise ClientError(f"{path} already exists: choose another --output, or replace it with --force") from error
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror}") from error


def replace_privately(path: Path, text: str) -> None:
    """Replace the file atomically, readable only by its owner (0600)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
