"""`costtrack manage <command>`: Django's management commands on the data of `costtrack up`."""

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from costtrack import embedded
from costtrack.supervisor.environment import command_environment, is_set
from costtrack.supervisor.folder import DataFolder

END_OF_OUTPUT = "\x04"
"""The line that `run_commands` writes to stdout after the output of each command."""


def manage(data_dir: Path, arguments: Sequence[str]) -> int:
    """Run one management command in this process."""
    folder = DataFolder(data_dir)
    if not (is_set("DATABASE_URL") or answers(embedded.postgres_socket(folder.path))):
        sys.stderr.write(f"costtrack: not running on the data folder {data_dir}; start `costtrack up` first\n")
        return 1
    os.environ.update(command_environment(folder))

    from django.core.management import execute_from_command_line

    execute_from_command_line(["costtrack manage", *arguments])
    return 0


def answers(path: Path) -> bool:
    """Whether a server listens on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True
