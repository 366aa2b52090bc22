"""The parts: which servers are brought, and how PostgreSQL is set."""

import shlex
from functools import partial
from pathlib import Path

import pytest

from costtrack.supervisor.folder import DataFolder
from costtrack.supervisor.forking import fork_module
from costtrack.supervisor.services import SERVICE_NAMES, memory_limits, postgres_settings, programs, servers

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
    services = [*servers(folder), *programs(folder, "127.0.0.1", 8000, fork_module)]
    assert tuple(service.name for service in services) == SERVICE_NAMES


@pytest.mark.parametrize(
    ("memory", "shared_buffers"),
    [(GIGABYTE // 4, "64MB"), (4 * GIGABYTE, "512MB"), (64 * GIGABYTE, "1024MB")],
)
def test_postgresql_takes_a_share_of_the_memory_up_to_a_cap(memory: int, shared_buffers: str) -> None:
    assert postgres_settings(memory)["shared_buffers"] == shared_buffers


@pytest.mark.parametrize(
    ("membership", "files", "limits"),
    [
        ("0::/", {"memory.max": "1073741824"}, [GIGABYTE]),
        ("0::/system.slice/costtrack.service", {"system.slice/costtrack.service/memory.max": "100"}, [100]),
        ("0::/a/b", {"a/memory.max": "200", "a/b/memory.max": "max"}, [200]),
        ("0::/docker/of-the-host", {"memory.max": "100"}, [100]),
        ("4:memory:/a\n0::/", {"memory/a/memory.limit_in_bytes": "300", "memory.max": "max"}, [300]),
        ("5:devices:/a", {"a/memory.max": "100"}, []),
    ],
)
def test_the_limit_of_a_container_or_unit_is_known(
    membership: str, files: dict[str, str], limits: list[int], tmp_path: Path
) -> None:
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    (tmp_path / "membership").write_text(membership)
    assert list(memory_limits(tmp_path / "membership", tmp_path / "cgroup")) == limits
    assert list(memory_limits(tmp_path / "none", tmp_path / "cgroup")) == []


def test_commits_stay_durable() -> None:
    assert {"fsync", "synchronous_commit", "full_page_writes"}.isdisjoint(postgres_settings(GIGABYTE))


def test_the_documented_commands_are_those_of_the_supervisor(tmp_path: Path) -> None:
    lines = OPERATIONS.read_text(encoding="utf-8").splitlines()
    documented = [shlex.split(line)[2:] for line in lines if line.startswith("    python -m c")]
    commands = []
    for service in programs(DataFolder(tmp_path), "0.0.0.0", 8000, fork_module):  # noqa: S104 - nothing listens
        assert isinstance(service.start, partial)
        own = ("--quiet", "--skip-checks")  # `costtrack up` checks once, before it starts them
        commands.append([word for word in service.start.args[0] if word not in own])
    web, *workers, beat = commands
    assert documented[0] == [*web, "--workers", "4", "--threads", "8"]
    assert documented[1:-1] == workers
    assert documented[-1] == [word.replace(str(tmp_path / "beat"), "/var/lib/costtrack") for word in beat]
