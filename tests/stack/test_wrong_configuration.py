"""Processes that start with a wrong configuration say what is wrong with it, and stop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from costtrack.settings import BASE_DIR


def test_every_mistake_is_reported_at_once_and_without_a_traceback(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "mysql://me:hidden@db.example/x",
        "COSTTRACK_SECRET_KEY_FILE": str(tmp_path / "none"),
        "COSTTRACK_LOG_LEVEL": "LOUD",
        "COSTTRACK_HTTPS": "maybe",
    }
    finished = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    for variable in ("DATABASE_URL", "SECRET_KEY_FILE", "LOG_LEVEL", "COSTTRACK_HTTPS", "REDIS_URL: It is not set."):
        assert variable in finished.stderr
    assert "Traceback" not in finished.stderr
    assert "hidden" not in finished.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("granian", "--interface", "asginl", "--port", "0", "costtrack.asgi:application"),
        ("celery", "--app", "costtrack.celery", "worker"),
        ("celery", "--app", "costtrack.celery", "beat", "--schedule", "schedule"),
    ],
)
def test_a_process_that_serves_stops_at_once_and_says_what_is_wrong(arguments: tuple[str, ...], tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "COSTTRACK_SECRET_KEY": "x" * 50, "DATABASE_URL": "postgresql:///x"}
    finished = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert finished.returncode != 0
    assert "REDIS_URL: It is not set." in finished.stdout + finished.stderr
