"""What the parts find in their environment."""

from pathlib import Path

import pytest

from costtrack.supervisor.environment import child_environment, command_environment
from costtrack.supervisor.folder import DataFolder


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "COSTTRACK_SECRET_KEY", "COSTTRACK_HTTPS", "COSTTRACK_DATABASE_POOL"):
        monkeypatch.delenv(name, raising=False)


def test_the_servers_and_the_secret_are_those_of_the_folder(tmp_path: Path) -> None:
    environment = child_environment(DataFolder(tmp_path), ["spend.example"])
    assert str(tmp_path) in environment["DATABASE_URL"]
    assert environment["REDIS_URL"] == f"unix://{tmp_path}/run/redis.sock"
    assert environment["COSTTRACK_SECRET_KEY_FILE"] == str(tmp_path / "secret.key")
    assert environment["COSTTRACK_HTTPS"] == "false"
    assert environment["COSTTRACK_ALLOWED_HOSTS"] == "localhost,127.0.0.1,[::1],spend.example"


def test_variables_set_by_the_caller_are_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/spend")
    monkeypatch.setenv("REDIS_URL_FILE", "/run/secrets/redis")
    monkeypatch.setenv("COSTTRACK_SECRET_KEY", "chosen")
    monkeypatch.setenv("COSTTRACK_HTTPS", "true")
    monkeypatch.setenv("COSTTRACK_ALLOWED_HOSTS", "a.example")
    environment = child_environment(DataFolder(tmp_path), ["127.0.0.1"])
    assert environment["DATABASE_URL"] == "postgresql://db.example/spend"
    assert "REDIS_URL" not in environment
    assert "COSTTRACK_SECRET_KEY_FILE" not in environment
    assert environment["COSTTRACK_SECRET_KEY"] == "chosen"
    assert environment["COSTTRACK_HTTPS"] == "true"
    assert environment["COSTTRACK_ALLOWED_HOSTS"] == "a.example,127.0.0.1"


def test_a_single_command_opens_no_pool_of_connections(tmp_path: Path) -> None:
    assert command_environment(DataFolder(tmp_path))["COSTTRACK_DATABASE_POOL"] == "false"
    assert "COSTTRACK_DATABASE_POOL" not in child_environment(DataFolder(tmp_path))
