"""A real PgBouncer in transaction mode in front of the tests' PostgreSQL."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest

# Debian installs it in sbin.
_SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))

_OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def _documented() -> ConfigParser:
    """The configuration that docs/operations.md shows."""
    match = re.search(r"^    \[databases\]\n(?:(?:    .*)?\n)+", _OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None
    configuration = ConfigParser(interpolation=None)
    configuration.read_string(textwrap.dedent(match[0]))
    return configuration


def _program() -> str:
    match = shutil.which("pgbouncer", path=_SEARCH_PATH)
    if match is None:
        pytest.fail("This test needs PgBouncer: install it (on Debian: apt install pgbouncer).")
    return match


@dataclass
class PgBouncer:
    """A running PgBouncer, as a context manager. `parameters` are psycopg's, for the database behind it."""

    parameters: Mapping[str, Any]
    pool_size: int

    def __post_init__(self) -> None:
        self._program = _program()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"postgresql://anybody@127.0.0.1:{self.port}/{self.parameters['dbname']}"

    @property
    def console_url(self) -> str:
        """PgBouncer's own database, which shows its settings."""
        return f"postgresql://anybody@127.0.0.1:{self.port}/pgbouncer"

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="ct-pgbouncer-"))
        configuration = self._folder / "pgbouncer.ini"
        target = " ".join(
            f"{key}={self.parameters[key]}"
            for key in ("host", "port", "dbname", "user", "password")
            if key in self.parameters
        )
        documented = _documented()
        documented["databases"] = {str(self.parameters["dbname"]): target}
        own = {
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "stats_users": "anybody",
            "default_pool_size": str(self.pool_size),
            "query_wait_timeout": "30",
            "logfile": f"{self._folder}/pgbouncer.log",
        }
        documented["pgbouncer"].update(own)
        documented.remove_option("pgbouncer", "auth_file")
        with configuration.open("w") as file:
            documented.write(file)
        user, group = _account(str(self.parameters.get("host", "")))
        if user is not None and group is not None:
            for path in (self._folder, configuration):
                os.chown(path, user, group)
        self._process = subprocess.Popen(
            [self._program, "--quiet", str(configuration)],
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    def _wait_until_ready(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                log = self._folder / "pgbouncer.log"
                assert self._process.poll() is None, log.read_text() if log.exists() else "it does not start"
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            else:
                return


def _account(host: str) -> tuple[int | None, int | None]:
    """PgBouncer refuses to run as root. Return a user that has access to the folder of PostgreSQL's socket."""
    if os.geteuid() != 0:
        return None, None
    if host.startswith("/"):
        owner = Path(host).stat()
        return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
