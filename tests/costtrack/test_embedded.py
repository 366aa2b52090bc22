"""The embedded servers: real ones, started on folders of this test's own."""

import os
import shutil
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
