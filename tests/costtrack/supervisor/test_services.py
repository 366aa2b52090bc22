"""The parts: which servers are brought, and how PostgreSQL is set."""

import shlex
from functools import partial
from pathlib import Path

import pytest

from costtrack.supervisor.folder import DataFolder
from costtrack.supervisor.services import SERVICE_NAMES, postgres_settings, programs, servers

GIGABYTE = 1024**3
OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def test_servers_that_the_caller_has_named_are_not_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/spend")
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert [service.name for service in servers(DataFolder(tmp_path))] == ["redis"]
    monkeypatch.setenv("REDIS_URL", "redis://cache.example")
    assert servers(DataFolder(tmp_path)) == []


def test_leftovers_know_the_name_of_every_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")
    folder = DataFolder(tmp_path)
    services = [*servers(folder), *programs(folder, {}, "127.0.0.1", 8000)]
    assert tuple(service.name for service in services) == SERVICE_NAMES


@pytest.mark.parametrize(
    ("memory", "shared_buffers"),
    [(GIGABYTE // 4, "64MB"), (4 * GIGABYTE, "512MB"), (64 * GIGABYTE, "1024MB")],
)
def test_postgresql_takes_a_share_of_the_memory_up_to_a_cap(memory: int, shared_buffers: str) -> None:
    assert postgres_settings(memory)["shared_buffers"] == shared_buffers


def test_commits_stay_durable() -> None:
    assert {"fsync", "synchronous_commit", "full_page_writes"}.isdisjoint(postgres_settings(GIGABYTE))


def test_the_documented_commands_are_those_of_the_supervisor(tmp_path: Path) -> None:
    lines = OPERATIONS.read_text(encoding="utf-8").splitlines()
    documented = [shlex.split(line)[2:] for line in lines if line.startswith("    python -m c")]
    commands = []
    for service in programs(DataFolder(tmp_path), {}, "0.0.0.0", 8000):  # noqa: S104 - nothing listens
        assert isinstance(service.start, partial)
        own = ("--quiet", "--skip-checks")  # `costtrack up` checks once, before it starts them
        commands.append([word for word in service.start.args[0] if word not in own])
    web, *workers, beat = commands
    assert documented[0] == [*web, "--workers", "4", "--threads", "8"]
    assert documented[1:-1] == workers
    assert documented[-1] == [word.replace(str(tmp_path / "beat"), "/var/lib/costtrack") for word in beat]
