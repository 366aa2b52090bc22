"""A second PostgreSQL cluster, as a restore meets it: without any role of the first one."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.db import connection
from psycopg import sql
from psycopg.conninfo import make_conninfo

from costtrack import embedded
from costtrack.env import parse_database_url

_FAST = {"fsync": "off", "shared_buffers": "32MB", "full_page_writes": "off"}
_OF_A_SERVER = ("dbname", "user", "password", "host", "port")
USER = "costtrack"


@dataclass(frozen=True)
class Cluster:
    """The server, with a database `restored` of the user `costtrack`."""

    server: embedded.Postgres

    def superuser(self, database: str = "postgres") -> "psycopg.Connection[Any]":
        return psycopg.connect(self.server.url(database), autocommit=True)

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/restored?host={quote(str(self.server.sockets))}&port=5432"

    def restore(self, dump: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        """As docs/restore.md says, into a new database."""
        return self.run("pg_restore", "--no-owner", *options, "--dbname", self.url, str(dump))

    def dump(self, folder: Path) -> Path:
        """Of the tests' own database, as docs/restore.md says."""
        file = folder / "costtrack.dump"
        parameters = connection.get_connection_params()
        parameters_used = {name: parameters[name] for name in _OF_A_SERVER if name in parameters}
        finished = self.run("pg_dump", "--format=custom", f"--file={file}", make_conninfo(**parameters_used))
        assert finished.returncode == 0, finished.stderr
        return file

    def run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        path = str(self.server.program(program))
        return subprocess.run([path, *arguments], capture_output=True, text=True, check=False, timeout=60)

    def forget(self, *, may_create_roles: bool = True, template: str = "template1") -> None:
        """Make the database empty, or what it is in the template, and the roles what they are in a new cluster. The
        embedded server has made the user."""
        with self.superuser() as admin:
            admin.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")
            admin.execute("DROP DATABASE IF EXISTS costtrack")  # of the embedded server, with the same user
            admin.execute("DROP ROLE IF EXISTS costtrack_tenant")
            option = sql.SQL("CREATEROLE" if may_create_roles else "NOCREATEROLE")
            admin.execute(sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(USER), option))
            admin.execute(
                sql.SQL("CREATE DATABASE restored TEMPLATE {} OWNER {} STRATEGY file_copy").format(
                    sql.Identifier(template), sql.Identifier(USER)
                )
            )

    def rename_to(self, template: str) -> None:
        """Rename the database, so that `forget` can copy it."""
        with self.superuser() as admin:
            admin.execute(sql.SQL("ALTER DATABASE restored RENAME TO {}").format(sql.Identifier(template)))
            admin.execute("CREATE DATABASE restored")


@pytest.fixture(scope="session")
def second_server() -> Iterator[embedded.Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="ct-second-"))
    folder.chmod(0o755)
    server = embedded.Postgres(folder, _FAST)
    process = server.start(folder / "postgresql.log")
    server.wait_until_ready()
    yield server
    embedded.stop(process)
    embedded.remove_sockets(folder)
    shutil.rmtree(folder)


@pytest.fixture
def new_cluster(second_server: embedded.Postgres) -> Cluster:
    cluster = Cluster(second_server)
    cluster.forget()
    return cluster


@contextmanager
def serving(url: str) -> Iterator[None]:
    """Meanwhile this process works on another database, as if DATABASE_URL named it."""
    before = dict(connection.settings_dict)
    connection.close()
    changed = {**parse_database_url(url), "ENGINE": before["ENGINE"]}
    connection.settings_dict.update({**changed, "OPTIONS": {**changed.get("OPTIONS", {}), "pool": False}})
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)
