"""The message of `costtrack up` when it is ready."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from costtrack.private_files import read_private
from costtrack.supervisor.address import Address
from costtrack.supervisor.folder import DataFolder

OPERATOR_EMAIL = "operator@costtrack.example"
_DEFAULT_DATA_DIR = Path(".costtrack")


def welcome(
    data_dir: Path, folder: DataFolder, address: Address, demo: list[str], *, has_mail_server: bool
) -> Iterator[str]:
    """Return the ready line, then logins, files and commands. `demo` are the lines with the demo's logins."""
    yield f"costtrack is ready at {address.url}"
    yield ""
    yield f"  Web UI          {address.url}/admin/"
    if not demo:
        yield f"  Organizations   {address.url}/admin/organizations/organization/  (the operator adds the first one)"
    password = read_private(folder.operator_password)
    if password:
        yield f"  Operator        {OPERATOR_EMAIL}  {password}"
    yield f"  Operator's key  {data_dir / folder.operator_key.name}"
    yield f"  Logs            {data_dir / folder.logs.name}"
    if not has_mail_server:
        mail = data_dir / folder.mail.name
        yield f"  Emails          {mail}  (no mail server is set: see docs/notifications.md)"
    option = "" if data_dir == _DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(data_dir))}"
    yield f"  Commands        {_program()} manage{option} <Django command>"
    if demo:
        yield ""
        yield from (f"  {line}" for line in demo)
    yield ""
    yield "Ctrl-C stops everything."


def _program() -> str:
    """Return the command that starts this program from the current folder."""
    program = Path(sys.argv[0])
    if program.name != "costtrack":
        return "python -m costtrack"
    installed = shutil.which("costtrack")
    if installed is not None and Path(installed).samefile(program):
        return "costtrack"
    return os.path.relpath(program)
