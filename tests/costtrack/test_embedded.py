"""The embedded servers: real ones, started on folders of this test's own."""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from costtrack import embedded

_FAST = {"fsync": "off", "shared_buffers": "16MB"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own folder, which only root may enter when root runs the tests; PostgreSQL must get in."""
    path = Path(tempfile.mkdtemp(prefix="ct test "))
    yield path
    embedded.remove_sockets(path)
    shutil.rmtree(path)


def test_postgresql_keeps_its_data_from_one_start_to_the_next(folder: Path) -> None:
    for attempt in (1, 2):
        server = embedded.Postgres(folder, _FAST)
        process = server.start(folder / "postgresql.log")
        server.wait_until_ready()
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
            connection.execute("INSERT INTO starts DEFAULT VALUES")
            assert connection.execute("SELECT count(*) FROM starts").fetchone() == (attempt,)
        embedded.stop(process)
        assert process.returncode == 0


def test_postgresql_sorts_alike_on_every_machine_and_checks_its_pages(folder: Path) -> None:
    server = embedded.Postgres(folder, _FAST)
    process = server.start(folder / "postgresql.log")
    try:
        server.wait_until_ready()
        with psycopg.connect(server.url()) as connection:
            locale = connection.execute(
                "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'costtrack'"
            ).fetchone()
            checksums = connection.execute("SHOW data_checksums").fetchone()
    finally:
        embedded.stop(process)
    assert locale == ("b", "C.UTF-8")
    assert checksums == ("on",)


def test_a_start_that_was_cut_off_while_making_the_data_folder_is_made_good(folder: Path) -> None:
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    server = embedded.Postgres(folder, _FAST)
    process = server.start(folder / "postgresql.log")
    try:
        server.wait_until_ready()
    finally:
        embedded.stop(process)
    assert not (folder / "postgres.new").exists()


def test_data_of_another_major_version_is_refused_in_one_line(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(
        embedded.EmbeddedServerError,
        match=r"created by PostgreSQL 9, but this version of costtrack includes PostgreSQL \d",
    ):
        embedded.Postgres(folder).start(folder / "postgresql.log")


def test_a_folder_of_something_else_is_left_alone(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "diary.txt").write_text("mine")
    with pytest.raises(embedded.EmbeddedServerError, match="is not a PostgreSQL data folder"):
        embedded.Postgres(folder).start(folder / "postgresql.log")
    assert (folder / "postgres" / "diary.txt").read_text() == "mine"


def test_broken_data_is_an_error_and_not_an_endless_wait(folder: Path) -> None:
    server = embedded.Postgres(folder, _FAST)
    embedded.stop(server.start(folder / "postgresql.log"))
    (folder / "postgres" / "global" / "pg_control").unlink()
    server.start(folder / "postgresql.log")
    with pytest.raises(embedded.EmbeddedServerError, match="PostgreSQL does not start"):
        server.wait_until_ready()


def test_the_lock_of_a_socket_that_names_another_process_is_removed(folder: Path) -> None:
    """After a kill, another process may have the number of the old server."""
    (folder / "run").mkdir(mode=0o700)
    lock = folder / "run" / ".s.PGSQL.5432.lock"
    server = embedded.Postgres(folder, _FAST)
    embedded.stop(server.start(folder / "postgresql.log"))
    account = pwd.getpwnam("pgserver").pw_uid if os.geteuid() == 0 else os.geteuid()
    other = subprocess.Popen(["/bin/sleep", "600"], user=account)
    try:
        lock.write_text(f"{other.pid}\n{folder}\n")
        process = server.start(folder / "postgresql.log")
        try:
            server.wait_until_ready()
            assert lock.read_text().split()[0] == str(process.pid)
        finally:
            embedded.stop(process)
    finally:
        other.kill()
        other.wait()


def test_a_second_server_on_the_same_data_is_refused(folder: Path) -> None:
    server, second = embedded.Postgres(folder, _FAST), embedded.Postgres(folder, _FAST)
    process = server.start(folder / "postgresql.log")
    try:
        server.wait_until_ready()
        second.start(folder / "postgresql.log").wait(60)
        with pytest.raises(embedded.EmbeddedServerError, match="PostgreSQL does not start"):
            second.wait_until_ready()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        embedded.stop(process)


@pytest.mark.skipif(os.geteuid() != 0, reason="Folders are opened for the account of PostgreSQL when root runs it.")
def test_a_folder_that_is_opened_is_named_unless_costtrack_made_it(folder: Path) -> None:
    private, own = folder / "private", folder / "private" / "data"
    own.mkdir(parents=True)
    (own / embedded.LOCK_NAME).touch()
    for path in (folder, private, own):
        path.chmod(0o700)
    server = embedded.Postgres(own / "restore.new", _FAST)
    embedded.stop(server.start(folder / "postgresql.log"))
    assert [line.split(",")[0] for line in server.notices] == [
        f"Opened {path} (now mode 711)" for path in (private, folder)
    ]
    assert set(server.notices) <= set((folder / "postgresql.log").read_text().splitlines())
    assert stat.S_IMODE(own.stat().st_mode) == 0o711


def test_redis_keeps_its_data_from_one_start_to_the_next(folder: Path) -> None:
    for attempt in (1, 2):
        server = embedded.Redis(folder)
        process = server.start(folder / "redis.log")
        server.wait_until_ready()
        with redis.Redis.from_url(server.url()) as client:
            assert client.incr("starts") == attempt
        embedded.stop(process)


def test_sockets_lie_in_the_data_folder_unless_its_path_is_too_long_for_one(folder: Path) -> None:
    assert embedded.socket_folder(folder) == folder / "run"
    deep = folder / ("x" * 100)
    short = embedded.socket_folder(deep)
    assert short.parent == Path(tempfile.gettempdir())
    assert short == embedded.socket_folder(deep)
    assert short != embedded.socket_folder(folder / ("y" * 100))


def test_a_socket_folder_that_is_a_link_to_elsewhere_is_not_used(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "run").symlink_to(folder / "elsewhere")
    before = (folder / "elsewhere").stat()
    with pytest.raises(embedded.EmbeddedServerError, match="belongs to another user"):
        embedded.Redis(folder).start(folder / "redis.log")
    assert (folder / "elsewhere").stat().st_uid == before.st_uid == os.geteuid()
