"""Files that the server sends, written to a path or to stdout."""

import argparse
import sys
from pathlib import Path
from typing import Any

from costtrack.client.errors import ClientError
from costtrack.client.options import file_path
from costtrack.client.terminal import say


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=file_path, metavar="FILE", help="default: the server's name for it; - is stdout"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def save(options: argparse.Namespace, content: bytes, name: str, *, about: str = "") -> None:
    """Write the content to `--output`, by default to a file of this name. `about` is what the message says it has."""
    if str(options.output) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        return
    path = options.output or Path(name)
    _write(path, content, replace=options.force)
    say(f"{about} in {path}" if about else f"{path} is written")


def safe_name(file_name: Any, *, default: str) -> str:
    """Return the file name without a folder: the server must not choose where it is written."""
    name = str(file_name or "").replace("\\", "/").rpartition("/")[2]
    return name if name.strip(". ") and name.isprintable() else default


def _write(path: Path, content: bytes, *, replace: bool) -> None:
    try:
        with path.open("wb" if replace else "xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise ClientError(f"{path} already exists: choose another --output, or replace it with --force") from error
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror}") from error
